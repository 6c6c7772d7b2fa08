"""Where and how long a credential is good, as the options of every command that gets one say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from control_plane.cli.client import Json

TargetsArgument = Annotated[
    list[str] | None, typer.Argument(help="targets that it is good for; all when none is named", show_default=False)
]
NetworkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--network", help="where its client must be, as CIDR; several times for several; anywhere when not said"
    ),
]
MinutesOption = Annotated[int, typer.Option(min=1, max=720, help="how long it lives")]


class Bound(msgspec.Struct, frozen=True):
    targets: Sequence[str] = ("*",)
    networks: Sequence[str] = ()
    minutes: int = 60

    def body(self, **more: str) -> Json:
        """Of the request for such a credential."""
        bound = {"targets": list(self.targets), "ttl_seconds": self.minutes * 60}
        return {**more, **bound, **({"networks": list(self.networks)} if self.networks else {})}


def bound(targets: Sequence[str] | None, networks: Sequence[str] | None, minutes: int) -> Bound:
    return Bound(tuple(targets or ("*",)), tuple(networks or ()), minutes)
