"""Fixtures that every part of the tests may ask for, and what every test leaves behind it."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.interpreted import compiler, prefer_sources
from tests.support.oidc import oidc_provider
from tests.support.postgres import postgres

__all__ = ["oidc_provider", "postgres"]


# What fails must fail again, and not in another's change or on a busy machine. ASSENTRY_EXPLORE=1 looks at new ground.
settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
if not os.environ.get("ASSENTRY_EXPLORE"):
    settings.load_profile("repeatable")


# So many objects more than have gone again are worth a look: about a control plane of them.
_MANY = 200_000


def pytest_configure() -> None:
    gc.disable()  # see `_what_is_left_goes_with_its_test`
    if os.environ.get("ASSENTRY_INTERPRETED"):
        prefer_sources()
    elif changed := compiler().stale():
        raise pytest.UsageError(f"{', '.join(changed)}: changed since it was compiled; run `make compiled`")


@pytest.fixture(autouse=True)
def _what_is_left_goes_with_its_test() -> Iterator[None]:
    """Left alone the collector goes through all that thousands of tests have loaded, which stops the process for seconds
    in the middle of any test, and what somebody left open is told of another. Here it looks between tests, at what is
    new since it looked last."""
    yield
    if gc.get_count()[0] > _MANY:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _logs_as_by_default() -> Iterator[None]:
    """A process that a test configured logs to streams that end with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell that runs the tests in its background has them ignore it, and with them all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
