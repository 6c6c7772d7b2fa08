"""A whole story with secrets that are known to the test, and then a search for them in every byte that it has left:
logs, state, databases, recordings, API answers, output, arguments and environments of processes. Where one belongs is
listed here, and nowhere else may it be."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from control_plane.cli.config import client_environment
from tests.support.postgres import PostgresServer
from tests.support.stack import REVIEWER, Stack, eventually, policy, running_stack, target
from tests.support.traces import Search, files, processes, spellings

RUN = [sys.executable, "-c", "from control_plane.cli.main import main; main()"]
SCHEMA = "CREATE TABLE orders (id int PRIMARY KEY, total numeric); INSERT INTO orders SELECT i, i FROM generate_series(1, 9) i"
RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba", "hold": {"wait": "60s"}},
    {"name": "ddl", "match": {"action": "ddl"}, "effect": "deny"},
)
SEALED, OWN = "nowhere", "own"


def made_up(name: str) -> str:
    """With what encodings spell differently."""
    return f"{name}-{secrets.token_urlsafe(12)}/+="


class Known:
    """The secrets of the story, by what they are called."""

    def __init__(self) -> None:
        self.by_name = {
            name: made_up(name)
            for name in ("sealed-password", "wrong-password", "own-password", "preview-password", "refused-value")
        }

    def __getitem__(self, name: str) -> str:
        return self.by_name[name]


@pytest.fixture(scope="module")
def known() -> Known:
    return Known()


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer, known: Known) -> Iterator[Stack]:
    """The passwords of the accounts are set by verifiers, so that the server's own log has none of them."""
    for name in (SEALED, OWN):
        postgres.execute(f"CREATE DATABASE {name}")
        postgres.execute(SCHEMA, database=name)
    account(postgres, "nowhere_agent", known["sealed-password"], "CREATEROLE")
    account(postgres, "own_agent", known["own-password"])
    account(postgres, "own_preview", known["preview-password"])
    postgres.execute(
        "GRANT SELECT, UPDATE, DELETE ON orders TO own_agent; GRANT SELECT ON orders TO own_preview", database=OWN
    )
    documents = [target(name, postgres, name) for name in (SEALED, OWN)]
    rules = [policy(name, name, *RULES) for name in (SEALED, OWN)]
    accounts = {
        SEALED: ("nowhere_agent", "unused"),
        OWN: ("own_agent", known["own-password"], "own_preview", known["preview-password"]),
    }
    with running_stack(postgres, [*documents, *rules], accounts) as running:
        yield running


def account(server: PostgresServer, name: str, password: str, attributes: str = "") -> None:
    from data_plane.protocols.postgres.accounts.verifier import verifier
    from data_plane.runtime.secret import Secret

    server.execute(f"CREATE ROLE {name} LOGIN {attributes} PASSWORD '{verifier(Secret(password))}'")


