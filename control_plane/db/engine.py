"""The database: SQLite for one machine, PostgreSQL for replicas, the same tables and the same tests.

SQLite runs with WAL (readers never wait for the writer), foreign keys on, and `BEGIN IMMEDIATE` for
writers: taking the lock late is what fails with "database is locked". PostgreSQL runs at READ COMMITTED;
whoever needs more takes a row or an advisory lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.db.sqlite_driver import Opener
from control_plane.kit.starting import StartError

_BUSY_MILLISECONDS = 10_000
_READS = {"assentry_reads": True}
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class Database:
    def __init__(self, url: URL) -> None:
        self.url = url
        self.single_writer = url.get_backend_name() == "sqlite"
        self._opener = Opener(Path(url.database or "").absolute()) if self.single_writer else None
        self.engine = _sqlite(url, self._opener) if self._opener else _postgres(url)
        self.session = _sessions(self.engine)
        self.reading_session = _sessions(self.engine.execution_options(**_READS))

    async def reach(self) -> None:
        """Raises StartError; the message has neither user nor password."""
        try:
            async with self.engine.connect():
                return
        except (OSError, TimeoutError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StartError(f"ASSENTRY_DATABASE_URL: {_place(self.url)} cannot be used: {_why(error)}") from error

    async def close(self) -> None:
        await self.engine.dispose()
        if self._opener is not None:
            await self._opener.close()


def parse_url(text: str) -> URL:
    """`sqlite:///path`, `postgresql://user@host/name`; raises ValueError for anything else."""
    try:
        url = make_url(text)
    except ValueError:  # it repeats what it takes for the port, which may be a part of the password
        raise ValueError("the port is no number; in a password @ : / are written %40 %3A %2F") from None
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise ValueError(f"{url.drivername} is not known; use sqlite:///FILE or postgresql://USER@HOST/NAME")
    if driver.startswith("sqlite") and (url.query or not url.database):
        raise ValueError("of SQLite only the file is told: sqlite:///FILE, without options")
    return url.set(drivername=driver)


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"the file {url.database}"
    host = "this machine" if url.host is None else f"{url.host}:{url.port or 5432}"
    return f"the database {url.database} at {host}"


def _why(error: BaseException) -> str:
    cause = (error.orig or error) if isinstance(error, DBAPIError) else error
    cause = cause.__cause__ or cause  # the driver's own words
    told = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return told.partition("\n")[0] or type(cause).__name__


def _sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)


def _postgres(url: URL) -> AsyncEngine:
    return create_async_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20, pool_timeout=15)


def _sqlite(url: URL, opener: Opener) -> AsyncEngine:
    engine = create_async_engine(url, async_creator=opener, pool_size=10, max_overflow=20, pool_timeout=15)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver starts no transaction by itself; _begin_sqlite does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", f"busy_timeout={_BUSY_MILLISECONDS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("assentry_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
