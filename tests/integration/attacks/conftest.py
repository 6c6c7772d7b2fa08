"""One stack: `held` holds writes and masks customers, `shut` allows nothing, `paths` goes by the names of tables, in
`moved` those may be changed while people decide, and in `masking` the rule that allows to read customers masks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import asyncpg
import pytest

from tests.integration.attacks.wire import Client, connected
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, policy, running_stack, target

ACCOUNT = ("attacked", "attacked-password")
FILL = "INSERT INTO public.orders SELECT i, 'kept' FROM generate_series(1, 9) i"
SCHEMA = (
    "CREATE TABLE orders (id integer PRIMARY KEY, note text)",
    "CREATE TABLE customers (id integer PRIMARY KEY, name text, email text)",
    "INSERT INTO customers VALUES (1, 'Ada', 'ada@canary.example')",
    (
        "CREATE FUNCTION zap(i integer) RETURNS integer LANGUAGE plpgsql AS "
        "$$BEGIN DELETE FROM public.orders WHERE id = i; RETURN i; END$$"
    ),
    "CREATE FUNCTION upper(t text) RETURNS text LANGUAGE plpgsql AS $$BEGIN DELETE FROM public.orders; RETURN t; END$$",
    "CREATE DOMAIN small AS integer CHECK (VALUE > 0 AND VALUE < 10)",
    "CREATE SCHEMA mine",
    "CREATE TABLE mine.orders (id integer)",
    "CREATE VIEW mine.through AS SELECT id, note FROM orders",
    "CREATE VIEW mine.twice AS SELECT id FROM mine.through",
    "CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN DELETE FROM public.orders; RETURN NEW; END$$",
    "CREATE VIEW people AS SELECT id, name FROM customers",
    "CREATE SCHEMA hidden",
    "CREATE TABLE hidden.orders (id integer)",
    "GRANT ALL ON ALL TABLES IN SCHEMA public, mine, hidden TO attacked",
    "GRANT USAGE ON SCHEMA public, mine TO attacked",
)
_ZAP = "LANGUAGE plpgsql AS $$BEGIN DELETE FROM public.orders; RETURN {}; END$$"
# To a server whose grammar does not know them these are functions like any other.
NEWER_GRAMMAR = (
    "json_scalar(i integer)",
    "json_serialize(i integer)",
    "json_value(a json, b text)",
    "json_query(a json, b text)",
    "json_exists(a json, b text)",
    "json_array(i integer)",
    "json_arrayagg(i integer)",
    "json_object()",
    "json_object(i integer)",
    "json(a text)",
    "merge_action()",
)
# Functions, operators, casts and types that look like the server's own where they are used, and delete orders.
PLANTED = (
    "CREATE TYPE own AS (a integer)",
    "CREATE TABLE owned (id integer, value own, zap integer)",
    "INSERT INTO owned VALUES (1, ROW(1)::own, 7)",
    f"CREATE FUNCTION lower(o own) RETURNS text {_ZAP.format(chr(39) + chr(39))}",
    f"CREATE FUNCTION uuidv7(o own) RETURNS text {_ZAP.format(chr(39) + chr(39))}",
    f"CREATE FUNCTION added(o own, i integer) RETURNS integer {_ZAP.format('i')}",
    "CREATE OPERATOR + (LEFTARG = own, RIGHTARG = integer, FUNCTION = added)",
    f"CREATE FUNCTION summed(s integer, o own) RETURNS integer {_ZAP.format('s')}",
    "CREATE AGGREGATE max(o own) (SFUNC = summed, STYPE = integer, INITCOND = '0')",
    f"CREATE FUNCTION as_integer(o own) RETURNS integer {_ZAP.format('1')}",
    "CREATE CAST (own AS integer) WITH FUNCTION as_integer(own)",
    "CREATE TYPE quiet AS (a integer)",
    f"CREATE FUNCTION as_text(q quiet) RETURNS text {_ZAP.format(chr(39) + 'x' + chr(39))}",
    "CREATE CAST (quiet AS text) WITH FUNCTION as_text(quiet) AS IMPLICIT",
    "CREATE TYPE mood AS ENUM ('x')",
    f"CREATE FUNCTION as_json(m mood) RETURNS json {_ZAP.format(chr(39) + '1' + chr(39))}",
    "CREATE CAST (mood AS json) WITH FUNCTION as_json(mood)",
    "CREATE TABLE moods (id integer, value mood)",
    "INSERT INTO moods VALUES (1, 'x')",
    "CREATE TABLE silent (id integer, value quiet)",
    "INSERT INTO silent VALUES (1, ROW(1)::quiet)",
    f"CREATE FUNCTION checks(i integer) RETURNS boolean {_ZAP.format('true')}",
    "CREATE DOMAIN checked AS integer CHECK (checks(VALUE))",
    "CREATE TABLE with_checked (id integer, value checked)",
    *(f"CREATE FUNCTION public.{called} RETURNS integer {_ZAP.format('1')}" for called in NEWER_GRAMMAR),
    f"CREATE FUNCTION set_config(a text, b text, c text) RETURNS text {_ZAP.format('a')}",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO attacked",
    "GRANT TEMPORARY ON DATABASE calls TO attacked",
)
OWNED = (
    ("SCHEMA", "public"),
    ("SCHEMA", "mine"),
    ("TABLE", "mine.orders"),
    ("TABLE", "public.customers"),
    ("TABLE", "public.orders"),
    ("VIEW", "public.people"),
)
SOON = {"wait": "1s", "in_transaction": "1s"}
READS = {"name": "reads", "match": {"action": "read"}, "effect": "allow"}
TEMPORARY = {"name": "temporary", "match": {"action": "ddl"}, "when": "op.temporary", "effect": "allow"}
WRITES = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba", "hold": SOON}
MASKED = {"name": "masked", "match": {"tables": ["public.customers"]}, "mask": ["pii"]}
READS_MASKED = {"name": "masked", "match": {"action": "read", "tables": ["public.customers"]}, "effect": "allow",
                "mask": ["pii"]}  # fmt: skip
FREE = {
    "name": "free",
    "match": {"action": "write", "tables": ["mine.*", "hidden.*", "pg_temp.*"]},
    "effect": "allow",
}
DROPS = {"name": "drops", "match": {"action": "ddl", "tables": ["pg_temp.*"]}, "effect": "allow"}
SCHEMA_WORK = {"name": "schema", "match": {"action": "ddl"}, "effect": "allow"}
OWN_SCHEMA = {"name": "own", "match": {"action": "ddl", "tables": ["mine.*"]}, "effect": "allow"}
GUARDED = {**WRITES, "match": {"action": "write", "tables": ["public.*"]}}
PATIENT = {"wait": "30s", "in_transaction": "30s"}
MINE = {
    "name": "mine",
    "match": {"action": "write", "tables": ["mine.*"]},
    "effect": "hold",
    "approval": "dba",
    "hold": PATIENT,
}
NOT_PUBLIC = {"name": "public", "match": {"action": "write", "tables": ["public.*"]}, "effect": "deny"}
ROLES = (
    "CREATE SCHEMA AUTHORIZATION attacked",
    "CREATE SCHEMA AUTHORIZATION deputy",
    "CREATE TABLE attacked.orders (id integer)",
    "CREATE TABLE deputy.customers (id integer)",
    "GRANT ALL ON ALL TABLES IN SCHEMA public, attacked, deputy TO attacked, deputy",
)
OF_ROLES = {**FREE, "match": {"action": "write", "tables": ["attacked.*", "deputy.*"]}}
TAKE_ROLES = {"name": "roles", "match": {"action": "admin"}, "effect": "allow"}
POLICIES = {
    "held": (READS, WRITES, TEMPORARY, MASKED),
    "shut": ({"name": "nothing", "match": {"tables": ["public.nothing"], "action": "read"}, "effect": "allow"},),
    "paths": (READS, FREE, DROPS, GUARDED, TEMPORARY),
    "calls": (READS, FREE, DROPS, GUARDED, TEMPORARY),
    "renames": (READS, SCHEMA_WORK, FREE, GUARDED, MASKED),
    "moved": (READS, SCHEMA_WORK, MINE, NOT_PUBLIC),
    "masking": (READS_MASKED,),
    "roles": (READS, TAKE_ROLES, OF_ROLES, GUARDED),
    "definitions": (READS, OWN_SCHEMA, GUARDED),
}
MASK = document("Mask", "pii", columns=[{"column": "public.customers.email"}])

Connect = Callable[..., AbstractContextManager[Client]]
Ask = Callable[[str, str], object]


@pytest.fixture(scope="session")
def attacked(postgres: PostgresServer) -> Iterator[Stack]:
    user, password = ACCOUNT
    postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
    postgres.execute("CREATE ROLE deputy", f"GRANT deputy TO {user}")
    for name in POLICIES:
        postgres.execute(f"CREATE DATABASE {name}")
        postgres.execute(f"GRANT TEMPORARY ON DATABASE {name} TO {user}", *SCHEMA, database=name)
        for kind, relation in OWNED if name in {"renames", "moved", "definitions"} else ():
            postgres.execute(f"ALTER {kind} {relation} OWNER TO {user}", database=name)
    postgres.execute(*PLANTED, database="calls")
    postgres.execute(*ROLES, database="roles")
    documents = [MASK]
    for name, rules in POLICIES.items():
        documents += [target(name, postgres, name), policy(name, name, *rules)]
    with running_stack(postgres, documents, dict.fromkeys(POLICIES, ACCOUNT)) as running:
        yield running


@pytest.fixture
def connect(attacked: Stack) -> Connect:
    """A raw client of a target."""

    def connect(name: str, **settings: str) -> AbstractContextManager[Client]:
        return connected(attacked.port(name), attacked.token, name, **settings)

    return connect


@pytest.fixture(autouse=True)
def all_orders_there(postgres: PostgresServer, attacked: Stack) -> None:
    """Each attack finds all rows, whatever the one before it did."""
    del attacked
    for name in POLICIES:
        postgres.execute("DELETE FROM public.orders", FILL, database=name)


@pytest.fixture
async def rows_of(postgres: PostgresServer, attacked: Stack) -> Callable[..., object]:
    """Asks the server itself, as its superuser."""
    del attacked

    async def ask(name: str, sql: str) -> object:
        connection = await asyncpg.connect(postgres.url(name))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return ask
