"""What a test run leaves behind goes when the run does, also when it is killed and can clean nothing up itself.

A second process, in a session of its own, waits for the end of its standard input, which comes when this process ends
in whichever way. Then it ends every process that names the folder in its command line or environment, and removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_SECONDS = 5.0


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """What is in the folder, and what runs on it, does not outlive this process, nor the block."""
    watcher = subprocess.Popen([sys.executable, __file__, folder], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        watcher.communicate()


def clear(folder: Path) -> None:
    """SIGQUIT is PostgreSQL's order to stop at once, with all its backends."""
    for how in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + PATIENCE_SECONDS
        for pid in running(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        while running(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def running(folder: Path) -> list[int]:
    """Processes of this machine that name the folder, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if int(process.name) != os.getpid() and os.fsencode(folder) in told:
                found.append(int(process.name))
    return found


if __name__ == "__main__":
    sys.stdin.read()
    clear(Path(sys.argv[1]))
