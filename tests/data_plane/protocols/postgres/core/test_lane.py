"""The fast lane gives what the ordinary path gives: the same bytes, verdicts, records and tables, in any pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Allowed
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import encode_notice, encode_parameter_description
from data_plane.protocols.postgres.core import Limits
from data_plane.protocols.postgres.framing import encode
from tests.data_plane.protocols.postgres.core import conversation as c

BOUND_ONE = m.encode_bind("", "x", [b"7"])
RUN = c.EXECUTE("") + c.SYNC
RESULT = c.DESCRIPTION + c.ROW([b"1"]) + c.ROW([None]) + c.COMPLETE("SELECT 2")
PREPARE = c.PARSE("x", "select n from t where n = $1") + c.SYNC


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each chunk that a client sent: whether it went the fast way."""
    taken: list[bool] = []

    def client(session: c.Conversation, *messages: bytes) -> None:
        for piece in session.pieces(b"".join(messages)):
            session.core.client_sent(piece)
            units = list(session.core._pipeline)
            taken.append(bool(units) and units[-1].plain and units[-1].raw is piece)

    monkeypatch.setattr(c.Conversation, "client", client)
    return taken


def prepared(**options: Any) -> c.Conversation:
    session = c.Conversation(**options)
    session.client(PREPARE)
    session.target(c.PARSED + c.ready())
    session.take_client()
    session.take_target()
    return session


# ------------------------------------------------------------------ what it takes


@pytest.mark.parametrize(
    "data",
    [
        c.QUERY("select 1"),
        c.QUERY("update t set n = 1"),
        BOUND_ONE + RUN,
        BOUND_ONE + c.DESCRIBE(b"P", "") + RUN,
        m.encode_bind("", "x", [b"\0\0\0\7", None], [1, 0], [1]) + RUN,
    ],
)
def test_a_plain_statement_alone_is_taken(lane: list[bool], data: bytes) -> None:
    session = prepared()
    session.client(data)
    assert lane[-1]
    assert bytes(session.permitted) == PREPARE + data


@pytest.mark.parametrize(
    "data",
    [
        b"Q",
        c.QUERY("select 1")[:-1],
        c.QUERY("select 1") + c.QUERY("select 1"),
        c.QUERY("select 1; select 2"),
        c.QUERY(""),
        c.QUERY("commit"),
        c.QUERY("set search_path = a"),
        c.QUERY("create table t (n int)"),
        c.QUERY("copy t to stdout"),
        c.QUERY("execute x"),
        c.QUERY("select 'ä'"),
        c.QUERY("select 'masked ‹masked›'"),
        BOUND_ONE,
        BOUND_ONE + c.EXECUTE("") + c.FLUSH,
        BOUND_ONE + c.EXECUTE("", 1) + c.SYNC,
        BOUND_ONE + c.DESCRIBE(b"S", "x") + RUN,
        BOUND_ONE + RUN + c.SYNC,
        m.encode_bind("", "y", [b"7"]) + RUN,
        m.encode_bind("p", "x", [b"7"]) + RUN,
        m.encode_bind("", "x", ["‹masked›".encode()]) + RUN,
        m.encode_bind("", "x", [b"7"], [2]) + RUN,
        m.encode_bind("", "x", [b"7"], [0, 0]) + RUN,
        m.encode_bind("", "x", [b"7", b"8"], [0, 2]) + RUN,
        m.encode_bind("", "x", [b"7"], (), [0, 1, 256]) + RUN,
        m.encode_bind("", "x", [b"7"], (), [7]) + RUN,
        encode(m.Bind, BOUND_ONE[5:] + b"\0") + RUN,
        encode(m.Bind, BOUND_ONE[5:-1]) + RUN,
        encode(m.Bind, BOUND_ONE[5:].replace(b"\0\0\0\1", b"\xff\xff\xff\xfe")) + RUN,
        encode(m.Bind, b"\0x") + RUN,
        encode(m.Bind, b"") + RUN,
        c.SYNC,
    ],
)
def test_everything_else_goes_the_ordinary_way(lane: list[bool], data: bytes) -> None:
    prepared().client(data)
    assert not any(lane)


