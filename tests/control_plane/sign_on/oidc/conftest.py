"""A control plane with a provider called corp, both at the real time."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from control_plane.assembly import ControlPlane
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.oidc.signing_in import Corp
from tests.support.oidc import OidcProvider


@pytest.fixture
def clock() -> ManualClock:
    made = ManualClock()
    made.instant = datetime.now(UTC)
    return made


@pytest.fixture
def corp(
    control_plane: ControlPlane, admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, oidc_provider: OidcProvider
) -> Corp:
    return Corp(control_plane, admin, anonymous, oidc_provider)
