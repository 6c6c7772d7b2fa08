"""The agent uses what the operator lets it have."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 96))
from data_plane.runtime import descriptors
print(descriptors.take_all())
"""


def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "96\n"