def test_nothing_is_taken_while_something_is_unanswered_collected_or_left_over(lane: list[bool]) -> None:
    session = prepared()
    session.client(c.QUERY("select 1"))
    session.client(c.QUERY("select 2"))
    session = prepared()
    session.client(BOUND_ONE)
    session.client(c.QUERY("select 1"))
    session = prepared()
    session.client(c.QUERY("select 1")[:3])
    session.client(c.QUERY("select 1")[3:])
    assert [taken for taken in lane if taken] == [True], "only the first of all"


def test_nothing_is_taken_while_the_target_skips_to_sync(lane: list[bool]) -> None:
    session = prepared()
    session.client(BOUND_ONE + c.FLUSH)
    session.target(c.error())
    session.client(c.QUERY("select 1"))
    assert not any(lane)


def test_a_session_with_masks_takes_what_is_described_and_masks_it(lane: list[bool]) -> None:
    for options in ({"masks": ("m",)}, {"masking": c.FakeMasking(active=True)}):
        for asked, bound in ((c.QUERY("select 1"), b""), (BOUND_ONE + c.DESCRIBE(b"P", "") + RUN, c.BOUND)):
            session = prepared(**options)
            session.client(asked)
            assert lane[-1]
            session.target(bound + RESULT + c.ready())
            assert b"*" in session.to_client_bytes
            assert b"*" in session.recorder.outputs(len(session.recorder.of("input")))


def test_a_session_with_masks_takes_nothing_that_is_not_described_or_that_is_stored(lane: list[bool]) -> None:
    for asked in (BOUND_ONE + RUN, c.QUERY("insert into t select n from u")):
        prepared(masks=("m",)).client(asked)
        prepared(masking=c.FakeMasking(active=True)).client(asked)
    assert not any(lane)


def test_a_statement_longer_than_a_unit_may_be_is_refused(lane: list[bool]) -> None:
    session = c.Conversation(limits=Limits(batch_bytes=20))
    session.client(c.QUERY("select 1, 2, 3, 4, 5, 6, 7"))
    assert session.ended
    assert not any(lane)


# ------------------------------------------------------------------ verdicts


def test_an_unusual_permit_is_not_sent() -> None:
    session = prepared()
    other = session.gate.permit(c.QUERY("drop table t"))
    session.gate.judge = lambda *_: Allowed(other)  # type: ignore[method-assign]
    session.client(c.QUERY("select 1"))
    assert b"drop" not in session.to_target_bytes


def test_the_gate_is_asked_each_time(lane: list[bool]) -> None:
    session = prepared()
    for _ in range(2):
        session.client(BOUND_ONE + RUN)
        session.target(c.BOUND + c.ROW([b"1"]) + c.COMPLETE("SELECT 1") + c.ready())
    session.gate.broken = True
    session.client(BOUND_ONE + RUN)
    assert lane[-3:] == [True, True, False], "the last one is refused"
    assert session.permitted.count(BOUND_ONE) == 2
    assert session.recorder.of("decided")[-1][1] == "deny"


def test_names_are_resolved_each_time_under_the_path_that_holds(lane: list[bool]) -> None:
    session = prepared()
    for path in ("a", "b"):
        session.client(c.QUERY(f"set search_path = {path}"))
        session.target(c.COMPLETE("SET") + c.ready())
        session.client(BOUND_ONE + RUN)
        session.target(c.BOUND + c.COMPLETE("SELECT 0") + c.ready())
        assert session.names.paths[-1] == (path,)
    assert lane.count(True) == 2


def test_a_statement_that_was_closed_or_replaced_is_not_run_by_its_old_meaning(lane: list[bool]) -> None:
    session = prepared()
    session.client(c.CLOSE(b"S", "x") + c.SYNC)
    session.target(c.CLOSED + c.ready())
    session.client(BOUND_ONE + RUN)
    assert not lane[-1]
    session.target(c.error() + c.ready())
    session.client(c.PARSE("x", "drop table t") + c.SYNC)
    session.client(BOUND_ONE + RUN)
    assert not any(lane)
    assert BOUND_ONE not in session.permitted


def test_the_first_masks_of_a_verdict_hold_for_the_unit_that_brought_them(lane: list[bool]) -> None:
    session = prepared()
    session.gate.masks = ("m",)
    session.client(BOUND_ONE + RUN)
    session.target(c.BOUND + c.DESCRIPTION + c.ROW([b"1"]) + c.COMPLETE("SELECT 1") + c.ready())
    assert b"*" in session.to_client_bytes
    session.client(BOUND_ONE + RUN)
    assert lane[-2:] == [False, False], "it was planned again, and then the session has masks"


