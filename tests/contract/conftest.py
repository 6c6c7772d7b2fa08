"""A control plane with an enrolled identity, and an agent that is connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from data_plane.link.identity import Identity
from tests.contract.stack import ControlSide, RunningAgent, control_side, running_agent


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ControlSide]:
    async with control_side(tmp_path) as side:
        yield side


@pytest.fixture
async def identity(control: ControlSide) -> Identity:
    return await control.enrol()


@pytest.fixture
async def agent(control: ControlSide, identity: Identity, tmp_path: Path) -> AsyncIterator[RunningAgent]:
    async with running_agent(tmp_path / "agent", identity, control.link_address) as running:
        await running.until(lambda: running.link.reachable)
        yield running
