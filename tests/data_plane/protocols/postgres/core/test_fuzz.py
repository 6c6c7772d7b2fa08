"""Anything from both sides, in any order and any pieces.

Invariant: no byte of an operation without a permit reaches the target, what goes without one is of the few kinds that
carry no operation, and no answer is ever attributed to a unit that is not there. While an account is wider than it was,
nothing but what people approved for it is sent, and that once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Code, Denied, Permit
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import (
    encode_notice,
    encode_parameter_description,
    encode_parameter_status,
)
from data_plane.protocols.postgres.core import Limits
from data_plane.protocols.postgres.core.guarding import Stage
from data_plane.protocols.postgres.core.states import Expected, Phase
from data_plane.protocols.postgres.core.widening import FORGET, question
from data_plane.protocols.postgres.core.widening import Stage as WideningStage
from data_plane.protocols.postgres.framing import encode
from tests.data_plane.protocols.postgres.core import conversation as c

TEXTS = ["select 1", "delete from t", "drop table t", "begin", "commit", "rollback", "set search_path = a", "prepare x as delete from t",
         "execute x", "declare p cursor for select n from t", "fetch p", "close p", "deallocate x", "copy t from stdin",
         "copy t to stdout", "select 1; drop table t", "select 1; select 2", "", "savepoint s", "rollback to s", "nonsense", "discard all"]  # fmt: skip
NAMES = ["", "x", "p"]

texts, names = st.sampled_from(TEXTS), st.sampled_from(NAMES)
client_messages = st.one_of(
    st.builds(c.QUERY, texts),
    st.builds(c.PARSE, names, texts),
    st.builds(c.BIND, names, names),
    st.builds(c.EXECUTE, names, st.integers(0, 2)),
    st.builds(c.DESCRIBE, st.sampled_from([b"S", b"P"]), names),
    st.builds(c.CLOSE, st.sampled_from([b"S", b"P"]), names),
    st.sampled_from([c.SYNC, c.SYNC, c.FLUSH, m.COPY_DONE, m.encode_copy_fail("no"), m.encode_copy_data(b"1\n"),
                     encode(m.FunctionCall, b"\0\0\0\1"), m.encode_copy_data("‹masked›".encode())]),
    st.builds(encode, st.integers(0, 255), st.binary(max_size=6)),
)  # fmt: skip
target_messages = st.one_of(
    st.sampled_from([c.PARSED, c.BOUND, c.CLOSED, c.NO_DATA, c.SUSPENDED, c.EMPTY, c.DESCRIPTION, c.ROW([b"1"]), c.COMPLETE("SELECT 1"),
                     c.COMPLETE("ROLLBACK"), c.COPY_IN, c.COPY_OUT, m.COPY_DONE, m.encode_copy_data(b"1\n"), c.error(), c.ready(), c.ready("T"),
                     c.ready("E"), encode_parameter_description([23]), encode_notice("x"), encode_parameter_status("a", "b")]),
    st.builds(encode, st.integers(0, 255), st.binary(max_size=6)),
)  # fmt: skip
steps = st.lists(
    st.one_of(
        st.tuples(st.just("client"), st.lists(client_messages, min_size=1, max_size=6).map(b"".join)),
        st.tuples(st.just("answer"), st.just(b"")),
        st.tuples(st.just("answer"), st.just(b"")),
        st.tuples(st.just("target"), target_messages),
        st.tuples(st.sampled_from(["approve", "guard", "deny", "cancel"]), st.just(b"")),
        st.tuples(st.sampled_from(["change", "change", "change", "fail"]), st.just(b"")),
    ),
    max_size=25,
)
WITHOUT_A_PERMIT = frozenset((m.Sync, m.Flush, m.Terminate, m.CopyData, m.CopyDone, m.CopyFail, m.Describe, m.Close))
POISON = (c.QUERY("assentry refused the statement that stood here"),
          c.PARSE("assentry_refused", "assentry refused the statement that stood here"))  # fmt: skip
OWN = {c.PARSE("assentry_guard", text) for text in ("BEGIN", "COMMIT", "ROLLBACK")} | {
    c.BIND("", "assentry_guard"), c.EXECUTE(""),
}  # fmt: skip
OWN_NAME = re.compile(rb"assentry_account_[0-9]+_*")


def is_own(frame: bytes) -> bool:
    """Of what makes the target forget its plans and look at the account."""
    found = OWN_NAME.search(frame)
    name = found[0].decode() if found else ""
    asked = (c.PARSE(name, FORGET), c.PARSE(name, question("app")))
    return frame in OWN or frame in (*asked, c.BIND(name, name), c.EXECUTE(name))


class Session(c.Conversation):
    """Watches what is sent while the account of the session is wider."""

    approvals = 0
    approved = b""  # people let it run, and it has not been sent
    wide = False  # the account must be widened for it

    def to_target(self, permit: Permit) -> None:
        stage = self.core._widening.stage
        if stage is WideningStage.RUNNING or (self.wide and permit.raw == self.approved and self.approved):
            assert (stage, permit.raw) == (WideningStage.RUNNING, self.approved)
            self.approved = b""
        else:
            assert stage in (WideningStage.AS_MADE, WideningStage.MENDING)
        super().to_target(permit)

    def lacks(self, actions: Iterable[str]) -> bool:
        self.wide = super().lacks(actions)
        return self.wide

    def approve(self, most_rows: int | None = None) -> None:
        self.approved = self.held_raw
        self.approvals += 1
        super().approve(most_rows)


FITTING = {m.ParseComplete: c.PARSED, m.BindComplete: c.BOUND, m.CloseComplete: c.CLOSED, m.RowDescription: c.DESCRIPTION,
           m.NoData: c.NO_DATA, m.DataRow: c.ROW([b"1"]), m.CommandComplete: c.COMPLETE("X 1"), m.CopyInResponse: c.COPY_IN,
           m.CopyOutResponse: c.COPY_OUT, m.ErrorResponse: c.error("42601"), m.ReadyForQuery: c.ready(),
           m.ParameterDescription: encode_parameter_description([]), m.PortalSuspended: c.SUSPENDED,
           m.EmptyQueryResponse: c.EMPTY, m.CopyDone: m.COPY_DONE, m.CopyData: m.encode_copy_data(b"1\n")}  # fmt: skip


def answer(session: c.Conversation, choice: int) -> None:
    """A message that fits what is expected, so that the fuzz gets beyond the first error."""
    fitting = sorted(session.core._pipeline.expected.answers)
    if fitting:
        session.target(FITTING[fitting[choice % len(fitting)]])


def check(session: c.Conversation) -> None:
    pipeline = session.core._pipeline
    assert (len(pipeline) == 0) == (pipeline.head is None)
    if not session.ended:
        assert (len(pipeline) == 0) == (pipeline.expected is Expected.NOTHING)
        assert all(unit.left for unit in pipeline)
    for control in session.controls:
        for frame in c.frames(control):
            assert frame[0] in WITHOUT_A_PERMIT or frame in POISON or is_own(frame), frame
    session.controls.clear()
    assert b"drop table" not in session.to_target_bytes
    if session.core._phase is Phase.GUARDED and session.core._guard.stage is not Stage.OPENING:
        assert len(session.to_client_bytes) == session.told, "all is kept back until the guard has held"
    session.told = len(session.to_client_bytes)


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(1, 40), st.booleans(), st.integers(0, 1000), st.booleans())
def test_nothing_reaches_the_target_without_a_permit_whatever_both_sides_say(
    script: list[tuple[str, bytes]], size: int, active: bool, choice: int, narrow: bool
) -> None:
    """Invariants 1, 3, 4, 11."""
    session = Session(
        masking=c.FakeMasking(active=active),
        limits=Limits(backlog_bytes=500, batch_messages=8),
        pieces=lambda data: (data[at : at + size] for at in range(0, len(data), size)),
    )
    session.lacking = frozenset({"write"} if narrow else ())
    for place, (kind, data) in enumerate(script):
        if session.ended:
            break
        if kind == "client":
            session.client(data)
        elif kind == "target":
            session.target(data)
        elif kind == "answer":
            answer(session, choice + place * 7)
        elif kind in ("change", "fail"):
            if session.core._widening.stage in (WideningStage.ASKED, WideningStage.RETURNED):
                session.core.account_changed("no" if kind == "fail" else "")
        elif session.core.held:
            if kind == "approve":
                session.approve()
            elif kind == "guard":
                session.approve(most_rows=choice % 3)
            elif kind == "deny":
                session.core.hold_decided(Denied(Code.DENIED, "no"))
            else:
                assert session.core.cancel_requested() is False
        check(session)
        held = session.core.held
        assert held == (session.core._held is not None)


@settings(max_examples=200, deadline=None)
@given(st.lists(client_messages, max_size=12), st.lists(st.integers(0, 5), max_size=60))
def test_the_pieces_in_which_bytes_come_change_nothing(messages: list[bytes], choices: list[int]) -> None:
    """The same conversation whole, byte by byte, and one message at a time."""
    transcripts = []
    for pieces in (lambda data: iter((data,)), c.bytewise):
        session = c.Conversation(pieces=pieces, limits=Limits(batch_messages=8))
        session.client(*messages)
        for choice in choices:
            if not session.ended and not session.core.held:
                answer(session, choice)
        transcripts.append(
            (bytes(session.to_client_bytes), bytes(session.to_target_bytes), session.ended, session.core.held)
        )
    assert transcripts[0] == transcripts[1]
