"""Brings the schema to the newest revision, from code, at start. Replicas that start together take turns."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.engine import Connection

from control_plane.db.engine import Database

_LOCK = 4_741_190_001  # any number that nothing else in the database locks


async def migrate(database: Database, revision: str = "head") -> None:
    async with database.engine.connect() as connection:
        if not database.single_writer:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await connection.run_sync(_upgrade, revision)
        await connection.commit()


def _upgrade(connection: Connection, revision: str) -> None:
    command.upgrade(configuration(connection), revision)


def configuration(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