# ------------------------------------------------------------------ answers


def test_an_answer_that_is_no_description_ends_the_session_where_one_was_asked_for() -> None:
    session = prepared()
    session.client(BOUND_ONE + c.DESCRIBE(b"P", "") + RUN)
    session.target(c.BOUND + c.PARSED + c.COMPLETE("SELECT 0") + c.ready())
    assert session.ended == "target-broke-protocol"


def test_an_answer_that_began_before_does_not_begin_again() -> None:
    session = prepared()
    session.client(BOUND_ONE + RUN)
    session.target(c.BOUND)
    session.target(c.BOUND + c.COMPLETE("SELECT 0") + c.ready())
    assert session.ended == "target-broke-protocol"


def test_no_more_rows_are_recorded_than_the_target_allows() -> None:
    session = prepared(row_limit=1)
    session.client(c.QUERY("select 1"))
    session.target(RESULT + c.ready())
    assert session.recorder.of("completed")[-1][2:] == (2, 1)


# ------------------------------------------------------------------ equality


PLAIN = [c.QUERY("select 1"), c.QUERY("insert into t select n from u"), c.QUERY("update t set n = 1"), c.QUERY("delete from t"), c.QUERY("drop table t"),
         BOUND_ONE + RUN, BOUND_ONE + c.DESCRIBE(b"P", "") + RUN, m.encode_bind("", "y") + RUN]  # fmt: skip
OTHER = [c.QUERY("begin"), c.QUERY("commit"), c.QUERY("select 1; select 2"), c.QUERY("set search_path = a"), c.QUERY(""),
         c.QUERY("declare p cursor for select n from t"), c.QUERY("create table t (n int)"), BOUND_ONE + c.EXECUTE("", 1) + c.SYNC,
         PREPARE, c.PARSE("y", "delete from t") + c.SYNC, BOUND_ONE + RUN + c.QUERY("select 1"), c.SYNC, BOUND_ONE, c.EXECUTE("") + c.SYNC,
         c.BIND("", "x") + c.FLUSH, c.QUERY("select 1")[:7], b"Q", BOUND_ONE + c.DESCRIBE(b"P", "") + RUN[:-2]]  # fmt: skip
ANSWERS = [c.DESCRIPTION, c.ROW([b"1"]), c.ROW([None]), c.COMPLETE("SELECT 1"), c.COMPLETE(""), c.ready(), c.ready("T"), c.ready("E"), c.BOUND,
           c.PARSED, c.NO_DATA, c.EMPTY, c.SUSPENDED, c.error(), encode_notice("x"), encode(m.ReadyForQuery, b"?"), c.COPY_IN,
           encode(m.DataRow, b""), b"D\0\0\0\3", b"C\0\0\0\4", b"T\0\0\0\0", c.ready()[:-1], encode_parameter_description([23])]  # fmt: skip
QUERIED = [c.DESCRIPTION + c.COMPLETE("SELECT 0"), RESULT, c.COMPLETE("UPDATE 1")]
RAN = [
    c.BOUND + told
    for told in (RESULT, RESULT[len(c.DESCRIPTION) :], c.NO_DATA + c.COMPLETE("UPDATE 1"), c.COMPLETE("UPDATE 1"))
]
answers = st.one_of(
    st.builds(
        lambda result, ready: result + ready, st.sampled_from(QUERIED + RAN), st.sampled_from([c.ready(), c.ready("T")])
    ),
    st.lists(st.sampled_from(ANSWERS), max_size=5).map(b"".join),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("client"), st.one_of(st.sampled_from(PLAIN), st.sampled_from(OTHER))),
        st.tuples(st.just("fits"), st.integers(0, 20)),
        st.tuples(st.just("fits"), st.integers(0, 20)),
        st.tuples(st.just("target"), answers),
        st.tuples(st.sampled_from(["approve", "cancel"]), st.just(b"")),
        st.tuples(st.just("masks"), st.sampled_from([(), ("v",)])),
    ),
    max_size=20,
)


