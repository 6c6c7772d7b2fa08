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
    """Nearly all of it stays for the life of the process. Looking through it again, whenever a full collection is due,
    would stop every session for 60 ms. What is dropped is still freed, unless it refers to itself."""
    gc.collect()
    gc.freeze()
