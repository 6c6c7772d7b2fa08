"""A row guard: more rows than people approved are undone, and the client sees nothing before that is certain."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from data_plane.protocols.postgres.answers import encode_notice
from data_plane.protocols.postgres.core import Limits
from data_plane.protocols.postgres.core.guarding import MOVES, Stage
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSED,
    COMPLETE,
    DESCRIBE,
    DESCRIPTION,
    EXECUTE,
    NO_DATA,
    PARSE,
    PARSED,
    QUERY,
    ROW,
    SYNC,
    SYNTAX_ERROR,
    Conversation,
    FakeMasking,
    bytewise,
    error,
    ready,
    selected,
)

Pieces = Callable[[bytes], Iterator[bytes]]
DELETE = "delete from t where id > 5"
BATCH = (PARSE("", DELETE), BIND("", ""), DESCRIBE(b"P", ""), EXECUTE(""), SYNC)


@pytest.fixture(params=["whole", "bytewise"])
def pieces(request: pytest.FixtureRequest) -> Pieces:
    return bytewise if request.param == "bytewise" else lambda data: iter((data,))


def own(text: str, name: str = "assentry_guard") -> list[str]:
    closes = f"Close S{name}"
    return [closes, f"Parse {name}:{text}", f"Bind :{name}", "Execute", closes, "Sync"]


def done(tag: str, status: str) -> bytes:
    return CLOSED + PARSED + BOUND + COMPLETE(tag) + CLOSED + ready(status)


def held(pieces: Pieces | None = None, *messages: bytes, inside: bool = False, **options: object) -> Conversation:
    """A DELETE of at most 5 rows is approved; the transaction around it is open where there is none."""
    it = Conversation(pieces=pieces, **options)  # type: ignore[arg-type]
    if inside:
        it.client(QUERY("begin"))
        it.target(COMPLETE("BEGIN"), ready("T"))
    it.client(*(messages or (QUERY(DELETE),)))
    it.take_client(), it.take_target()
    it.approve(most_rows=5)
    if not inside:
        assert it.take_target() == own("BEGIN")
        it.target(done("BEGIN", "T"))
    return it


# ---------------------------------------------------------------- outside a transaction


def test_a_query_within_its_guard_is_committed_and_looks_as_if_nothing_were_around_it(pieces: Pieces) -> None:
    it = held(pieces)
    assert it.take_target() == [f"Query {DELETE}"]
    it.target(COMPLETE("DELETE 5"), ready("T"))
    assert it.take_client() == [], "nothing is told before it is committed"
    assert it.take_target() == own("COMMIT")
    it.target(done("COMMIT", "I"))
    assert it.take_client() == ["Complete DELETE 5", "Ready I"]
    assert it.gate.executions == [(QUERY(DELETE), "done", "DELETE 5")]
    assert it.core.idle


def test_a_query_beyond_its_guard_is_rolled_back_and_says_so(pieces: Pieces) -> None:
    it = held(pieces)
    it.take_target()
    it.target(COMPLETE("DELETE 6"), ready("T"))
    assert it.take_target() == own("ROLLBACK")
    assert it.take_client() == []
    it.target(done("ROLLBACK", "I"))
    assert it.take_client() == [
        "Error 54000 undone: the statement touched 6 rows, and at most 5 were approved", "Ready I",
    ]  # fmt: skip
    ((_, outcome, detail),) = it.gate.executions
    assert (outcome, detail.startswith("row guard: ")) == ("failed", True)
    it.client(QUERY("select 1"))
    it.target(selected("1"))
    assert it.take_client()[-1] == "Ready I", "the session lives on"


def test_a_batch_within_its_guard_answers_as_a_batch_does(pieces: Pieces) -> None:
    it = held(pieces, *BATCH)
    assert it.take_target() == [f"Parse :{DELETE}", "Bind :", "Describe P", "Execute", "Sync"]
    it.target(PARSED, BOUND, NO_DATA, COMPLETE("DELETE 2"), ready("T"))
    it.target(done("COMMIT", "I"))
    assert it.take_client() == ["Parsed", "Bound", "NoData", "Complete DELETE 2", "Ready I"]
    assert not it.core._context.tables.portals, "a transaction that ended keeps no portal"
    assert "" in it.core._context.tables.statements, "what the client prepared stays"


def test_a_batch_beyond_its_guard_is_rolled_back(pieces: Pieces) -> None:
    it = held(pieces, *BATCH)
    it.target(PARSED, BOUND, NO_DATA, COMPLETE("DELETE 60000"), ready("T"))
    it.target(done("ROLLBACK", "I"))
    assert it.take_client() == [
        "Error 54000 undone: the statement touched 60000 rows, and at most 5 were approved", "Ready I",
    ]  # fmt: skip
    assert it.gate.executions[0][1] == "failed"


def test_returned_rows_reach_the_client_only_when_the_guard_has_held(pieces: Pieces) -> None:
    text = f"{DELETE} returning n"
    for rows, tag in ((["1", "2"], "DELETE 2"), (["1"] * 6, "DELETE 6")):
        it = held(pieces, QUERY(text))
        it.target(DESCRIPTION, *[ROW([row.encode()]) for row in rows], COMPLETE(tag), ready("T"))
        assert it.take_client() == []
        assert it.recorder.of("output") == [], "nor is it recorded as something that the client got"
        within = tag == "DELETE 2"
        it.target(done("COMMIT" if within else "ROLLBACK", "I"))
        answer = it.take_client()
        assert ("Row 1" in answer) is within
        assert (b"D\0\0" in it.recorder.outputs(1)) is within
        assert answer[-1] == "Ready I"
        assert it.recorder.outputs(1).endswith(ready("I"))


def test_rows_that_are_kept_back_are_masked_like_any(pieces: Pieces) -> None:
    it = held(pieces, QUERY(f"{DELETE} returning n"), masking=FakeMasking(active=True))
    it.target(DESCRIPTION, ROW([b"ada"]), COMPLETE("DELETE 1"), ready("T"), done("COMMIT", "I")[:0])
    it.target(done("COMMIT", "I"))
    assert "Row *" in it.take_client()


def test_an_error_of_the_statement_is_told_as_it_is_and_rolled_back(pieces: Pieces) -> None:
    it = held(pieces)
    it.take_target()
    it.target(error("23503", "still referenced"), ready("E"))
    assert it.take_target() == own("ROLLBACK")
    it.target(done("ROLLBACK", "I"))
    assert it.take_client() == ["Error 23503 still referenced", "Ready I"]
    assert it.gate.executions == [(QUERY(DELETE), "failed", "23503")]


def test_an_error_in_the_middle_of_a_batch_is_told_where_it_came(pieces: Pieces) -> None:
    it = held(pieces, *BATCH)
    it.target(PARSED, error("22P02", "bad value"), ready("E"))
    it.target(done("ROLLBACK", "I"))
    assert it.take_client() == ["Parsed", "Error 22P02 bad value", "Ready I"]


@pytest.mark.parametrize("batch", [False, True])
def test_a_commit_that_fails_is_told_as_the_server_itself_would(pieces: Pieces, batch: bool) -> None:
    """A deferred constraint: in a Query its error comes in place of CommandComplete, in a batch behind it."""
    it = held(pieces, *(BATCH if batch else ()))
    if batch:
        it.target(PARSED, BOUND, NO_DATA)
    it.target(COMPLETE("DELETE 2"), ready("T"))
    it.target(CLOSED, PARSED, BOUND, error("23503", "deferred"), ready("I"))
    told = ["Error 23503 deferred", "Ready I"]
    assert it.take_client() == (["Parsed", "Bound", "NoData", "Complete DELETE 2", *told] if batch else told)
    assert it.gate.executions[0][1:] == ("failed", "23503")


def test_the_errors_of_a_commit_are_masked(pieces: Pieces) -> None:
    it = held(pieces)
    it.target(COMPLETE("DELETE 2"), ready("T"))
    it.target(CLOSED, PARSED, BOUND, error("23505", "Key (ssn)=(secret)"), ready("I"))
    assert it.take_client()[0] == "Error 23505 Key (ssn)=(masked)"


def test_notices_come_with_the_answer(pieces: Pieces) -> None:
    it = held(pieces)
    it.target(encode_notice("from a trigger"), COMPLETE("DELETE 2"), ready("T"))
    it.target(encode_notice("at commit"), done("COMMIT", "I"))
    assert it.take_client() == ["Notice 00000 from a trigger", "Complete DELETE 2", "Notice 00000 at commit", "Ready I"]


def test_a_guard_of_no_rows_lets_nothing_be_touched() -> None:
    it = Conversation()
    it.client(QUERY(DELETE))
    it.approve(most_rows=0)
    it.target(done("BEGIN", "T"))
    it.target(COMPLETE("DELETE 1"), ready("T"))
    it.target(done("ROLLBACK", "I"))
    assert it.take_client()[-2].startswith("Error 54000")


def test_a_merge_is_counted_too() -> None:
    it = held(None, QUERY("merge into t using s on true when matched then delete"))
    it.take_target()
    it.target(COMPLETE("MERGE 6"), ready("T"))
    assert it.take_target() == own("ROLLBACK")


def test_a_tag_without_a_count_is_undone(pieces: Pieces) -> None:
    it = held(pieces)
    it.target(COMPLETE("DELETE"), ready("T"))
    it.target(done("ROLLBACK", "I"))
    assert it.take_client()[0].startswith("Error 54000 undone: the target does not say")


def test_what_the_client_sends_meanwhile_waits(pieces: Pieces) -> None:
    it = held(pieces)
    it.take_target()
    it.client(QUERY("select 1"))
    it.target(COMPLETE("DELETE 2"), ready("T"))
    assert it.take_target() == own("COMMIT"), "nothing of the client comes into the transaction of the guard"
    it.target(done("COMMIT", "I"))
    assert it.take_target() == ["Query select 1"]
    it.target(selected("1"))
    assert it.take_client() == ["Complete DELETE 2", "Ready I", "Described", "Row 1", "Complete SELECT 1", "Ready I"]


def test_more_than_can_be_kept_back_is_undone(pieces: Pieces) -> None:
    it = held(pieces, QUERY(f"{DELETE} returning n"), limits=Limits(withheld_bytes=200))
    it.target(DESCRIPTION, *[ROW([b"x" * 100])] * 4, COMPLETE("DELETE 4"), ready("T"))
    it.target(done("ROLLBACK", "I"))
    assert it.take_client() == [
        "Error 54000 undone: it returned more than 200 bytes, which cannot be kept back until its row guard holds",
        "Ready I",
    ]


def test_the_name_of_our_own_statements_is_none_of_the_clients() -> None:
    it = Conversation()
    it.client(PARSE("assentry_guard", "select 1"), SYNC)
    it.target(PARSED, ready())
    it.client(QUERY(DELETE))
    it.take_target()
    it.approve(most_rows=5)
    assert it.take_target() == own("BEGIN", "assentry_guard_")


# ---------------------------------------------------------------- inside the client's transaction


def test_inside_a_transaction_nothing_is_put_around_it(pieces: Pieces) -> None:
    it = held(pieces, inside=True)
    assert it.take_target() == [f"Query {DELETE}"]
    it.target(COMPLETE("DELETE 5"), ready("T"))
    assert it.take_client() == ["Complete DELETE 5", "Ready T"]
    assert it.take_target() == []
    assert it.gate.executions == [(QUERY(DELETE), "done", "DELETE 5")]


@pytest.mark.parametrize("batch", [False, True])
def test_beyond_its_guard_inside_a_transaction_the_transaction_is_failed(pieces: Pieces, batch: bool) -> None:
    it = held(pieces, *(BATCH if batch else ()), inside=True)
    it.take_target()
    it.target(*([PARSED, BOUND, NO_DATA] if batch else []), COMPLETE("DELETE 6"), ready("T"))
    assert it.take_client() == []
    assert it.take_target() == ["Parse assentry_refused:assentry refused the statement that stood here", "Sync"]
    it.target(SYNTAX_ERROR, ready("E"))
    assert it.take_client() == [
        "Error 54000 undone: the statement touched 6 rows, and at most 5 were approved", "Ready E",
    ]  # fmt: skip
    assert it.core._context.failed
    assert it.gate.executions[0][1] == "failed"


@pytest.mark.parametrize("inside", [False, True])
def test_beyond_its_guard_a_transaction_is_told_that_its_own_rows_were_not_counted(inside: bool) -> None:
    """To run it again helps where others have changed what it touches, and never against one's own INSERT before it."""
    it = held(inside=inside)
    it.take_target()
    it.target(COMPLETE("DELETE 6"), ready("T"))
    it.target(*([SYNTAX_ERROR, ready("E")] if inside else [done("ROLLBACK", "I")]))
    assert (b"has made or changed itself were not counted" in it.to_client_bytes) is inside
    assert b"Run it again to ask anew." in it.to_client_bytes


