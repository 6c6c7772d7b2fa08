"""What the settings become in the parts."""

from __future__ import annotations

import pytest

from control_plane.assembly import _timing
from control_plane.config import Settings


@pytest.mark.parametrize("lease_seconds", [5, 6, 20, 60, 3600])
def test_a_lease_survives_two_lost_heartbeats(lease_seconds: int) -> None:
    timing = _timing(Settings(lease_seconds=lease_seconds).lease_seconds)
    assert timing.lease_seconds == lease_seconds
    assert 1 <= timing.heartbeat_seconds <= lease_seconds / 3
