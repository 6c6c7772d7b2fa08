"""A target in memory, a provider of accounts there and a process that uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.accounts import MemoryAccounts, MemoryTarget, Process, process


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
