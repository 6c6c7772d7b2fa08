"""A row guard that holds changes nothing that a client can see: the same scripts directly and under guards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Allowed, Held, Verdict
from data_plane.protocols.postgres import answers as a
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import HEADER
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    CLOSE,
    DESCRIBE,
    EXECUTE,
    HOLD,
    PARSE,
    QUERY,
    SYNC,
)
from tests.integration.postgres.core.test_against_the_server import Connection, Direct, Through, heard, seen
from tests.integration.postgres.core.test_against_the_server import ended as is_over
from tests.support.postgres import PostgresServer

TABLES = """
drop table if exists h, g;
create temp table g (id int primary key, n int);
create temp table h (g int references g deferrable initially deferred);
insert into g select i, 0 from generate_series(1, 9) i;
insert into h values (9);
"""
CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})


class Guarded(Through):
    """Everything is allowed; what changes rows is held and approved at once, under a guard of so many rows."""

    def __init__(self, connection: Connection, most_rows: int) -> None:
        super().__init__(connection, allow_all=True)
        self.most_rows = most_rows
        self.guards = 0

    def allow(self, number: int, subjects: object, raw: bytes) -> Verdict:
        verbs = {verb for subject in subjects for verb in subject.verbs}  # type: ignore[attr-defined]
        return Held(HOLD) if verbs & CHANGES and self.most_rows >= 0 else Allowed(self.session.gate.permit(raw))

    def approved(self) -> None:
        while self.session.core.held:
            guardable = self.session.operations[-1].guardable
            self.guards += guardable
            self.session.approve(self.most_rows if guardable else None)

    def run(self, *messages: bytes) -> list[bytes]:
        session, found = self.session, []
        for message in (*messages, SYNC, QUERY("rollback"), QUERY("select 'the end of the script'")):
            session.client(message)
            self.approved()
        while True:
            data, session.to_target_bytes = bytes(session.to_target_bytes), bytearray()
            self.socket.sendall(data)
            data, session.to_client_bytes = bytes(session.to_client_bytes), bytearray()
            found += self.reader.feed(data)
            assert not session.ended, (session.ended, found)
            if is_over(found):
                return found
            session.target(heard(self.socket))
            self.approved()


@pytest.fixture(scope="module")
def connections(postgres: PostgresServer) -> Iterator[tuple[Connection, Connection]]:
    with closing(Connection(postgres)) as first, closing(Connection(postgres)) as second:
        yield first, second


def both(connections: tuple[Connection, Connection], most_rows: int) -> tuple[Direct, Guarded]:
    """On tables of their own, alike."""
    direct, guarded = Direct(connections[0]), Guarded(connections[1], -1)
    for side in (direct, guarded):
        side.run(QUERY("rollback"), QUERY("discard all"), QUERY(TABLES))
    guarded.most_rows = most_rows
    return direct, guarded


def described(found: list[object]) -> list[object]:
    """The tables of the two have other numbers."""
    return [
        [(column.name, column.type_oid, column.format) for column in a.decode_row_description(frame[HEADER:])]
        if isinstance(frame, bytes) and frame[0] == m.RowDescription
        else frame
        for frame in found
    ]


TEXTS = [
    "delete from g where id <= 2", "delete from g where id = 3 returning *", "update g set n = n + 1",
    "update g set n = 1/0 where id = 1", "insert into g values (1, 1)", "insert into h values (77)",
    "insert into g select i, 0 from generate_series(100, 105) i returning id", "delete from g where id = 9",
    "begin", "commit", "rollback", "savepoint s", "rollback to s", "select count(*), sum(n) from g",
    "select count(*) from h", "set constraints all immediate", "delete from nothing", "update g set n = 'x'",
]  # fmt: skip
texts, names = st.sampled_from(TEXTS), st.sampled_from(["", "x"])
scripts = st.lists(
    st.one_of(
        st.builds(QUERY, texts),
        st.builds(lambda text: PARSE("", text) + BIND("", "") + DESCRIBE(b"P", "") + EXECUTE("") + SYNC, texts),
        st.builds(lambda text: PARSE("", text) + SYNC + BIND("", "") + EXECUTE("") + SYNC, texts),
        st.builds(
            lambda name, text: CLOSE(b"S", name) + PARSE(name, text) + BIND("", name) + EXECUTE("", 1) + SYNC,
            names, texts,
        ),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts)
def test_under_guards_that_hold_the_client_sees_what_it_would_see_directly(
    connections: tuple[Connection, Connection], script: list[bytes]
) -> None:
    direct, guarded = both(connections, 1_000)
    assert described(seen(guarded.run(*script))) == described(seen(direct.run(*script)))


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "delete from g where id < 9",
        "update g set n = 1 returning id",
        "insert into g select i, 0 from generate_series(50, 59) i",
    ],
)
def test_what_touches_more_leaves_nothing_behind(
    connections: tuple[Connection, Connection], text: str, extended: bool
) -> None:
    message = PARSE("", text) + BIND("", "") + EXECUTE("") + SYNC if extended else QUERY(text)
    _, guarded = both(connections, 7)
    found = guarded.run(message, QUERY("select count(*), sum(n) from g"))
    assert guarded.guards == 1
    codes = [item for item in seen(found) if isinstance(item, str)]
    assert codes[:1] == ["54000"]
    rows = [a.decode_data_row(frame[HEADER:]) for frame in found if frame[0] == m.DataRow]
    assert rows[0] == (b"9", b"0")


def test_inside_a_transaction_nothing_of_it_can_be_committed(connections: tuple[Connection, Connection]) -> None:
    _, guarded = both(connections, 7)
    found = guarded.run(
        QUERY("begin"), QUERY("update g set n = 5 where id = 1"), QUERY("delete from g where id < 9"),
        QUERY("select 1"), QUERY("commit"), QUERY("select count(*), sum(n) from g"),
    )  # fmt: skip
    codes = [item for item in seen(found) if isinstance(item, str)]
    assert codes[:2] == ["54000", "25P02"]
    rows = [a.decode_data_row(frame[HEADER:]) for frame in found if frame[0] == m.DataRow]
    assert rows[0] == (b"9", b"0")


def test_a_savepoint_of_the_client_undoes_what_its_guard_refused(connections: tuple[Connection, Connection]) -> None:
    _, guarded = both(connections, 7)
    found = guarded.run(
        QUERY("begin"), QUERY("update g set n = 5 where id = 1"), QUERY("savepoint s"),
        QUERY("delete from g where id < 9"), QUERY("rollback to s"), QUERY("commit"),
        QUERY("select count(*), sum(n) from g"),
    )  # fmt: skip
    rows = [a.decode_data_row(frame[HEADER:]) for frame in found if frame[0] == m.DataRow]
    assert rows[0] == (b"9", b"5")
