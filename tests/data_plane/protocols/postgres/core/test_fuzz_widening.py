"""An approved operation for which the account is widened, with anything before, behind and around it, in any order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.widening import Stage
from tests.data_plane.protocols.postgres.core import conversation as c
from tests.data_plane.protocols.postgres.core.test_fuzz import FITTING, Session, check

HELD = ["delete from t", "delete from t; commit", "delete from t; copy t from stdin", "rollback to s; delete from t"]
TEXTS = ["select 1", "select 1; select 2", "begin", "commit", "rollback", "rollback to s", "savepoint s", "delete from t",
         "insert into t values (1)", "drop table t", "set search_path = a"]  # fmt: skip


def batch(text: str) -> bytes:
    return c.PARSE("", text) + c.BIND("", "") + c.EXECUTE("") + c.SYNC


clients = st.one_of(
    st.builds(c.QUERY, st.sampled_from(TEXTS)),
    st.builds(batch, st.sampled_from(TEXTS)),
    st.sampled_from([c.SYNC, m.encode_copy_data(b"1\n"), m.COPY_DONE]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("client"), clients),
        *[st.tuples(st.just("answer"), st.integers(0, 11))] * 4,
        *[st.tuples(st.just("change"), st.just(0))] * 2,
        st.tuples(st.sampled_from(["fail", "approve", "guard", "cancel"]), st.just(0)),
    ),
    max_size=40,
)
STATUS = (c.ready(), c.ready("T"), c.ready("E"))


def answer(session: Session, choice: int) -> None:
    """Fits; the status after it is any that a server may tell."""
    expected = session.core._pipeline.expected
    fitting = sorted(expected.answers)
    if fitting:
        type_ = fitting[choice % len(fitting)]
        session.target(STATUS[choice % 3] if type_ == m.ReadyForQuery else FITTING[type_])


def step(session: Session, kind: str, given_: bytes | int) -> None:
    core = session.core
    if isinstance(given_, bytes):
        session.client(given_)
    elif kind == "answer":
        answer(session, given_)
    elif kind in ("change", "fail") and core._widening.stage in (Stage.ASKED, Stage.RETURNED):
        core.account_changed("no" if kind == "fail" else "")
    elif kind == "cancel":
        core.cancel_requested()
    elif kind in ("approve", "guard") and core.held:
        session.approve(5 if kind == "guard" else None)


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.sampled_from(HELD), st.booleans(), steps)
def test_nothing_but_what_was_approved_is_sent_while_the_account_is_wider(
    inside: bool, text: str, extended: bool, script: list[tuple[str, bytes | int]]
) -> None:
    session = Session()
    session.lacking = frozenset({"write"})
    if inside:
        session.client(c.QUERY("begin"))
        session.target(c.COMPLETE("BEGIN"), c.ready("T"))
    session.client(batch(text) if extended and ";" not in text else c.QUERY(text))
    session.approve()
    assert session.account
    for kind, given_ in script:
        if session.ended:
            break
        step(session, kind, given_)
        check(session)
    assert len(session.gate.executions) <= session.approvals, "what becomes of an approval is told once"
