"""Memory of this process, at its start."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """What loading the libraries took and freed goes back to the system, 5 MiB of an idle agent. Only glibc keeps it to
    itself, and only glibc can be asked. Returns at once; for the start, because it looks at the whole heap."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_what_is_there() -> None:
    """It stays for the life of the process. Looking through all of it again, whenever a full collection is due, would
    stop every session for 60 ms."""
    gc.collect()
    gc.freeze()
