"""The agent's clock: the only place of the data plane that reads the machine's time."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `gate.ports.Clock`. Deadlines inside the process use `monotonic`, which never jumps."""

    def now(self) -> float:
        return time.time()

    monotonic = staticmethod(time.monotonic)  # as it is: it is read several times for each statement
