"""Fixtures that every part of the tests may ask for, and what every test leaves behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from tests.support.interpreted import compiler, prefer_sources
from tests.support.postgres import postgres

__all__ = ["postgres"]


def pytest_configure() -> None:
    if os.environ.get("ASSENTRY_INTERPRETED"):
        prefer_sources()
    elif changed := compiler().stale():
        raise pytest.UsageError(f"{', '.join(changed)}: changed since it was compiled; run `make compiled`")


@pytest.fixture(autouse=True)
def _logs_as_by_default() -> Iterator[None]:
    """A process that a test configured logs to streams that end with the test."""
    yield
    structlog.reset_defaults()
