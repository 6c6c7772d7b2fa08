"""Several processes for one agent: started, watched, started again when one dies, stopped together.

A worker whose first start fails with `CANNOT_START` has said why, and would again: then all of them end.

They share the listening ports (SO_REUSEPORT), so cores scale without anything being shared on the hot path. A worker
does not outlive the process that watches it: its standard input ends with that process.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

import structlog

log = structlog.get_logger(__name__)

CANNOT_START: Final = 2  # exit status of a process whose configuration is of no use
_AGAIN_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.2


class Workers:
    """`command(index)` starts one of them."""

    def __init__(self, count: int, command: Callable[[int], Sequence[str]], stop_seconds: float) -> None:
        self._count, self._command, self._stop_seconds = count, command, stop_seconds

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set and all have ended. The exit status of this process."""
        running = [self._start(index) for index in range(self._count)]
        first = list(running)
        while not stop.is_set():
            for index, process in enumerate(running):
                if process.poll() is not None:
                    if process.returncode == CANNOT_START and process is first[index]:
                        await asyncio.to_thread(self._stop, running)
                        return CANNOT_START
                    log.error("a worker has ended and is started again", worker=index, status=process.returncode)
                    _let_go(process)
                    await asyncio.sleep(_AGAIN_SECONDS)
                    running[index] = self._start(index)
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
        await asyncio.to_thread(self._stop, running)
        return 0

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command(index), stdin=subprocess.PIPE)  # noqa: S603 - our own module

    def _stop(self, running: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                log.warning("a worker did not end in time and is killed", pid=process.pid)
                process.kill()
                process.wait()
            _let_go(process)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
