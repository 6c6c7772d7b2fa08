"""What rotation needs of its neighbours; `assembly` gives them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from control_plane.kit.unit_of_work import Json, UnitOfWork


class Errands(Protocol):
    async def ask(self, target: str, kind: str, arguments: Mapping[str, Json], timeout: float) -> Any: ...  # noqa: ASYNC109 - of the errand


class Uses(Protocol):
    async def last_used(self, uow: UnitOfWork, target: str) -> datetime | None:
        """When a session was opened with it last."""


class Sealed(Protocol):
    async def changed_at(self, uow: UnitOfWork, secret: str) -> datetime | None:
        """When the value that the control plane keeps was written last. None: it has none."""
