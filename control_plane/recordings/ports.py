"""Where segments are kept. A local directory by default; object storage comes behind the same port."""

from __future__ import annotations

from typing import Protocol


class SegmentMissingError(Exception):
    """The store does not have it, or cannot read it."""


class RecordingStore(Protocol):
    """Keeps segments by the hash of their content: nothing that was stored can be overwritten by something else."""

    async def put(self, session_id: str, name: str, data: bytes) -> None:
        """Durable when it returns. The same name again is the same bytes again."""

    async def get(self, session_id: str, name: str) -> bytes:
        """Raises SegmentMissingError."""
