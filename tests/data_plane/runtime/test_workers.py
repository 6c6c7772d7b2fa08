"""Worker processes: started again when they die, stopped together."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from data_plane.runtime.workers import CANNOT_START, Workers

_LIVES = "import pathlib,sys,time; pathlib.Path(sys.argv[1]).open('a').write('started\\n'); time.sleep(60)"
_DIES = "import pathlib,sys; pathlib.Path(sys.argv[1]).open('a').write('started\\n')"


async def until(holds) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def starts(file: Path) -> int:
    return file.read_text().count("started") if file.exists() else 0


async def test_each_worker_has_its_number_and_all_end_together(tmp_path: Path) -> None:
    stop = asyncio.Event()
    files = [tmp_path / f"worker-{index}" for index in range(2)]
    workers = Workers(2, lambda index: [sys.executable, "-c", _LIVES, str(files[index])], 5)
    task = asyncio.ensure_future(workers.run(stop))
    await until(lambda: all(starts(file) == 1 for file in files))
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    stop = asyncio.Event()
    file = tmp_path / "worker"
    task = asyncio.ensure_future(Workers(1, lambda _: [sys.executable, "-c", _DIES, str(file)], 5).run(stop))
    await until(lambda: starts(file) >= 2)
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    stop = asyncio.Event()
    file = tmp_path / "worker"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _LIVES
    task = asyncio.ensure_future(Workers(1, lambda _: [sys.executable, "-c", deaf, str(file)], 0.2).run(stop))
    await until(lambda: starts(file) == 1)
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_worker_that_says_at_once_that_it_cannot_start_ends_them_all(tmp_path: Path) -> None:
    file = tmp_path / "worker"
    commands = [[sys.executable, "-c", _LIVES, str(file)], [sys.executable, "-c", f"raise SystemExit({CANNOT_START})"]]
    workers = Workers(2, lambda index: commands[index], 5)
    assert await asyncio.wait_for(workers.run(asyncio.Event()), 10) == CANNOT_START
