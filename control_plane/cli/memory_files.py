"""Files that are on no disk: for a program that this process becomes, and gone with it (memfd_create, Linux).

The program opens them by the path of the descriptor, as often as it likes; what it starts itself inherits them. They
protect against copies of the disk, not against other processes of the same user.
"""

from __future__ import annotations

import os


def available() -> bool:
    return hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")  # noqa: PTH112 - no path of a user's


def write(name: str, content: bytes) -> str:
    """Its path, for this process and what it becomes."""
    descriptor = os.memfd_create(name)
    os.fchmod(descriptor, 0o600)  # clients refuse a key that others could read
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.set_inheritable(descriptor, True)
    return f"/proc/self/fd/{descriptor}"
