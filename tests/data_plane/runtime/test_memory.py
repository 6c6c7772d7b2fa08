"""Memory that is free is the system's again, and what stays is not looked through."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from pathlib import Path
from data_plane.runtime import memory

def pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])

pieces = [bytes(1000) for _ in range(50_000)]
kept, full = pieces[::500], pages()
del pieces
memory.give_back()
print(full - pages())
"""


def test_freed_memory_is_given_back_though_some_of_it_is_in_use() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 5_000  # pages of 4 KiB, of some 12,000


def test_what_is_there_when_the_agent_has_started_is_not_looked_through_again() -> None:
    program = (
        "import gc; from data_plane.runtime import memory; memory.keep_what_is_there(); print(len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100
