"""What credentials are made with that features beside this one keep: a workload's sign-in, a person's API token.

Whatever is made with one never outlives it, reaches no further, and says on whose behalf it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from control_plane.kit.ids import is_of
from control_plane.kit.unit_of_work import UnitOfWork

EVERY_TARGET = "*"


class Bounds(msgspec.Struct, frozen=True):
    """`valid`: not revoked and not expired. `made_by`: who made it for somebody and could hold it: identity id."""

    kind: str
    expires_at: datetime
    valid: bool
    revoked: bool = False
    targets: tuple[str, ...] = (EVERY_TARGET,)
    chain: tuple[Mapping[str, str], ...] = ()  # on whose behalf, the first one first: id, name, kind
    made_by: str = ""

    def beyond(self, targets: Sequence[str]) -> list[str]:
        """Those that nothing may be made for with it."""
        return [] if EVERY_TARGET in self.targets else [one for one in targets if one not in self.targets]


class Parent(Protocol):
    """One kind of what credentials are made with. `noun`: what the ids of this kind begin with (kit/ids)."""

    noun: str

    async def bounds(self, uow: UnitOfWork, credential_id: str) -> Bounds | None:
        """None: there is none."""


class Makers(Protocol):
    """One kind of what a machine signs in with, as far as people make it."""

    async def makers(self, uow: UnitOfWork, identity_id: str) -> Sequence[str]:
        """Ids of those who could have kept one of this machine's that is still good."""


class Parents:
    def __init__(self) -> None:
        self._kinds: list[Parent] = []
        self._makers: list[Makers] = []

    def know(self, parent: Parent) -> None:
        self._kinds.append(parent)

    def know_makers(self, makers: Makers) -> None:
        self._makers.append(makers)

    async def makers(self, uow: UnitOfWork, identity_id: str) -> list[str]:
        return [one for kind in self._makers for one in await kind.makers(uow, identity_id)]

    async def bounds(self, uow: UnitOfWork, credential_id: str) -> Bounds | None:
        """None: a sign-in of a person, or a service account's key."""
        kind = next((one for one in self._kinds if is_of(credential_id, one.noun)), None)
        return None if kind is None else await kind.bounds(uow, credential_id)
