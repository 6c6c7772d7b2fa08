"""A database that is not encoded in UTF-8: the server cuts names at other places than the gateway's parser does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.attacks.conftest import ACCOUNT, READS
from tests.integration.attacks.wire import SYNC, Answer, bind, connected, execute, message, parse, text
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, policy, running_stack, target

LONG = "ä" * 40  # 80 bytes in UTF-8, of which PostgreSQL and its grammar keep 63; 40 in LATIN1
RULES = (
    READS,
    {"name": "kept", "match": {"action": "write", "tables": [f"public.{LONG}"]}, "effect": "deny"},
    {"name": "others", "match": {"action": "write"}, "effect": "allow"},
)


def error_of(answers: list[Answer]) -> str:
    return " ".join(payload.decode(errors="replace") for kind, payload in answers if kind == "E")


@pytest.fixture(scope="module")
def latin(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    postgres.execute(
        f'CREATE TABLE "{LONG}" (id integer, note text)', f'INSERT INTO "{LONG}" VALUES (1, \'\')',
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ACCOUNT[0]}", database="latin",
    )  # fmt: skip
    documents = [target("latin", postgres, "latin"), policy("latin", "latin", *RULES)]
    with running_stack(postgres, documents, {"latin": ACCOUNT}) as stack:
        yield stack


@pytest.mark.parametrize("name", [f'"{LONG}"', LONG, f'"{LONG[:35]}"', 'U&"' + "\\00e4" * 40 + '"'])
def test_names_beyond_ascii_are_refused(latin: Stack, name: str) -> None:
    with connected(latin.port("latin"), latin.token, "latin") as client:
        for query in (f"DELETE FROM {name}", f"PREPARE {name} AS SELECT 1", f"SELECT 1 AS {name}"):
            assert "not encoded in UTF-8" in error_of(client.run(query))


def test_strings_and_comments_beyond_ascii_are_not_in_the_way(latin: Stack) -> None:
    with connected(latin.port("latin"), latin.token, "latin") as client:
        assert not error_of(client.run("SELECT 'ä', $$ä$$, E'ä' /* ä */ -- ä"))


ONE, OTHER = "\u00a6", "\uffe4"  # one character in EUC_JP


@pytest.fixture(scope="module")
def japanese(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute("CREATE DATABASE japanese ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    postgres.execute(
        "CREATE TABLE orders (id integer)", "INSERT INTO orders VALUES (1)",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ACCOUNT[0]}", database="japanese",
    )  # fmt: skip
    held = {"name": "held", "match": {"action": "write"}, "effect": "hold", "approval": "dba", "hold": {"wait": "1s"}}
    documents = [target("japanese", postgres, "japanese"), policy("japanese", "japanese", READS, held)]
    with running_stack(postgres, documents, {"japanese": ACCOUNT}) as stack:
        yield stack


def test_two_names_that_the_server_takes_for_one_are_refused(japanese: Stack) -> None:
    with connected(japanese.port("japanese"), japanese.token, "japanese") as client:
        client.ask(parse(ONE, "SELECT 1"), SYNC)
        client.ask(message("C", b"S" + text(OTHER)), SYNC)
        client.ask(parse(OTHER, "DELETE FROM orders"), SYNC)
        answers = client.ask(bind("", ONE), execute(""), SYNC)
        assert b"DELETE 1\0" not in [payload for kind, payload in answers if kind == "C"]
        (rows,) = [payload for kind, payload in client.run("SELECT id FROM orders") if kind == "C"]
    assert rows == b"SELECT 1\0"
