"""What became of telling people about requests outside of the console, as `notifications` knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from control_plane.kit.unit_of_work import UnitOfWork


class Link(msgspec.Struct, frozen=True):
    """Something elsewhere that belongs to a request: a ticket."""

    channel: str
    label: str
    url: str


class Telling(msgspec.Struct, frozen=True):
    """What became of telling people about a request outside of the console."""

    links: tuple[Link, ...] = ()
    nobody_told: bool = False  # channels were to tell of it, and none could


class Tellings(Protocol):
    """Implemented by `notifications`."""

    async def of(self, uow: UnitOfWork, approval_ids: Sequence[str]) -> Mapping[str, Telling]:
        """Requests that nothing is known of are left out."""
