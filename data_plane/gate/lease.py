"""Whether this agent may still act on its own. The link renews it; the gate and admission ask it.

The lease runs on the monotonic clock, so a jump of the machine's time neither ends nor stretches it.
"""

from __future__ import annotations

from data_plane.gate.ports import Clock


class Lease:
    """Starts ended: a first renewal, by the control plane, opens the agent."""

    __slots__ = ("_clock", "_until", "draining")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")
        self.draining = False  # set once: no new sessions; open ones go on until the drain's deadline

    def renew(self, seconds: float) -> None:
        """Counts from now, or from when the renewed heartbeat was sent when the caller takes off the way back."""
        self._until = max(self._until, self._clock.monotonic() + seconds)

    def end(self) -> None:
        """The control plane said so: this agent is disabled."""
        self._until = float("-inf")

    @property
    def valid(self) -> bool:
        return self._clock.monotonic() < self._until

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())