def test_an_error_inside_a_transaction_is_told_as_it_is(pieces: Pieces) -> None:
    it = held(pieces, inside=True)
    it.take_target()
    it.target(error("23503", "still referenced"), ready("E"))
    assert it.take_client() == ["Error 23503 still referenced", "Ready E"]
    assert it.take_target() == []


def test_a_target_that_keeps_the_transaction_alive_after_poison_ends_the_session() -> None:
    it = held(inside=True)
    it.target(COMPLETE("DELETE 6"), ready("T"))
    it.target(SYNTAX_ERROR, ready("T"))
    assert it.ended == "target-broke-protocol"


# ---------------------------------------------------------------- ends


def test_a_transaction_that_cannot_be_opened_runs_nothing() -> None:
    it = Conversation()
    it.client(QUERY(DELETE))
    it.approve(most_rows=5)
    it.take_target()
    it.target(CLOSED, error("42601", "no"), ready("I"))
    assert it.permitted == b""
    assert it.ended == "target-broke-protocol"
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: target-broke-protocol")]


def test_a_client_that_leaves_before_it_runs_runs_nothing() -> None:
    it = Conversation()
    it.client(QUERY(DELETE))
    it.approve(most_rows=5)
    it.core.client_closed()
    it.target(done("BEGIN", "T"))
    assert it.permitted == b""
    assert it.ended == "client-closed"
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: client-closed")]


