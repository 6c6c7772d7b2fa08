"""The driver of SQLite: one turn of its thread for a statement, whatever the statement is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.db.engine import Database, parse_url


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[AsyncConnection]:
    database = Database(parse_url(f"sqlite:///{tmp_path / 'a.sqlite3'}"))
    async with database.engine.connect() as connection:
        await connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"))
        yield connection
    await database.close()


async def test_a_statement_takes_one_turn_of_the_thread(connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch):
    driver = (await connection.get_raw_connection()).driver_connection
    turns: list[Any] = []
    turn = driver._execute

    async def counted(run: Any, *arguments: Any) -> Any:
        turns.append(run)
        return await turn(run, *arguments)

    monkeypatch.setattr(driver, "_execute", counted)
    await connection.execute(text("INSERT INTO things VALUES (1, 'one'), (2, 'two')"))
    assert len(turns) == 1
    found = await connection.execute(text("SELECT id, name FROM things ORDER BY id"))
    assert found.all() == [(1, "one"), (2, "two")]
    assert len(turns) == 2


async def test_counts_keys_and_returned_rows_are_those_of_the_statement(connection: AsyncConnection):
    inserted = await connection.execute(text("INSERT INTO things (name) VALUES ('one')"))
    assert inserted.lastrowid == 1
    many = [{"name": name} for name in ("two", "three")]
    assert (await connection.execute(text("INSERT INTO things (name) VALUES (:name)"), many)).rowcount == 2
    assert (await connection.execute(text("UPDATE things SET name = name || '!'"))).rowcount == 3
    gone = await connection.execute(text("DELETE FROM things WHERE id > 1 RETURNING name"))
    assert sorted(gone.scalars()) == ["three!", "two!"]
    assert (await connection.execute(text("SELECT name FROM things WHERE id = 7"))).first() is None


async def test_errors_are_those_of_the_driver_and_leave_the_connection_usable(connection: AsyncConnection):
    await connection.execute(text("INSERT INTO things VALUES (1, 'one')"))
    with pytest.raises(IntegrityError, match="UNIQUE constraint failed"):
        await connection.execute(text("INSERT INTO things VALUES (2, 'one')"))
    with pytest.raises(OperationalError, match="no such table: missing"):
        await connection.execute(text("SELECT * FROM missing"))
    assert (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one() == 1


async def test_what_is_not_committed_is_not_there_for_others(tmp_path: Path):
    database = Database(parse_url(f"sqlite:///{tmp_path / 'b.sqlite3'}"))
    async with database.engine.begin() as first:
        await first.execute(text("CREATE TABLE things (id INTEGER)"))
    async with database.engine.connect() as first:
        await first.execute(text("INSERT INTO things VALUES (1)"))
        await first.rollback()
    async with database.engine.begin() as second:
        assert (await second.execute(text("SELECT count(*) FROM things"))).scalar_one() == 0
    await database.close()


async def test_what_was_given_up_in_mid_statement_has_ended_when_the_database_is_closed(tmp_path: Path):
    """Its thread tells the loop, which may be closed right after."""
    before = set(threading.enumerate())
    database, begun, go_on = (
        Database(parse_url(f"sqlite:///{tmp_path / 'a.sqlite3'}")),
        asyncio.Event(),
        threading.Event(),
    )
    loop = asyncio.get_running_loop()

    def lasting() -> int:
        loop.call_soon_threadsafe(begun.set)
        return int(go_on.wait(1))

    async def run() -> None:
        async with database.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            await driver.create_function("lasting", 0, lasting)
            await connection.execute(text("SELECT lasting()"))

    running = asyncio.create_task(run())
    await begun.wait()
    while not running.done():  # also while SQLAlchemy waits for it to end well
        running.cancel()
        await asyncio.wait([running], timeout=0.05)
    loop.call_later(0.1, go_on.set)
    await database.close()
    assert [thread for thread in set(threading.enumerate()) - before if "_connection_worker" in thread.name] == []


async def test_what_is_still_held_when_the_database_is_closed_is_closed_at_once(tmp_path: Path):
    """A session that was cancelled gives its connection back later, to a pool that nobody closes again."""
    before = set(threading.enumerate())
    database = Database(parse_url(f"sqlite:///{tmp_path / 'a.sqlite3'}"))
    async with database.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await database.close()
        assert [thread for thread in set(threading.enumerate()) - before if "_connection_worker" in thread.name] == []
        with pytest.raises(ValueError, match="no active connection"):
            await driver.execute("SELECT 1")
