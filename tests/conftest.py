"""Fixtures that every part of the tests may ask for, and what every test leaves behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.support.postgres import postgres

__all__ = ["postgres"]


@pytest.fixture(autouse=True)
def _logs_as_by_default() -> Iterator[None]:
    """A process that a test configured logs to streams that end with the test."""
    yield
    structlog.reset_defaults()