@pytest.mark.parametrize("stage", [Stage.RUNNING, Stage.COMMITTING])
def test_a_session_that_ends_before_it_is_certain_leaves_the_outcome_unknown(stage: Stage) -> None:
    it = held()
    if stage is Stage.COMMITTING:
        it.target(COMPLETE("DELETE 2"), ready("T"))
    it.core.terminate("revoked", "bye")
    assert it.gate.executions == [(QUERY(DELETE), "outcome-unknown", "revoked")]
    assert it.take_client() == ["Error 57P01 bye"]


def test_a_target_that_dies_meanwhile_ends_the_session_with_a_word() -> None:
    it = held()
    it.target(COMPLETE("DELETE 2"), ready("T"))
    it.target(error("57P01", "terminating", severity="FATAL"))
    assert it.take_client() == ["Error 08006 the session ended before it was certain that the row guard holds"]
    assert it.gate.executions == [(QUERY(DELETE), "outcome-unknown", "target-closed")]


def test_a_commit_that_says_that_it_rolled_back_ends_the_session() -> None:
    it = held()
    it.target(COMPLETE("DELETE 2"), ready("T"))
    it.target(done("ROLLBACK", "I"))
    assert it.ended == "target-broke-protocol"
    assert it.gate.executions == [(QUERY(DELETE), "outcome-unknown", "target-broke-protocol")]


def test_a_cancel_request_goes_to_the_target_while_it_runs() -> None:
    it = held()
    assert it.core.cancel_requested()


def test_every_cut_of_the_answers_is_the_same_answer() -> None:
    answer = DESCRIPTION + ROW([b"1"]) + COMPLETE("DELETE 1") + ready("T")
    told = []
    for place in range(len(answer)):
        it = held(None, QUERY(f"{DELETE} returning n"))
        it.target(answer[:place])
        it.target(answer[place:])
        it.target(done("COMMIT", "I"))
        told.append(it.take_client())
    assert all(one == ["Described", "Row 1", "Complete DELETE 1", "Ready I"] for one in told)


def test_the_end_of_a_guard_is_final() -> None:
    assert MOVES[Stage.OVER] == frozenset()
    assert set(MOVES) == set(Stage)