class Told:
    """All that was said to anybody while the story ran."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._reviewer = stack.control.sign_in(REVIEWER, stack.reviewer_password).token
        self.places: list[tuple[str, bytes]] = []

    def psql(self, name: str, *statements: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = self._stack.psql(name, *statements, **more)
        return self.kept(f"psql {statements}", done)

    def command(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        profile = self._stack.control.admin
        environment = client_environment(ASSENTRY_URL=profile.url, ASSENTRY_TOKEN=profile.token)
        done = subprocess.run(
            [*RUN, *words], env=environment, input=given, capture_output=True, text=True, check=False, timeout=90
        )
        return self.kept(f"assentry {words}", done)

    def kept(self, place: str, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        self.places += [
            (f"{place} {name}", text.encode()) for name, text in (("out", done.stdout), ("err", done.stderr))
        ]
        return done

    def put_secret(self, name: str, value: object, *, first: bool = False) -> httpx.Response:
        profile = self._stack.control.admin
        headers = {"Authorization": f"Bearer {profile.token}"} | ({} if first else {"If-Match": "*"})
        answer = httpx.put(f"{profile.url}/v1/secrets/{name}", json={"value": value}, headers=headers)
        self.places.append((f"PUT {name}", answer.content))
        return answer

    def everything_there_is_to_get(self) -> None:
        """Every path of the API that needs no more than names, and those of what the story has made."""
        api, profile = self._stack.admin, self._stack.control.admin
        described = api.get("/v1/openapi.json")
        plain = [path for path, verbs in described["paths"].items() if "get" in verbs and "{" not in path]
        named = [f"/v1/{kind}/{name}" for kind in ("targets", "secrets") for name in (SEALED, OWN)]
        sessions = [f"/v1/sessions/{one['id']}/timeline" for one in self._stack.sessions()]
        approvals = [f"/v1/approvals/{one['id']}" for one in self._stack.reviewer.pages("/v1/approvals", 100)]
        for path in [*plain, *named, *sessions, *approvals]:
            if not path.endswith("/events"):  # it never ends
                for who in (profile.token, self._reviewer):
                    answer = httpx.get(profile.url + path, headers={"Authorization": f"Bearer {who}"}, timeout=60)
                    self.places.append((f"GET {path}", answer.content))
        metrics = httpx.get(f"http://127.0.0.1:{self._stack.agent.metrics_port}/metrics")
        self.places.append(("GET /metrics", metrics.content))


@pytest.mark.timeout(300)
def test_no_secret_of_a_whole_story_is_anywhere_but_where_it_belongs(
    stack: Stack, known: Known, postgres: PostgresServer
) -> None:
    told, logged = Told(stack), postgres.log_path.stat().st_size
    told_by_processes = the_story(stack, told, known, postgres)
    told.everything_there_is_to_get()
    stack.agent.stop()
    stack.control.stop()
    wrapping = stack.control.state / "wrapping.key"
    belong = [stack.agent.state / f"{OWN}.password", stack.agent.state / f"{OWN}-preview.password",
              stack.control.state / "admin-password", wrapping]  # fmt: skip
    left = [
        *told.places,
        *files(stack.folder, but=belong),
        ("the server's log", postgres.log_path.read_bytes()[logged:]),
    ]
    search = Search({**known.by_name, **passwords_of_people(stack), "wrapping key": wrapping.read_text().strip()})
    assert search.found([*left, *told_by_processes]) == []
    assert search.seen > 1_000_000
    assert search.places > 100
    assert Search({"machine's token": stack.token}).found(left) == []  # clients have it in their environment


def passwords_of_people(stack: Stack) -> dict[str, str]:
    return {"reviewer's password": stack.reviewer_password, "admin's password": stack.control.admin_password}


def the_story(stack: Stack, told: Told, known: Known, server: PostgresServer) -> list[tuple[str, bytes]]:
    """Returns what processes showed in the middle of it."""
    sealed_secret(stack, told, known)
    told.command("targets", "doctor", SEALED)
    server.execute(told.command("targets", "doctor", SEALED, "--sql").stdout, database=SEALED)
    seen: list[tuple[str, bytes]] = []
    for name in (SEALED, OWN):
        assert told.psql(name, "SELECT count(*) FROM orders").stdout.strip() == "9"
        seen += held_and_approved(stack, told, name)
        for wrong in ("SELECT 1 / 0", "DROP TABLE orders", "SELEC", "SELECT pg_read_file('x')"):
            assert told.psql(name, wrong).returncode
    told.psql(OWN, "SELECT 1", PGPASSWORD="not a token")
    when_the_target_refuses_the_agent(stack, told, known)
    told.command("targets", "doctor", OWN, "--output", "json")
    told.command("audit", "export", "--file", "-")
    told.command("sessions", "replay", "last")
    rotated(told)
    return [*seen, *processes()]


def sealed_secret(stack: Stack, told: Told, known: Known) -> None:
    assert told.put_secret(SEALED, known["sealed-password"], first=True).is_success
    assert told.put_secret(SEALED, {"not a text": known["refused-value"]}).status_code == 422
    assert told.put_secret("-" + SEALED, known["refused-value"]).status_code in (404, 422)
    roles = {"read": ["sealed_read"], "write": ["sealed_write"]}
    credential = {"secret": SEALED, "session_roles": {"roles": roles}, "rotate": {}}
    stack.control.apply([target(SEALED, stack.server, SEALED, credential=credential)])


def held_and_approved(stack: Stack, told: Told, name: str) -> list[tuple[str, bytes]]:
    client = stack.start_psql(name, f"UPDATE orders SET total = 0 WHERE id = 1 /* {name} */")
    pending = stack.pending("UPDATE orders")
    seen = list(processes())
    stack.approve(pending["headline"])
    out, err = client.communicate(timeout=30)
    told.places += [("the held client", (out + err).encode())]
    assert client.returncode == 0, err
    return seen


def when_the_target_refuses_the_agent(stack: Stack, told: Told, known: Known) -> None:
    """The password is no longer that of the account: sessions fail, and errands too."""
    assert told.put_secret(SEALED, known["wrong-password"]).is_success

    def refused() -> bool:
        return told.psql(SEALED, "SELECT 1").returncode != 0

    eventually(refused, "sessions being refused")
    assert told.command("targets", "doctor", SEALED).returncode == 1
    assert told.put_secret(SEALED, known["sealed-password"]).is_success
    eventually(lambda: not refused(), "sessions being served again")


def rotated(told: Told) -> None:
    """The password that was known is of no use any more, and still nowhere."""
    done = told.command("targets", "rotate", SEALED)
    assert done.returncode == 0, done.stderr
    assert told.psql(SEALED, "SELECT count(*) FROM orders").stdout.strip() == "9"
    for words in (("secrets", "list"), ("secrets", "rewrap"), ("targets", "credentials"), ("accounts", "list")):
        assert told.command(*words).returncode == 0, words


# ---------------------------------------------------------------- the search itself


@pytest.mark.parametrize("number", range(12))
def test_the_search_finds_every_spelling(number: int, tmp_path: Path) -> None:
    secret = made_up("canary")
    spelt = sorted(spellings(secret))[number % len(spellings(secret))]
    (tmp_path / "log").write_bytes(b"before " + spelt + b" after")
    assert Search({"canary": secret}).found(files(tmp_path)) == [f"canary in {tmp_path / 'log'}"]


def test_the_search_looks_into_databases_compressed_parts_and_processes(tmp_path: Path) -> None:
    import sqlite3

    import zstandard

    secret = made_up("canary")
    (tmp_path / "segment").write_bytes(b"head" + zstandard.compress(b"x" * 99 + secret.encode()) + b"tail")
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("create table t (a)")
        database.execute("insert into t values (?)", ("y" * 9000 + secret,))
    database.close()
    found = Search({"canary": secret}).found(files(tmp_path))
    assert {place.rpartition("/")[2] for place in found} == {"segment", "state.db"}
    child = subprocess.Popen(
        [sys.executable, "-c", "input()", secret], stdin=subprocess.PIPE, env={"LC_ALL": "C.UTF-8"}
    )
    try:
        assert Search({"canary": secret}).found(processes()) == [f"canary in /proc/{child.pid}/cmdline"]
    finally:
        child.communicate(b"\n")
    assert Search({"canary": secret}).found(processes()) == []
