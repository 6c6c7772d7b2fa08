"""Code that looks like the server's own right after it was made, renamed or moved, and before the catalogue has it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import query
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack

Rows = Callable[[str, str], Awaitable[int]]
ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9
LOADED_SECONDS = 1.5  # … what sessions changed
ASKED_SECONDS = 2.5  # … what was changed elsewhere, as an unknown name is asked for
ZAP = "LANGUAGE sql AS 'DELETE FROM public.orders RETURNING 1'"
PLUS = "CREATE OPERATOR calls.+ (LEFTARG = text, RIGHTARG = text, FUNCTION = calls.f)"
MINUS = "CREATE OPERATOR signs.- (RIGHTARG = calls.own, FUNCTION = calls.g)"
CAST = "CREATE CAST (calls.own AS integer) WITH FUNCTION calls.g(calls.own)"
SIGNS = "SET search_path = signs, calls, public"
RENAMED = "ALTER FUNCTION calls.h(text) RENAME TO sqrt"
SQRT = "SELECT sqrt('x'::text)"
MADE = (
    "CREATE SCHEMA calls", "CREATE TYPE calls.own AS (a integer)", "CREATE TABLE calls.owned (value calls.own, zap int)",
    "INSERT INTO calls.owned VALUES (ROW(1), 1)", f"CREATE FUNCTION calls.f(a text, b text) RETURNS int {ZAP}",
    f"CREATE FUNCTION calls.g(o calls.own) RETURNS int {ZAP}", f"CREATE FUNCTION calls.h(t text) RETURNS int {ZAP}",
    f"CREATE FUNCTION calls.zap(o calls.owned) RETURNS int {ZAP}", "CREATE SCHEMA away",
    "CREATE SCHEMA signs",
    "ALTER SCHEMA signs OWNER TO attacked",
    f"CREATE FUNCTION away.cbrt(t text) RETURNS int {ZAP}",
    "GRANT CREATE ON DATABASE renames TO attacked", "ALTER SCHEMA calls OWNER TO attacked",
    "ALTER SCHEMA away OWNER TO attacked", "ALTER TYPE calls.own OWNER TO attacked",
    "ALTER TABLE calls.owned OWNER TO attacked",
    *(f"ALTER FUNCTION calls.{each} OWNER TO attacked" for each in ("g(calls.own)", "h(text)", "zap(calls.owned)")),
)  # fmt: skip
DROPPED = ("DROP TABLE IF EXISTS mine.made", "DROP SCHEMA IF EXISTS calls, away, other, signs CASCADE")


@pytest.fixture(autouse=True)
def planted(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    postgres.execute(*MADE, database="renames")
    yield
    postgres.execute(*DROPPED, database="renames")


@pytest.mark.parametrize(
    ("before", "pipelined"),
    [
        ((), (PLUS, "SELECT 'x'::text + 'y'::text")),
        ((SIGNS,), (MINUS, "SELECT -value FROM calls.owned")),
        ((SIGNS, "BEGIN"), (MINUS, "SELECT -value FROM calls.owned", "COMMIT")),
        (
            ("BEGIN", PLUS, "wait"),
            ("ALTER TABLE calls.owned ALTER zap TYPE int USING 'x'::text + 'y'::text", "COMMIT"),
        ),
        (
            (),
            (
                CAST,
                "SELECT value::integer FROM calls.owned",
            ),
        ),
        ((), ("ALTER TABLE calls.owned DROP COLUMN zap", "SELECT o.zap FROM calls.owned o")),
        ((), (RENAMED, SQRT)),
        (("BEGIN",), (RENAMED, SQRT, "COMMIT")),
        (("BEGIN", RENAMED, "wait"), ("ALTER TABLE calls.owned ALTER zap TYPE int USING sqrt('x'::text)", "COMMIT")),
        (
            ("BEGIN", f"CREATE FUNCTION calls.n() RETURNS int {ZAP}", "wait"),
            ("CREATE TABLE mine.made (i int DEFAULT calls.n())", "COMMIT", "INSERT INTO mine.made DEFAULT VALUES"),
        ),
        (("SET search_path = other, public",), ("ALTER SCHEMA away RENAME TO other", "SELECT cbrt('x'::text)")),
    ],
)
async def test_what_is_called_like_the_servers_own_is_not_trusted_before_it_is_known(
    connect: Connect, rows_of: Rows, before: tuple[str, ...], pipelined: tuple[str, ...]
) -> None:
    with connect("renames") as client:
        client.run("SET search_path = calls, public", "SELECT FROM unheard_of")
        time.sleep(ASKED_SECONDS)
        for statement in before:
            if statement == "wait":
                time.sleep(LOADED_SECONDS)
            else:
                client.run(statement)
        client.ask(*map(query, pipelined), ready=len(pipelined))

    assert await rows_of("renames", ORDERS) == LEFT


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (RENAMED, "SELECT sqrt('x'::text) FROM calls.owned"),
        (MINUS, "SELECT -value FROM calls.owned"),
        (CAST, "SELECT value::integer FROM calls.owned"),
    ],
)
async def test_what_a_transaction_is_making_is_not_trusted_by_what_waits_for_its_locks(
    connect: Connect, rows_of: Rows, change: str, asked: str
) -> None:
    with connect("renames") as client, connect("renames") as other:
        other.run(SIGNS, "SELECT FROM unheard_of")
        time.sleep(ASKED_SECONDS)
        client.run("BEGIN", "ALTER TABLE calls.owned ADD COLUMN more integer", change)
        time.sleep(LOADED_SECONDS)
        other.send(query(asked))
        time.sleep(0.3)
        client.run("COMMIT")
        other.ask(b"")

    assert await rows_of("renames", ORDERS) == LEFT


def test_definitions_may_use_the_types_and_relations_that_their_transaction_has_made(connect: Connect) -> None:
    statements = (
        *("BEGIN", "CREATE TYPE calls.mood AS ENUM ('x')", PLUS, "CREATE TABLE calls.t (m calls.mood, i int)"),
        *("ALTER TABLE calls.t ADD CHECK (abs(i) > 0)", "CREATE INDEX ON calls.t (abs(i))", "COMMIT"),
    )
    with connect("renames") as client:
        client.run("SET search_path = calls, public", "SELECT FROM unheard_of")
        time.sleep(ASKED_SECONDS)
        answers = [client.run(statement) for statement in statements]

    assert not [payload for answer in answers for kind, payload in answer if kind == "E"]
