"""The migrations make exactly the tables that the code knows, and the engine has the settings it needs."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import control_plane as control_plane_package
from control_plane.assembly import ControlPlane
from control_plane.db.engine import Database, parse_url
from control_plane.db.migrate import migrate
from control_plane.db.table import Table
from control_plane.kit.unit_of_work import Units

for module in pkgutil.walk_packages(control_plane_package.__path__, "control_plane."):
    if module.name.endswith(".tables"):
        importlib.import_module(module.name)


async def test_migrations_and_models_agree(control_plane: ControlPlane):
    def differences(connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Table.metadata)

    async with control_plane.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(database_url: str):
    database = Database(parse_url(database_url))
    await asyncio.gather(migrate(database))
    await migrate(database)
    await database.close()


async def test_replicas_that_start_together_take_turns(request: pytest.FixtureRequest):
    server = request.getfixturevalue("postgres")
    url = parse_url(server.url(server.fresh_database()))
    databases = [Database(url) for _ in range(3)]
    await asyncio.gather(*(migrate(database) for database in databases))
    for database in databases:
        await database.close()


async def test_sqlite_has_wal_foreign_keys_and_patience(control_plane: ControlPlane, units: Units):
    if not control_plane.database.single_writer:
        return
    async with units.reading() as uow:
        connection = await uow.session.connection()
        found = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 1, 10_000]


def test_an_unknown_database_is_refused():
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        parse_url("mysql://root@localhost/x")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///a.sqlite3?mode=ro"])
def test_of_sqlite_only_a_file_is_told(url: str):
    with pytest.raises(ValueError, match="only the file is told"):
        parse_url(url)
