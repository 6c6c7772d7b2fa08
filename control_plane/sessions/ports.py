"""What sessions need from elsewhere."""

from __future__ import annotations

from typing import Protocol

import msgspec

from control_plane.kit.unit_of_work import UnitOfWork


class Described(msgspec.Struct, frozen=True):
    """Names for ids, as they were when the session opened; empty for what is not known."""

    requester_name: str
    owner_id: str | None
    environment: str


class Directory(Protocol):
    async def describe(self, uow: UnitOfWork, requester_id: str, target: str) -> Described: ...

    async def used(self, uow: UnitOfWork, credential_id: str) -> None:
        """A session was opened with this credential."""


class Holds(Protocol):
    """Implemented by the approval service."""

    async def session_ended(self, uow: UnitOfWork, session_id: str, reason: str) -> None: ...
