"""The core between a script and a real server: with everything allowed the client sees what it would see directly, and
a denial leaves transactions, savepoints and pipelines as a failed statement would."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Allowed, Verdict
from data_plane.protocols.postgres import answers as a
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.states import Expected
from data_plane.protocols.postgres.framing import HEADER, FrameReader
from data_plane.protocols.postgres.target_startup import Ready, Send, TargetLogin, TargetStartup
from data_plane.runtime.secret import Secret
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    CLOSE,
    DESCRIBE,
    EXECUTE,
    FLUSH,
    PARSE,
    QUERY,
    SYNC,
    Conversation,
    FakeMasking,
)
from tests.support.postgres import PostgresServer

END = "select 'the end of the script'"


class Connection:
    """A blocking connection to the server, logged in."""

    def __init__(self, server: PostgresServer) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=5)
        login = TargetLogin(
            server.superuser,
            Secret(server.password),
            "postgres",
            {"client_encoding": "UTF8"},
            "disable",
            True,
            "n" * 24,
        )
        startup = TargetStartup(login)
        steps = [startup.begin()]
        while not any(isinstance(step, Ready) for step in steps):
            for step in steps:
                assert isinstance(step, Send), step
                self.socket.sendall(step.data)
            steps = startup.target_sent(self.socket.recv(65536))

    def close(self) -> None:
        self.socket.close()


def heard(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the server closed the connection"
    return data


class Direct:
    def __init__(self, connection: Connection) -> None:
        self.socket = connection.socket
        self.reader = FrameReader([1 << 30] * 256)

    def run(self, *messages: bytes) -> list[bytes]:
        """Every answer up to the end of the script, which is added."""
        self.socket.sendall(b"".join(messages) + SYNC + QUERY("rollback") + QUERY(END))
        found: list[bytes] = []
        while not ended(found):
            found += self.reader.feed(heard(self.socket))
        return found


class Through:
    def __init__(self, connection: Connection, *, allow_all: bool, masking: FakeMasking | None = None) -> None:
        self.socket = connection.socket
        self.session = Conversation(masking=masking, row_limit=2)
        if allow_all:
            self.session.gate.judge = self.allow  # type: ignore[method-assign]
        self.reader = FrameReader([1 << 30] * 256)

    def allow(self, number: int, subjects: object, raw: bytes) -> Verdict:
        return Allowed(self.session.gate.permit(raw))

    def run(self, *messages: bytes) -> list[bytes]:
        self.session.client(*messages, SYNC, QUERY("rollback"), QUERY(END))
        found: list[bytes] = []
        while not ended(found):
            data, self.session.to_target_bytes = bytes(self.session.to_target_bytes), bytearray()
            self.socket.sendall(data)
            data, self.session.to_client_bytes = bytes(self.session.to_client_bytes), bytearray()
            found += self.reader.feed(data)
            assert not self.session.ended, (self.session.ended, found)
            if not ended(found):
                self.session.target(heard(self.socket))
        assert self.session.core._pipeline.expected is Expected.NOTHING
        return found


def ended(found: list[bytes]) -> bool:
    return len(found) > 3 and found[-1][0] == m.ReadyForQuery and END[8:-1].encode() in found[-3]


def seen(found: list[bytes]) -> list[object]:
    """Errors by their SQLSTATE; everything else as it is."""
    return [a.decode_notice(frame[HEADER:])["C"] if frame[0] in b"EN" else frame for frame in found]


def statuses(found: list[bytes]) -> str:
    return "".join(chr(frame[HEADER]) for frame in found if frame[0] == m.ReadyForQuery)


def errors(found: list[bytes]) -> list[str]:
    return [a.decode_notice(frame[HEADER:])["C"] for frame in found if frame[0] == m.ErrorResponse]


@pytest.fixture(scope="module")
def connections(postgres: PostgresServer) -> Iterator[tuple[Connection, Connection]]:
    with closing(Connection(postgres)) as first, closing(Connection(postgres)) as second:
        yield first, second


def allowed(connections: tuple[Connection, Connection]) -> tuple[Direct, Through]:
    pair = Direct(connections[0]), Through(connections[1], allow_all=True)
    for side in pair:
        side.run(QUERY("rollback"), QUERY("discard all"))
    pair[1].session.recorder.events.clear()
    return pair


def ruled(connections: tuple[Connection, Connection]) -> Through:
    """DROP is denied."""
    through = Through(connections[1], allow_all=False)
    through.run(QUERY("rollback"), QUERY("discard all"))
    return through


TEXTS = ["select 1", "select n from generate_series(1, 3) n", "select 1/0", "begin", "commit", "rollback", "savepoint s", "rollback to s",
         "select 1; select 2", "select 1; select 1/0; select 3", "begin; declare p cursor for select 7; fetch p", "close all",
         "prepare x as select 9; execute x", "deallocate all", "", "set search_path = pg_temp", "show search_path",
         "copy (select 4) to stdout", "select pg_notify('a', 'b')", "commit; select 5"]  # fmt: skip
SINGLE = [text for text in TEXTS if ";" not in text]
texts, names = st.sampled_from(TEXTS), st.sampled_from(["", "x", "p"])
single = st.sampled_from(SINGLE)
messages = st.one_of(
    st.builds(QUERY, texts),
    st.builds(
        lambda text, end: PARSE("", text) + BIND("", "") + DESCRIBE(b"P", "") + EXECUTE("") + end,
        single,
        st.sampled_from([SYNC, FLUSH, b""]),
    ),
    st.builds(lambda name, text: PARSE(name, text) + DESCRIBE(b"S", name) + SYNC, names, single),
    st.builds(
        lambda name, text: PARSE(name, text) + BIND(name, name) + EXECUTE(name, 1) + EXECUTE(name, 1) + SYNC,
        names,
        single,
    ),
    st.builds(
        lambda name, text: CLOSE(b"S", name) + PARSE(name, text) + SYNC + BIND("", name) + EXECUTE("") + SYNC,
        names,
        single,
    ),
    st.builds(PARSE, names, single),
    st.builds(CLOSE, st.sampled_from([b"S", b"P"]), names),
    st.sampled_from([SYNC, FLUSH]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(messages, max_size=14))
def test_with_everything_allowed_the_client_sees_what_it_would_see_directly(
    connections: tuple[Connection, Connection], script: list[bytes]
) -> None:
    """Every answer in its place, also over errors, skipped pipelines, suspended portals and shared names."""
    direct, through = allowed(connections)
    expected, found = direct.run(*script), through.run(*script)
    refused = [event for event in through.session.recorder.of("decided") if event[1] == "deny"]
    if not refused:  # a name that nobody made is refused with its whole batch, before any of it runs
        assert seen(found) == seen(expected)
    completed = [event[0] for event in through.session.recorder.of("completed")]
    assert sorted(completed) == sorted({event[0] for event in through.session.recorder.of("input")})


def extended(text: str) -> bytes:
    return PARSE("", text) + BIND("", "") + EXECUTE("")


@pytest.mark.parametrize(
    ("script", "outcome", "codes"),
    [
        ([QUERY("drop table t"), QUERY("select 1")], "III", ["42501"]),
        ([QUERY("begin"), QUERY("drop table t"), QUERY("select 1"), QUERY("rollback")], "TEEI", ["42501", "25P02"]),
        ([QUERY("begin"), QUERY("savepoint s"), QUERY("drop table t"), QUERY("rollback to s"), QUERY("select 1"), QUERY("commit")],
         "TTETTI", ["42501"]),
        ([QUERY("begin"), QUERY("select 1/0"), QUERY("drop table t"), QUERY("rollback")], "TEEI", ["22012", "42501"]),
        ([extended("drop table t"), SYNC, extended("select 1"), SYNC], "II", ["42501"]),
        ([extended("select 1"), extended("drop table t"), extended("select 2"), SYNC], "I", ["42501"]),
        ([QUERY("begin"), extended("drop table t"), SYNC, QUERY("rollback")], "TEI", ["42501"]),
        ([QUERY("begin"), extended("select 1"), FLUSH, extended("drop table t"), FLUSH, extended("select 2"), FLUSH, SYNC, QUERY("rollback")],
         "TEI", ["42501"]),
        ([QUERY("select 1; drop table t")], "I", ["42501"]),
    ],
)  # fmt: skip
def test_a_denial_moves_the_session_as_a_failed_statement_would(
    connections: tuple[Connection, Connection], script: list[bytes], outcome: str, codes: list[str]
) -> None:
    through = ruled(connections)
    found = through.run(*script)
    assert (statuses(found)[: len(outcome)], errors(found)) == (outcome, codes)


def test_work_before_a_denial_in_the_same_transaction_is_undone_by_the_server(
    connections: tuple[Connection, Connection],
) -> None:
    through = ruled(connections)
    through.run(QUERY("create temp table kept (n int)"))
    found = through.run(QUERY("begin"), QUERY("insert into kept values (1)"), QUERY("drop table kept"), QUERY("commit"),
                        QUERY("select count(*) from kept"))  # fmt: skip
    rows = [a.decode_data_row(frame[HEADER:]) for frame in found if frame[0] == m.DataRow]
    assert rows[0] == (b"0",)


def test_a_cursor_that_sql_declared_is_masked_when_the_protocol_executes_it(
    connections: tuple[Connection, Connection],
) -> None:
    """Invariant 10: against the real server, which sends no RowDescription for it."""
    through = Through(connections[1], allow_all=True, masking=FakeMasking(active=True))
    through.session.core._context.tables.portals.clear()
    found: list[bytes] = []
    script = QUERY("begin; declare c cursor for select 'alice'"), EXECUTE("c"), SYNC, QUERY("rollback")
    through.session.client(*script)
    while statuses(found) != "TTI":
        data, through.session.to_target_bytes = bytes(through.session.to_target_bytes), bytearray()
        through.socket.sendall(data)
        through.session.target(heard(through.socket))
        data, through.session.to_client_bytes = bytes(through.session.to_client_bytes), bytearray()
        found += through.reader.feed(data)
    rows = [frame for frame in found if frame[0] == m.DataRow]
    assert [a.decode_data_row(frame[HEADER:]) for frame in rows] == [(b"*",)]
