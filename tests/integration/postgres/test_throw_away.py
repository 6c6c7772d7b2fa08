"""The servers that tests throw away go also when the test run is killed and can clean nothing up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.watching import running

RUN = """
from tests.support.postgres import running_postgres
with running_postgres() as server:
    server.execute("SELECT 1")
    print(server.folder, flush=True)
    input()
"""


def test_a_server_and_its_folder_go_when_the_test_run_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert (folder / "data").is_dir()
        assert running(folder)
        process.kill()
    deadline = time.monotonic() + 20
    while (folder.exists() or running(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert running(folder) == []
