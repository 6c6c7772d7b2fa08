"""Memory of this process: what loading its libraries took and freed goes back to the system, 5 MiB of an idle agent.

Only glibc keeps it to itself, and only glibc can be asked.
"""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Returns at once; for the start, because it looks at the whole heap."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
