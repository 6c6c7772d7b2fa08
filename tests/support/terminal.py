"""A command on a pseudo-terminal: keys go in, and what it has printed is waited for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|[\r\x0f]")
ROWS, COLUMNS = 40, 160


class Terminal:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._primary, secondary = pty.openpty()
        fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, env={**environment, "TERM": "xterm"}, stdin=secondary, stdout=secondary, stderr=secondary,
            start_new_session=True,
        )  # fmt: skip
        os.close(secondary)
        self._printed = ""

    def press(self, keys: str) -> None:
        """What is printed after this is what the next `until` looks at."""
        self._printed = ""
        os.write(self._primary, keys.encode())

    def until(self, text: str, seconds: float = 30) -> str:
        """Everything printed since the last key, without control sequences, once the text is in it."""
        deadline = time.monotonic() + seconds
        while text not in self._plain():
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._primary], [], [], max(0, left))
            assert ready, f"{text!r} was not printed in {seconds} s, but: {self._plain()[-2000:]}"
            try:
                read = os.read(self._primary, 65_536)
            except OSError:  # the other side is closed
                read = b""
            assert read, f"it ended before {text!r}: {self._plain()[-2000:]}"
            self._printed += read.decode(errors="replace")
        return self._plain()

    def _plain(self) -> str:
        return _CONTROL.sub("", self._printed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._primary)