def fitting(session: c.Conversation, choice: int) -> bytes:
    """A whole and ordinary answer to the unit at the head, when it is one that has such answers."""
    head = session.core._pipeline.head
    end = c.ready("T" if choice % 3 == 0 else "I")
    if head is None:
        return b""
    if head.raw[:1] == b"B":
        return RAN[choice % len(RAN)] + end
    if head.raw[:1] == b"P":
        return c.PARSED + end
    return (c.SYNTAX_ERROR if head.error else QUERIED[choice % len(QUERIED)]) + end


def held(session: c.Conversation, kind: str) -> None:
    if session.core.held and kind == "approve":
        session.approve()
    elif session.core.held:
        session.core.cancel_requested()


def play(
    script: list[tuple[str, Any]], pieces: Callable[[bytes], Iterator[bytes]], limits: tuple[int, int], masks: str = ""
) -> Any:
    """`masks`: of the "session", or of every "verdict"; a script can make the verdicts' begin in its course."""
    row_limit, recorded = limits
    of_session = ("m",) if masks == "session" else ()
    session = prepared(row_limit=row_limit, limits=Limits(recorded_bytes=recorded, names=3), masks=of_session)
    session.pieces = pieces
    session.gate.masks = ("v",) if masks == "verdict" else ()
    for kind, said in script:
        if session.ended:
            break
        if kind == "masks":
            session.gate.masks = said
        elif kind == "client":
            session.client(said)
        elif kind in ("fits", "target"):
            session.target(fitting(session, said) if kind == "fits" else said)
        else:
            held(session, kind)
    return session


def everything(session: c.Conversation) -> tuple[Any, ...]:
    """All that can be seen of a session, and what it will judge by."""
    context, pipeline = session.core._context, session.core._pipeline
    portals = {
        name: (portal.prepared.text, portal.description, tuple(portal.formats), portal.masks, portal.approved)
        for name, portal in context.tables.portals.items()
    }
    return (
        bytes(session.to_client_bytes), bytes(session.to_target_bytes), bytes(session.permitted), session.ended,
        [event for event in session.recorder.events if event[0] != "output"],
        [session.recorder.outputs(number) for number in range(20)], session.gate.judged, session.names.changes,
        context.status, portals, sorted(context.tables.statements), context.settings.digest_state(),
        pipeline.expected, len(pipeline), pipeline.skipping, [operation.parts for operation in session.operations],
    )  # fmt: skip


@contextlib.contextmanager
def without_the_lane() -> Iterator[None]:
    """What begins with a byte alone is never whole, and takes the ordinary way."""
    feed = c.Conversation.client

    def client(session: c.Conversation, *messages: bytes) -> None:
        for piece in session.pieces(b"".join(messages)):
            session.core.client_sent(piece[:1])
            if not session.ended:
                session.core.client_sent(piece[1:])

    c.Conversation.client = client  # type: ignore[method-assign]
    try:
        yield
    finally:
        c.Conversation.client = feed  # type: ignore[method-assign]


@settings(max_examples=400, deadline=None)
@given(
    steps, st.sampled_from([(100, 1 << 20), (1, 1 << 20), (100, 0), (100, 30)]), st.sampled_from([1 << 20, 7, 1]),
    st.sampled_from(["", "session", "verdict"]),
)  # fmt: skip
def test_any_conversation_is_the_same_with_and_without_it(
    script: list[tuple[str, Any]], limits: tuple[int, int], size: int, masks: str
) -> None:
    def pieces(data: bytes) -> Iterator[bytes]:
        return (data[at : at + size] for at in range(0, len(data), size))

    with without_the_lane():
        ordinary = everything(play(script, pieces, limits, masks))
    assert everything(play(script, pieces, limits, masks)) == ordinary


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(PLAIN), st.integers(0, 3), st.integers(0, 60), st.integers(0, 255), st.sampled_from(["", "session"])
)
def test_an_answer_with_one_wrong_byte_is_the_same_with_and_without_it(
    asked: bytes, choice: int, place: int, byte: int, masks: str
) -> None:
    def pieces(data: bytes) -> Iterator[bytes]:
        yield data

    right = ((RAN if asked[:1] == b"B" else QUERIED) * 2)[choice] + c.ready()
    at = place % len(right)
    script = [("client", asked), ("target", right[:at] + bytes((byte,)) + right[at + 1 :])]
    with without_the_lane():
        ordinary = everything(play(script, pieces, (100, 1 << 20), masks))
    assert everything(play(script, pieces, (100, 1 << 20), masks)) == ordinary
