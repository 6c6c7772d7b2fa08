"""One stack for all end-to-end tests: three targets on one PostgreSQL, each with its own policy.

`shop` holds writes and masks customers; `open` allows everything; `strict` also denies what is not understood.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, Stack, document, policy, running_stack, target

SCHEMA = """
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email text, card text, note text);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, total numeric(10, 2));
INSERT INTO customers VALUES
    (1, 'Ada', 'ada@canary.example', '4111111111111111', 'likes tea'),
    (2, 'Grace', 'grace@canary.example', '5500000000000004', NULL);
INSERT INTO orders SELECT i, 1 + i % 2, i FROM generate_series(1, 60) i;
"""
MASK = document(
    "Mask", "pii",
    columns=[{"column": "public.customers.email", "strategy": "partial"}, {"column": "public.customers.card"}],
)  # fmt: skip
SHOP_RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "masked", "match": {"tables": ["public.customers"]}, "mask": ["pii"]},
    {
        "name": "writes",
        "match": {"action": "write"},
        "effect": "hold",
        "approval": "dba",
        "hold": {"wait": "60s", "in_transaction": "30s"},
    },
    {"name": "where", "match": {"verbs": ["UPDATE", "DELETE"]}, "when": "!op.has_where", "effect": "deny",
     "message": "add a WHERE clause"},
    {"name": "ddl", "match": {"action": "ddl"}, "effect": "deny", "message": "no schema changes here"},
)  # fmt: skip


@pytest.fixture(scope="session")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    for database in ("shop", "open"):
        postgres.execute(f"CREATE DATABASE {database}")
        postgres.execute(SCHEMA, database=database)
    documents = [
        target("shop", postgres, "shop"),
        target("open", postgres, "open"),
        MASK,
        policy("shop", "shop", *SHOP_RULES),
        policy("open", "open", ALLOW_ALL),
    ]
    account = (postgres.superuser, postgres.password)
    with running_stack(postgres, documents, {"shop": account, "open": account}) as running:
        yield running
