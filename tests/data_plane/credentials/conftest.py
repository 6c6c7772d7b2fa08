"""A target in memory, a provider of accounts there and a process that uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from data_plane.credentials import janitor
from tests.support.accounts import MemoryAccounts, MemoryTarget, Process, process


@pytest.fixture(autouse=True)
def _second_look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor, "SECOND_LOOK_SECONDS", 0.0)


@pytest.fixture
def target() -> MemoryTarget:
    return MemoryTarget()


@pytest.fixture
def provider(target: MemoryTarget, tmp_path: Path) -> MemoryAccounts:
    return MemoryAccounts(target, tmp_path / "leases.db")


@pytest.fixture
async def running(tmp_path: Path, provider: MemoryAccounts) -> AsyncIterator[Process]:
    async with process(tmp_path, "worker-0.boot_1", provider) as one:
        yield one
