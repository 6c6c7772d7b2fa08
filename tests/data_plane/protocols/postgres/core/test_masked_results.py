"""Masked results: no row passes without a plan made from its own description."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import encode_parameter_description, encode_parameter_status
from data_plane.protocols.postgres.core import Limits
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    DESCRIBE,
    DESCRIPTION,
    EXECUTE,
    FLUSH,
    NO_DATA,
    PARSE,
    PARSED,
    QUERY,
    ROW,
    SUSPENDED,
    SYNC,
    Conversation,
    FakeMasking,
    bytewise,
    error,
    ready,
    selected,
)


@pytest.fixture(params=[pytest.param(None, id="whole"), pytest.param(bytewise, id="byte by byte")])
def session(request: pytest.FixtureRequest) -> Conversation:
    return Conversation(pieces=request.param, masking=FakeMasking(active=True), masks=("pii",))


def test_rows_are_masked_for_the_client_and_the_recording(session: Conversation) -> None:
    """Invariant 10."""
    session.client(QUERY("select n from t"))
    session.target(selected("alice", "bob"))
    assert session.take_client() == ["Described", "Row *", "Row *", "Complete SELECT 2", "Ready I"]
    assert b"alice" not in session.recorder.outputs(1)
    assert session.masking.asked[0][3] == ("pii",)


def test_a_portal_that_the_client_did_not_describe_is_described_by_us(session: Conversation) -> None:
    """Invariant 10; the client never sees the answer, and the Describe is part of what is judged."""
    session.client(PARSE("", "select n from t"), BIND("", "", result_formats=[1]), EXECUTE(""), SYNC)
    assert session.take_target() == ["Parse :select n from t", "Bind :", "Describe P", "Execute", "Sync"]
    assert DESCRIBE(b"P", "") in session.gate.judged[0][2]
    session.target(PARSED, BOUND, DESCRIPTION, ROW([b"alice"]), COMPLETE("SELECT 1"), ready())
    assert session.take_client() == ["Parsed", "Bound", "Row *", "Complete SELECT 1", "Ready I"]
    assert session.masking.asked[0][1] == (1,)


def test_a_cursor_that_sql_declared_is_described_before_the_protocol_executes_it(session: Conversation) -> None:
    """Invariant 10: such an Execute has no RowDescription."""
    session.client(QUERY("begin; declare c cursor for select n from t"))
    session.target(COMPLETE("BEGIN"), COMPLETE("DECLARE CURSOR"), ready("T"))
    session.take_target(), session.take_client()
    session.client(EXECUTE("c"), SYNC)
    assert session.take_target() == ["Describe Pc", "Execute c", "Sync"]
    session.target(DESCRIPTION, ROW([b"alice"]), COMPLETE("SELECT 1"), ready("T"))
    assert session.take_client() == ["Row *", "Complete SELECT 1", "Ready T"]


def test_fetch_is_masked_as_what_its_cursor_reads(session: Conversation) -> None:
    session.client(QUERY("begin; declare c cursor for select n from t"))
    session.target(COMPLETE("BEGIN"), COMPLETE("DECLARE CURSOR"), ready("T"))
    session.take_client()
    session.client(QUERY("fetch all from c"))
    session.target(selected("alice", tag="FETCH 1", status="T"))
    assert session.take_client()[1] == "Row *"
    assert session.masking.asked[-1][2].subject.verbs == ("SELECT",)


def test_a_description_of_an_earlier_execution_is_not_trusted(session: Conversation) -> None:
    """Invariant 10: the same prepared statement may read another table now."""
    session.client(PARSE("x", "select n from t"), DESCRIBE(b"S", "x"), SYNC)
    session.target(PARSED, encode_parameter_description([]), DESCRIPTION, ready())
    for _ in range(2):
        session.take_target()
        session.client(BIND("", "x"), EXECUTE(""), SYNC)
        assert session.take_target() == ["Bind :x", "Describe P", "Execute", "Sync"]


def test_a_row_without_a_description_ends_the_session(session: Conversation) -> None:
    """Invariant 11."""
    session.client(QUERY("select n from t"))
    session.target(ROW([b"alice"]))
    assert session.ended == "target-broke-protocol"
    assert not any("alice" in message for message in session.take_client())


def test_error_texts_are_masked(session: Conversation) -> None:
    """Invariant 10."""
    session.client(QUERY("select n::int from t"))
    session.target(error("22P02", "invalid input: secret"), ready())
    assert session.take_client()[0] == "Error 22P02 invalid input: masked"


def test_a_setting_may_not_tell_what_rows_do_not(session: Conversation) -> None:
    """Invariant 10: set_config('application_name', ssn, false) inside a function, say."""
    session.client(QUERY("set timezone = 'europe/berlin'; select n from t"))
    session.target(COMPLETE("SET"), DESCRIPTION, COMPLETE("SELECT 0"))
    session.take_client()
    free = [("application_name", "secret"), ("TimeZone", "<secret>5"), ("search_path", "secret"), ("my.own", "secret")]
    session.target(*[encode_parameter_status(name, value) for name, value in free])
    assert session.take_client() == []
    allowed = [("TimeZone", "Europe/Berlin"), ("search_path", '"$user", public'), ("DateStyle", "German, DMY")]
    session.target(*[encode_parameter_status(name, value) for name, value in allowed], ready())
    assert session.take_client() == ["Status", "Status", "Status", "Ready I"]


def test_a_mask_that_came_with_the_verdict_holds_for_settings_too() -> None:
    session = Conversation()
    session.gate.masks = ("pii",)
    session.client(QUERY("select n from t"))
    session.target(encode_parameter_status("application_name", "secret"), selected())
    assert session.take_client() == ["Described", "Complete SELECT 0", "Ready I"]


def test_masks_of_the_verdict_are_added(session: Conversation) -> None:
    session.gate.masks = ("cards",)
    session.client(QUERY("select n from t"))
    session.target(selected("alice"))
    assert session.masking.asked[0][3] == ("pii", "cards")


def test_masks_of_a_verdict_make_us_describe_the_portals_that_it_concerns() -> None:
    """Invariant 10: a session without masks of its own learns at the verdict that the rows need a description."""
    session = Conversation()
    session.gate.masks = ("cards",)
    for _ in range(2):
        session.client(PARSE("", "select n from t"), BIND("", ""), EXECUTE(""), SYNC)
        assert session.take_target() == ["Parse :select n from t", "Bind :", "Describe P", "Execute", "Sync"]
        session.target(PARSED, BOUND, DESCRIPTION, ROW([b"alice"]), COMPLETE("SELECT 1"), ready())
        assert session.take_client() == ["Parsed", "Bound", "Row *", "Complete SELECT 1", "Ready I"]
    assert [number for number, *_ in session.recorder.of("input")] == [1, 2]


def test_rows_of_a_portal_that_was_said_to_have_none_end_the_session(session: Conversation) -> None:
    """Invariants 10 and 11."""
    session.client(PARSE("", "select n from t"), BIND("", ""), EXECUTE(""), SYNC)
    session.target(PARSED, BOUND, NO_DATA, ROW([b"alice"]))
    assert session.ended == "target-broke-protocol"
    assert not any("alice" in message for message in session.take_client())


def test_a_large_row_is_passed_on_in_pieces_when_nothing_masks_it() -> None:
    """Invariant 11: it is never kept."""
    session = Conversation(limits=Limits(recorded_bytes=10))
    session.client(QUERY("select n from t"))
    row = ROW([b"x" * 200_000])
    session.target(DESCRIPTION)
    session.target(row[:70_000])
    assert len(session.to_client_bytes) == len(DESCRIPTION) + 70_000
    session.core.target_sent(row[70_000:] + COMPLETE("SELECT 1") + ready())
    assert session.take_client()[-1] == "Ready I"
    assert session.recorder.of("completed") == [(1, "SELECT 1", 1, 0)]


def test_a_row_that_is_too_large_to_be_masked_ends_the_session() -> None:
    """Invariants 10, 11."""
    session = Conversation(limits=Limits(answer_bytes=1000), masking=FakeMasking(active=True))
    session.client(QUERY("select n from t"))
    session.target(DESCRIPTION)
    session.target(ROW([b"x" * 2000])[:1500])
    assert session.ended == "target-broke-protocol"


def test_an_end_amid_a_row_is_not_written_into_it() -> None:
    session = Conversation(limits=Limits(recorded_bytes=0))
    session.client(QUERY("select n from t"))
    session.target(DESCRIPTION, ROW([b"x" * 2000])[:1500])
    before = bytes(session.to_client_bytes)
    session.core.terminate("terminated", "ended by an admin")
    assert bytes(session.to_client_bytes) == before
    assert session.controls[-1] == m.TERMINATE


STORING = "insert into t select ssn from u"


@pytest.mark.parametrize(
    "messages",
    [
        (QUERY(STORING),),
        (QUERY(f"select 1; {STORING}"),),
        (PARSE("", STORING), BIND("", ""), EXECUTE(""), SYNC),
    ],
)
def test_what_copies_masked_values_is_refused_though_policy_allows_it(
    session: Conversation, messages: tuple[bytes, ...]
) -> None:
    """Invariant 10."""
    session.client(*messages)
    assert session.permitted == b""
    session.target(error(), ready())
    assert session.take_client()[0].startswith("Error 42501 masked values may not be copied")
    assert session.recorder.of("decided")[-1][1:3] == ("deny", "policy")


def test_what_a_prepared_statement_copies_is_refused_when_it_runs(session: Conversation) -> None:
    session.client(QUERY(f"prepare p as {STORING}"))
    session.target(COMPLETE("PREPARE"), ready())
    session.client(QUERY("execute p"))
    session.target(error(), ready())
    assert session.take_client()[2].startswith("Error 42501 masked values may not be copied")


def test_people_may_let_masked_values_be_copied(session: Conversation) -> None:
    held = "with d as (delete from t) " + STORING
    session.client(QUERY(held))
    assert session.core.held
    session.approve()
    assert session.take_target() == [f"Query {held}"]
    session.target(COMPLETE("INSERT 0 1"), ready())
    session.client(PARSE("", held), BIND("p", ""), FLUSH)
    session.approve()
    session.target(PARSED, BOUND)
    session.take_target()
    session.client(EXECUTE("p"), SYNC)
    assert session.take_target() == ["Describe Pp", "Execute p", "Sync"], "it continues what was approved"


def test_a_session_without_masks_may_copy() -> None:
    session = Conversation()
    session.client(QUERY(STORING))
    assert session.take_target() == [f"Query {STORING}"]


def test_a_suspended_portal_is_masked_by_a_mask_that_comes_later() -> None:
    """Invariant 10: another snapshot masks what was described, and begun, without a mask."""
    session = Conversation()
    session.client(PARSE("", "select n from t"), BIND("p", ""), DESCRIBE(b"P", "p"), EXECUTE("p", 1), FLUSH)
    session.target(PARSED, BOUND, DESCRIPTION, ROW([b"alice"]), SUSPENDED)
    assert session.take_client()[-2:] == ["Row alice", "Suspended"]
    session.gate.masks = ("pii",)
    session.client(EXECUTE("p"), SYNC)
    session.target(ROW([b"bob"]), COMPLETE("SELECT 1"), ready())
    assert session.take_client() == ["Row *", "Complete SELECT 1", "Ready I"]


def test_masks_of_a_verdict_hold_for_what_continues_it() -> None:
    """Invariant 10: the Execute that goes on, and FETCH, are judged without the rule that masked."""
    session = Conversation()
    session.gate.masks = ("pii",)
    session.client(QUERY("begin; declare c cursor for select n from t"))
    session.target(COMPLETE("BEGIN"), COMPLETE("DECLARE CURSOR"), ready("T"))
    session.client(PARSE("", "select n from t"), BIND("p", ""), EXECUTE("p", 1), SYNC)
    session.target(PARSED, BOUND, DESCRIPTION, ROW([b"alice"]), SUSPENDED, ready("T"))
    session.take_client()
    session.gate.masks = ()
    session.client(EXECUTE("p"), SYNC)
    session.target(ROW([b"bob"]), COMPLETE("SELECT 1"), ready("T"))
    assert session.take_client()[0] == "Row *"
    session.client(QUERY("fetch c"))
    session.target(selected("eve", tag="FETCH 1", status="T"))
    assert session.take_client()[1] == "Row *"
