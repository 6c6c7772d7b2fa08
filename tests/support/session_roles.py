"""A target whose sessions have roles of their own: group roles, an agent's account that is no superuser, a table."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.support.postgres import PostgresServer

KEEPER, PASSWORD = "keeper", "the keeper's password"
READER, WRITER, OWNER = "shop_reader", "shop_writer", "shop_owner"
OURS = "SELECT rolname, rolcanlogin AND coalesce(rolvaliduntil > now(), true) FROM pg_roles WHERE rolname LIKE 'gw\\_%'"


ROLES = {"read": [READER], "write": [WRITER], "ddl": [OWNER]}


def session_roles(**changes: Any) -> dict[str, Any]:
    """For the spec of a Target."""
    return {"session_roles": {"roles": ROLES, "owner": OWNER, "sign_in_within": "5s", **changes}}


def found(server: PostgresServer, database: str) -> tuple[str, str]:
    """Makes a database of this name with all of it; the agent's account there. Harmless twice on one server."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        row = admin.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", (KEEPER,)).fetchone()
        statements = [f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database}"]
        for statement in [*statements, *([] if row and row[0] else _roles(admin.info.server_version))]:
            admin.execute(statement)
    server.execute(
        f"GRANT ALL ON SCHEMA public TO {OWNER}",
        f"GRANT USAGE ON SCHEMA public TO {READER}, {WRITER}",
        "CREATE TABLE notes (id integer PRIMARY KEY, note text NOT NULL)",
        f"ALTER TABLE notes OWNER TO {OWNER}",
        f"GRANT SELECT ON notes TO {READER}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO {WRITER}",
        "INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1, 20) i",
        database=database,
    )
    return KEEPER, PASSWORD


def _roles(version: int) -> list[str]:
    made = [f"CREATE ROLE {name}" for name in (READER, WRITER, OWNER)]
    quoted = PASSWORD.replace("'", "''")
    made.append(f"CREATE ROLE {KEEPER} LOGIN CREATEROLE PASSWORD '{quoted}'")
    if version >= 160000:
        given = f"GRANT {READER}, {WRITER}, {OWNER} TO {KEEPER} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
        return [*made, given]
    return made


def ours(server: PostgresServer) -> dict[str, bool]:
    """The roles of sessions that exist, and whether anybody can sign in with them."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        return {str(name): bool(can) for name, can in admin.execute(OURS)}


def backends(server: PostgresServer) -> int:
    """Of sessions' roles, also of dropped ones."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'gw\\_%' OR (usesysid > 0 AND usename IS NULL)"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        row = admin.execute(question).fetchone()
        return int(row[0]) if row else 0
