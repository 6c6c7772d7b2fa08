"""What the core of a session needs from whoever drives it: where bytes go, and the bounds of a session.

The driver owns the sockets, the timers and the `Hold`; the core owns every decision about bytes.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from data_plane.gate.interface import Held, Operation, Permit, Preview


class Output(Protocol):
    """Everything that a session does to the outside. Nothing here calls back into the core."""

    def to_client(self, data: bytes) -> None: ...

    def to_target(self, permit: Permit) -> None:
        """The only way for an operation."""

    def control_to_target(self, data: bytes) -> None:
        """For bytes that carry no operation; `core.session` lists them."""

    def pause_client(self) -> None:
        """Stop reading the client: what waits behind a unit is bounded."""

    def resume_client(self) -> None: ...

    def hold(
        self, operation: Operation, held: Held, raw: bytes, limit_seconds: float = 0, preview: Preview | None = None
    ) -> None:
        """Calls `Gate.hold` with the core as listener and keeps the `Hold`.

        A `limit_seconds` above 0 is the client's own: `hold_overdue` is called when it has passed."""

    def hold_ended(self, cancelled: str = "") -> None:
        """The hold is over. `cancelled` is empty when it was decided, else the reason for `Hold.cancel`."""

    def end(self, reason: str) -> None:
        """Send what is written, then close both sides."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds in bytes and messages; beyond one, the unit or the session is refused, never cut."""

    batch_bytes: int = 16 * 1024 * 1024  # of one Query or one extended batch
    batch_messages: int = 10_000
    backlog_bytes: int = 1024 * 1024  # behind a waiting unit; more pauses the client
    names: int = 10_000  # prepared statements and portals, each
    answer_bytes: int = 64 * 1024 * 1024  # one target message that has to be seen whole
    relayed_bytes: int = 1024 * 1024 * 1024  # one row or piece of COPY that is passed on in pieces
    in_flight: int = 1_000  # units that wait for their answers
    withheld_bytes: int = 8 * 1024 * 1024  # of an answer that is kept back until its row guard holds
    recorded_bytes: int = 1024 * 1024  # of the results of one operation
