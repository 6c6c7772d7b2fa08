"""What a SCIM client is to the rest: a source of people and groups, and an actor in the audit log. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import Actor

PREFIX: Final = "assentry_i_"
LIVING_TOKENS: Final = 2  # the one that is used, and the one that is to take its place
LONGEST_LIFETIME_DAYS: Final = 365


def source_of(client: str) -> str:
    return f"scim:{client}"


class Client(msgspec.Struct, frozen=True):
    """A SCIM client that has shown one of its tokens. `provider`: whose subjects its external ids are, or empty."""

    name: str
    provider: str
    actor: Actor
    url: str  # of its endpoints, without a slash at the end

    @property
    def source(self) -> str:
        return source_of(self.name)

    @property
    def authorities(self) -> tuple[str, ...]:
        """Sources that say the same as this client: people whom those made, and nobody else, it may take over."""
        return (self.source, f"provider:{self.provider}") if self.provider else (self.source,)


def client_name(principal: Principal) -> str:
    return principal.name.removeprefix(source_of(""))
