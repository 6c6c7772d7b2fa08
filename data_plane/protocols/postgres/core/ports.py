"""What the core of a session needs from whoever drives it: where bytes go, and the bounds of a session.

The driver owns the sockets, the timers and the `Hold`; the core owns every decision about bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, final

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

    def lacks(self, actions: Iterable[str]) -> bool:
        """Whether the session's account must be widened for what people approved with these actions."""

    def widen(self, actions: Iterable[str]) -> None:
        """Then `account_changed` is called: when it failed, nothing was given, and the reason is told."""

    def narrow(self) -> None:
        """Then `account_changed` is called: when it failed, something was not taken back, and the reason is told."""

    def tell(self, when: Callable[[Callable[[], None]], None], number: int) -> None:
        """Gives `when` what it shall call, later on, and then `told` is called with the number."""

    def end(self, reason: str) -> None:
        """Send what is written, then close both sides."""


@final
class Limits:
    """Bounds in bytes and messages; beyond one, the unit or the session is refused, never cut."""

    __slots__ = (
        "answer_bytes", "backlog_bytes", "batch_bytes", "batch_messages", "in_flight", "names", "recorded_bytes",
        "relayed_bytes", "withheld_bytes",
    )  # fmt: skip

    def __init__(
        self, *, batch_bytes: int = 16 << 20, batch_messages: int = 10_000, backlog_bytes: int = 1 << 20,
        names: int = 10_000, answer_bytes: int = 64 << 20, relayed_bytes: int = 1 << 30, in_flight: int = 1_000,
        withheld_bytes: int = 8 << 20, recorded_bytes: int = 1 << 20,
    ) -> None:  # fmt: skip
        self.batch_bytes: Final = batch_bytes  # of one Query or one extended batch
        self.batch_messages: Final = batch_messages
        self.backlog_bytes: Final = backlog_bytes  # behind a waiting unit; more pauses the client
        self.names: Final = names  # prepared statements and portals, each
        self.answer_bytes: Final = answer_bytes  # one target message that has to be seen whole
        self.relayed_bytes: Final = relayed_bytes  # one row or piece of COPY that is passed on in pieces
        self.in_flight: Final = in_flight  # units that wait for their answers
        self.withheld_bytes: Final = withheld_bytes  # of an answer that is kept back until its row guard holds
        self.recorded_bytes: Final = recorded_bytes  # of the results of one operation
