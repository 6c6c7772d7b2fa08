"""File descriptors of this process: a session takes two, and the usual soft limit of 1,024 ends at 500 sessions.

The hard limit is the operator's to set.
"""

from __future__ import annotations

import contextlib
import resource


def take_all() -> int:
    """Raises the soft limit to the hard one, where the system lets it; how many descriptors there are now."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # not every system takes a limit without end
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
