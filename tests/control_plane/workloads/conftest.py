"""A GitHub-shaped issuer whose keys stand in the trust, and people and machines to trust."""

from __future__ import annotations

import httpx
import pytest

from tests.control_plane.conftest import ManualClock
from tests.control_plane.workloads.platforms import GITHUB, GROUND, Platform, applied


@pytest.fixture
def platform(clock: ManualClock) -> Platform:
    return Platform(GITHUB, clock.now)


@pytest.fixture
async def ground(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """The admin, after ada, her machine `deploy-bot` and two targets are there."""
    await applied(admin, *GROUND)
    return admin
