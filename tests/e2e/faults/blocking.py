"""A lock at the target that keeps a statement from finishing, so that a fault hits it in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.postgres import PostgresServer
from tests.support.stack import eventually


class Lock:
    def __init__(self, connection: psycopg.Connection, table: str) -> None:
        self._connection, self._table = connection, table

    def somebody_waits(self, sessions: int = 1) -> None:
        """Returns when so many statements at the target wait for the lock."""
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND NOT granted"

        def enough() -> bool:
            found = self._connection.execute(waiting, (self._table,)).fetchone()
            return found is not None and found[0] >= sessions

        eventually(enough, f"{sessions} waiting for {self._table}")

    def release(self) -> None:
        self._connection.rollback()


@contextmanager
def locked(server: PostgresServer, database: str, table: str) -> Iterator[Lock]:
    with psycopg.connect(server.url(database)) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield Lock(connection, table)
        connection.rollback()


def value(server: PostgresServer, database: str, query: str) -> object:
    """What the target itself says."""
    with psycopg.connect(server.url(database)) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None
