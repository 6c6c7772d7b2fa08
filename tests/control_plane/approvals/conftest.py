"""The fixtures of the control plane's world."""

from tests.control_plane.world import database_url, postgres_template, sqlite_template, world

__all__ = ["database_url", "postgres_template", "sqlite_template", "world"]
