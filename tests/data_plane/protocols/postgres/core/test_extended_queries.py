"""The extended protocol: batches, pipelines, names that SQL and the protocol share, errors that skip to Sync."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Parameter
from data_plane.protocols.postgres import answers as a
from data_plane.protocols.postgres.core import Limits
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSE,
    CLOSED,
    COMPLETE,
    DESCRIBE,
    DESCRIPTION,
    EMPTY,
    EXECUTE,
    FLUSH,
    NO_DATA,
    PARSE,
    PARSED,
    QUERY,
    ROW,
    SUSPENDED,
    SYNC,
    SYNTAX_ERROR,
    Conversation,
    bytewise,
    error,
    ready,
    selected,
)

REFUSED = "Parse assentry_refused:assentry refused the statement that stood here"


@pytest.fixture(params=[pytest.param(None, id="whole"), pytest.param(bytewise, id="byte by byte")])
def session(request: pytest.FixtureRequest) -> Conversation:
    return Conversation(pieces=request.param)


def prepare(session: Conversation, name: str, text: str) -> None:
    session.client(PARSE(name, text), SYNC)
    session.target(PARSED, ready())
    session.take_target(), session.take_client()


def test_a_batch_flows_and_its_rows_pass(session: Conversation) -> None:
    session.client(PARSE("", "select $1::int"), BIND("", "", [b"7"]), DESCRIBE(b"P", ""), EXECUTE(""), SYNC)
    assert session.take_target() == ["Parse :select $1::int", "Bind :", "Describe P", "Execute", "Sync"]
    session.target(PARSED, BOUND, DESCRIPTION, ROW([b"7"]), COMPLETE("SELECT 1"), ready())
    assert session.take_client() == ["Parsed", "Bound", "Described", "Row 7", "Complete SELECT 1", "Ready I"]
    assert session.recorder.of("input") == [(1, "select $1::int", (("$1", "unknown", "7"),))]
    assert session.recorder.of("completed") == [(1, "SELECT 1", 1, 1)]


def test_nothing_goes_before_the_batch_is_closed(session: Conversation) -> None:
    """Invariant 4: a Bind already plans and can run code."""
    session.client(PARSE("", "select 1"), BIND("", ""), EXECUTE(""))
    assert session.take_target() == []


def test_if_one_statement_of_a_batch_is_denied_nothing_of_it_runs(session: Conversation) -> None:
    """Invariant 4."""
    session.client(PARSE("", "insert into t values (1)"), BIND("", ""), EXECUTE(""))
    session.client(PARSE("", "drop table t"), BIND("", ""), EXECUTE(""), SYNC)
    assert session.take_target() == [REFUSED, "Sync"]
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client() == ["Error 42501 not allowed by p/deny", "Ready I"]


def test_a_denial_before_a_flush_skips_to_sync(session: Conversation) -> None:
    session.client(PARSE("", "drop table t"), DESCRIBE(b"S", ""), FLUSH)
    assert session.take_target() == [REFUSED, "Flush"]
    session.target(SYNTAX_ERROR)
    assert session.take_client() == ["Error 42501 not allowed by p/deny"]
    session.client(PARSE("", "select 1"), BIND("", ""), EXECUTE(""), FLUSH, QUERY("select 2"))
    assert session.take_target() == [], "the target would discard it, so it is not sent"
    session.client(SYNC)
    assert session.take_target() == ["Sync"]
    session.target(ready())
    assert session.take_client() == ["Ready I"]
    assert len(session.gate.judged) == 1


def test_after_an_error_the_rest_of_the_pipeline_is_skipped_to_sync(session: Conversation) -> None:
    one = PARSE("", "select 1") + BIND("", "") + EXECUTE("")
    session.client(one, FLUSH, one, FLUSH, one, SYNC, one, SYNC)
    session.target(PARSED, BOUND, error(), ready(), PARSED, BOUND, COMPLETE("SELECT 0"), ready())
    assert session.take_client() == ["Parsed", "Bound", "Error 22012 division by zero", "Ready I",
                                     "Parsed", "Bound", "Complete SELECT 0", "Ready I"]  # fmt: skip
    assert [(number, status) for number, status, *_ in session.recorder.of("completed")] == [
        (1, "22012"), (2, "skipped"), (3, "skipped"), (4, "SELECT 0")]  # fmt: skip


def test_batches_are_pipelined(session: Conversation) -> None:
    batch = PARSE("", "select 1") + BIND("", "") + EXECUTE("") + SYNC
    session.client(batch, batch)
    assert session.take_target().count("Sync") == 2


def test_a_prepared_statement_is_held_with_its_parameters(session: Conversation) -> None:
    """Invariant 2: what is approved are the text, the values and the bytes."""
    session.client(PARSE("d", "delete from t where a = $1 and b = $2", [23, 25]), SYNC)
    assert session.take_target() == ["Parse d:delete from t where a = $1 and b = $2", "Sync"], (
        "preparing is not running"
    )
    session.target(PARSED, ready())
    batch = BIND("", "d", [(7).to_bytes(4, "big"), b"x"], [1, 0]) + EXECUTE("") + SYNC
    session.client(batch)
    assert session.take_target() == []
    operation = session.operations[0]
    assert operation.parameters == (Parameter("$1", "int4", "7"), Parameter("$2", "text", "x"))
    assert operation.parts == (b"delete from t where a = $1 and b = $2", batch)
    session.approve()
    assert session.take_target() == ["Bind :d", "Execute", "Sync"]
    session.target(BOUND, COMPLETE("DELETE 1"), ready())
    assert session.gate.executions == [(batch, "done", "DELETE 1")]


def test_another_execution_is_another_operation(session: Conversation) -> None:
    prepare(session, "d", "delete from t")
    for expected in (1, 2):
        session.client(BIND("", "d"), EXECUTE(""), SYNC)
        assert len(session.operations) == expected
        session.approve()
        session.target(BOUND, COMPLETE("DELETE 1"), ready())


def test_a_denied_statement_is_refused_when_it_is_prepared(session: Conversation) -> None:
    """Invariant 1: parsing takes locks already."""
    session.client(PARSE("x", "drop table t"), SYNC)
    assert session.take_target() == [REFUSED, "Sync"]
    session.target(SYNTAX_ERROR, ready())
    session.client(BIND("", "x"), EXECUTE(""), SYNC)
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[2] == 'Error 26000 prepared statement "x" does not exist'


def test_a_statement_whose_parse_failed_does_not_exist(session: Conversation) -> None:
    session.client(PARSE("x", "select 1"), SYNC)
    session.target(error("42P01", "no such table"), ready())
    session.client(BIND("", "x"), EXECUTE(""), SYNC)
    assert session.take_target()[-2:] == [REFUSED, "Sync"]


def test_a_unit_that_uses_a_name_waits_until_its_new_meaning_is_certain(session: Conversation) -> None:
    """Invariant 1: the first Parse may be skipped, and then the name still means something else."""
    prepare(session, "x", "delete from t")
    session.client(CLOSE(b"S", "x"), PARSE("x", "select 1"), SYNC)
    session.take_target()
    session.client(BIND("", "x"), EXECUTE(""), SYNC)
    assert session.take_target() == [], "it is not yet known what x is"
    session.target(error(), ready())
    assert session.take_target() == []
    assert session.core.held, "x is still the DELETE"


def test_a_unit_is_not_judged_by_a_meaning_that_is_about_to_change(session: Conversation) -> None:
    """Invariant 1: as a SELECT it would flow, and then run as the DELETE."""
    prepare(session, "x", "select 1")
    session.client(CLOSE(b"S", "x"), PARSE("x", "delete from t"), SYNC)
    session.take_target()
    session.client(BIND("", "x"), EXECUTE(""), SYNC)
    assert session.take_target() == []
    session.target(CLOSED, PARSED, ready())
    assert (session.take_target(), session.core.held) == ([], True)


def test_a_portal_is_not_judged_by_a_meaning_that_is_about_to_change(session: Conversation) -> None:
    """Invariant 1."""
    prepare(session, "x", "select n from t")
    session.client(BIND("", "x"), SYNC)
    session.client(EXECUTE(""), SYNC)
    assert session.take_target() == ["Bind :x", "Sync"]
    session.target(BOUND, ready("T"))
    assert session.take_target() == ["Execute", "Sync"]


def test_a_masked_value_in_a_parameter_is_denied(session: Conversation) -> None:
    """Invariant 10."""
    session.client(PARSE("", "update t set a = $1"), BIND("", "", ["‹masked›".encode()]), EXECUTE(""), SYNC)
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0] == "Error 42501 the statement carries a masked value"


def test_sql_and_protocol_share_names_of_statements(session: Conversation) -> None:
    session.client(QUERY("prepare p as delete from t"))
    assert not session.core.held, "preparing is not running"
    session.target(COMPLETE("PREPARE"), ready())
    session.take_target()
    session.client(BIND("", "p"), EXECUTE(""), SYNC)
    assert session.core.held, "Bind takes the meaning of what SQL prepared"
    assert session.operations[-1].text == "prepare p as delete from t"


def test_sql_cannot_prepare_what_is_denied(session: Conversation) -> None:
    session.client(QUERY("prepare p as select f()"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]


def test_execute_takes_the_meaning_of_what_the_protocol_prepared(session: Conversation) -> None:
    prepare(session, "x", "delete from t")
    session.client(QUERY("execute x"))
    assert session.core.held
    assert session.operations[0].text == "execute x;\ndelete from t"


@pytest.mark.parametrize("text", ["execute nothing", "fetch all from nothing"])
def test_an_unknown_name_is_denied(session: Conversation, text: str) -> None:
    """Invariant 3."""
    session.client(QUERY(text))
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0] in (
        'Error 26000 prepared statement "nothing" does not exist',
        'Error 34000 cursor "nothing" does not exist',
    )
    assert session.recorder.of("decided")[0][1] == "deny"


def test_deallocating_forgets(session: Conversation) -> None:
    prepare(session, "x", "select 1")
    session.client(QUERY("deallocate all"))
    session.target(COMPLETE("DEALLOCATE ALL"), ready())
    session.client(BIND("", "x"), EXECUTE(""), SYNC)
    assert REFUSED in session.take_target()


def test_a_portal_that_executes_a_name_is_refused_when_the_name_has_changed(session: Conversation) -> None:
    """Invariant 1."""
    prepare(session, "x", "select 1")
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.client(PARSE("", "execute x"), BIND("c", ""), SYNC)
    session.target(PARSED, BOUND, ready("T"))
    session.client(CLOSE(b"S", "x"), PARSE("x", "delete from t"), SYNC)
    session.target(CLOSED, PARSED, ready("T"))
    session.take_target()
    session.client(EXECUTE("c"), SYNC)
    assert session.take_target() == [REFUSED, "Sync"]
    assert not session.core.held


def test_a_suspended_portal_goes_on_under_its_verdict(session: Conversation) -> None:
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.client(PARSE("", "select n from t"), BIND("c", ""), EXECUTE("c", 1), SYNC)
    session.target(PARSED, BOUND, ROW([b"1"]), SUSPENDED, ready("T"))
    session.take_target()
    session.client(EXECUTE("c", 1), SYNC)
    assert session.take_target() == ["Execute c\0\0\0\0\1", "Sync"]
    assert session.gate.judged[-1][1][0].verbs == ("EXECUTE",)
    session.target(ROW([b"2"]), COMPLETE("SELECT 1"), ready("T"))
    session.client(QUERY("commit"))
    session.target(COMPLETE("COMMIT"), ready())
    session.client(EXECUTE("c"), SYNC)
    assert REFUSED in session.take_target(), "portals end with their transaction"


def test_a_statement_against_a_pin_is_denied_in_a_batch(session: Conversation) -> None:
    """Invariant 13."""
    session.client(PARSE("", "set client_encoding = latin1"), BIND("", ""), EXECUTE(""), SYNC)
    assert session.take_target() == [REFUSED, "Sync"]


def test_several_statements_cannot_be_prepared(session: Conversation) -> None:
    session.client(PARSE("", "select 1; select 2"), BIND("", ""), EXECUTE(""), SYNC)
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].startswith("Error 42601 cannot insert multiple commands")


def test_an_unsynced_batch_before_a_query_is_judged_first(session: Conversation) -> None:
    session.client(PARSE("", "select 1"), BIND("", ""), EXECUTE(""), QUERY("select 2"))
    assert session.take_target() == ["Parse :select 1", "Bind :", "Execute", "Flush", "Query select 2"]
    session.target(PARSED, BOUND, ROW([b"1"]), COMPLETE("SELECT 1"), selected("2"))
    assert session.take_client()[-1] == "Ready I"


def test_a_query_behind_a_failed_batch_is_skipped_as_the_target_does(session: Conversation) -> None:
    session.client(PARSE("", "select 1"), BIND("", ""), EXECUTE(""), QUERY("select 2"))
    session.target(error())
    session.client(SYNC)
    session.target(ready())
    assert session.take_client() == ["Error 22012 division by zero", "Ready I"]


def test_a_hold_behind_a_failed_batch_is_never_asked_for(session: Conversation) -> None:
    session.client(PARSE("", "select 1"), BIND("", ""), EXECUTE(""), FLUSH)
    session.client(PARSE("", "delete from t"), BIND("", ""), EXECUTE(""), SYNC)
    session.take_target()
    session.target(error())
    assert session.operations == []
    assert session.take_target() == ["Sync"]
    session.target(ready("E"))
    assert session.take_client()[-1] == "Ready E"


def test_a_batch_beyond_its_bounds_is_refused_whole() -> None:
    """Invariant 11."""
    session = Conversation(limits=Limits(batch_messages=4))
    session.client(*[BIND("", ""), EXECUTE("")] * 3, SYNC)
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].startswith("Error 54000")
    assert session.take_target() == [REFUSED, "Sync"]


def test_a_name_that_the_target_would_cut_is_refused(session: Conversation) -> None:
    """Invariant 3: two long names would become one."""
    session.client(PARSE("n" * 64, "select 1"), SYNC)
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].startswith("Error 42622")


def test_describe_of_a_statement_tells_its_parameter_types(session: Conversation) -> None:
    session.client(PARSE("x", "select $1"), DESCRIBE(b"S", "x"), FLUSH)
    session.target(PARSED, a.encode_parameter_description([23]), DESCRIPTION)
    session.client(BIND("", "x", [(9).to_bytes(4, "big")], [1]), EXECUTE(""), SYNC)
    assert session.recorder.of("input")[-1][2] == (("$1", "int4", "9"),)


def test_no_data_is_passed_on(session: Conversation) -> None:
    session.client(PARSE("", "insert into t values (1)"), BIND("", ""), DESCRIBE(b"P", ""), EXECUTE(""), SYNC)
    session.target(PARSED, BOUND, NO_DATA, COMPLETE("INSERT 0 1"), ready())
    assert session.take_client() == ["Parsed", "Bound", "NoData", "Complete INSERT 0 1", "Ready I"]


def test_a_batch_that_executes_nothing_needs_no_verdict(session: Conversation) -> None:
    prepare(session, "x", "select 1")
    session.client(DESCRIBE(b"S", "x"), CLOSE(b"S", "x"), SYNC, SYNC, FLUSH)
    assert session.take_target() == ["Describe Sx", "Close Sx", "Sync", "Sync", "Flush"]
    assert len(session.gate.judged) == 1


def test_an_empty_statement_flows(session: Conversation) -> None:
    session.client(PARSE("", ""), BIND("", ""), EXECUTE(""), SYNC, QUERY(""))
    session.target(PARSED, BOUND, EMPTY, ready(), EMPTY, ready())
    assert session.take_client() == ["Parsed", "Bound", "Empty", "Ready I", "Empty", "Ready I"]


def test_an_error_at_the_commit_of_sync_is_passed_on(session: Conversation) -> None:
    session.client(PARSE("", "insert into t values (1)"), BIND("", ""), EXECUTE(""), SYNC)
    session.target(PARSED, BOUND, COMPLETE("INSERT 0 1"), error("23503", "deferred"), ready())
    assert session.take_client()[-2:] == ["Error 23503 deferred", "Ready I"]
    assert session.recorder.of("completed")[0][1] == "23503"
