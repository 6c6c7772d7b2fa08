"""A real Vault, and a PostgreSQL that it makes accounts in."""

from __future__ import annotations

from tests.support.vault import vault

__all__ = ["vault"]
