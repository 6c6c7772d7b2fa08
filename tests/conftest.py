"""Fixtures that every part of the tests may ask for."""

from tests.support.postgres import postgres

__all__ = ["postgres"]
