"""What access reviews need of the features that hold credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from control_plane.access_reviews.domain import Kind, Thing
from control_plane.kit.unit_of_work import Actor, UnitOfWork


class Source(Protocol):
    """One kind of thing by which somebody has access."""

    @property
    def kind(self) -> Kind: ...

    async def things(self, uow: UnitOfWork, identity_ids: Sequence[str] | None = None) -> Sequence[Thing]:
        """Those that are still good, of these identities or of all."""

    async def end(self, uow: UnitOfWork, by: Actor, thing_id: str, reason: str) -> bool:
        """Whether it was still good. What rests on it ends with it, at once."""
