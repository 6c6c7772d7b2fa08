"""Every type byte, in every state, in both directions: gated, relayed or refused; refused is the default."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import encode_error
from data_plane.protocols.postgres.core.states import (
    ASYNCHRONOUS,
    CLIENT_MESSAGES,
    TARGET_MESSAGES,
    Expected,
    Phase,
    Treatment,
)
from data_plane.protocols.postgres.framing import encode
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSE,
    COMPLETE,
    COPY_IN,
    COPY_OUT,
    DESCRIBE,
    DESCRIPTION,
    EXECUTE,
    FLUSH,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    Conversation,
    FakeMasking,
)

SPOKEN_BY_CLIENTS = frozenset(b"QPBDECSHFdcfX")


def in_phase(phase: Phase) -> Conversation:
    session = Conversation()
    if phase is Phase.WAITING:
        session.client(QUERY("set search_path = a"), QUERY("select 1"))
    elif phase is Phase.HELD:
        session.client(QUERY("delete from t"))
    elif phase is Phase.COPYING:
        session.client(QUERY("copy t from stdin"))
        session.target(COPY_IN)
    elif phase is Phase.GUARDED:
        session.client(QUERY("delete from t"))
        session.approve(most_rows=5)
    elif phase in (Phase.WIDENING, Phase.WIDENED):
        session.lacking = frozenset({"write"})
        session.client(QUERY("delete from t"))
        session.approve()
        if phase is Phase.WIDENED:
            session.core.account_changed("")
    elif phase is Phase.ENDED:
        session.core.client_closed()
    assert session.core._phase is phase
    session.take_target(), session.take_client(), session.permitted.clear()
    return session


@pytest.mark.parametrize("phase", Phase)
def test_every_message_of_the_client_is_treated_or_refused(phase: Phase) -> None:
    """Invariant 3."""
    for type_ in range(256):
        session = in_phase(phase)
        treatment = phase.treatments[type_]
        session.client(encode(type_, {m.Query: b"select 2\0", m.FunctionCall: b"x"}.get(type_, b"")))
        if phase is Phase.ENDED:
            assert (treatment, session.ended) == (Treatment.IGNORED, "client-closed")
        elif type_ not in SPOKEN_BY_CLIENTS:
            assert treatment is Treatment.REFUSED
            assert session.ended == "client-broke-protocol"
        elif treatment in (Treatment.REFUSED, Treatment.GOODBYE):
            assert session.ended in ("client-broke-protocol", "client-closed")
        assert session.permitted == b"" or treatment is Treatment.GATED


def test_the_client_table_names_no_message_that_clients_do_not_have() -> None:
    for phase, row in CLIENT_MESSAGES.items():
        assert phase is Phase.ENDED or set(row) <= SPOKEN_BY_CLIENTS


def expecting(expected: Expected) -> Conversation:
    """A session whose pipeline's head is in this state; READY_… by a real conversation."""
    session = Conversation(masking=FakeMasking(active=expected is Expected.INJECTED_DESCRIBE))
    batch = (
        PARSE("", "select 1"),
        BIND("", ""),
        DESCRIBE(b"S", ""),
        DESCRIBE(b"P", ""),
        EXECUTE(""),
        CLOSE(b"P", ""),
        SYNC,
    )
    parameters = encode(m.ParameterDescription, b"\0\0")
    answers = [PARSED, BOUND, parameters, DESCRIPTION, DESCRIPTION, COMPLETE("SELECT 0"), encode(m.CloseComplete)]
    by_batch = [Expected.PARSE, Expected.BIND, Expected.DESCRIBE_STATEMENT, Expected.DESCRIBED_PARAMETERS,
                Expected.DESCRIBE_PORTAL, Expected.EXECUTE, Expected.CLOSE, Expected.READY]  # fmt: skip
    copies = {Expected.QUERY_COPY_IN: ("copy t from stdin", [COPY_IN]), Expected.QUERY_COPY_OUT: ("copy t to stdout", [COPY_OUT]),
              Expected.QUERY_COPIED: ("copy t to stdout", [COPY_OUT, m.COPY_DONE])}  # fmt: skip
    by_execute = {Expected.EXECUTE_COPY_IN: Expected.QUERY_COPY_IN, Expected.EXECUTE_COPY_OUT: Expected.QUERY_COPY_OUT,
                  Expected.EXECUTE_COPIED: Expected.QUERY_COPIED}  # fmt: skip
    by_own = [Expected.OWN, Expected.OWN_CLOSED, Expected.OWN_PARSED, Expected.OWN_BOUND, Expected.OWN_DONE,
              Expected.READY_OWN]  # fmt: skip
    answers_of_own = [encode(m.CloseComplete), PARSED, BOUND, COMPLETE("BEGIN"), encode(m.CloseComplete)]
    if expected in by_batch:
        session.client(*batch)
        session.target(*answers[: by_batch.index(expected)])
    elif expected in copies:
        session.client(QUERY(copies[expected][0]))
        session.target(*copies[expected][1])
    elif expected in by_execute:
        text, begun = copies[by_execute[expected]]
        session.client(PARSE("", text), BIND("", ""), EXECUTE(""), SYNC)
        session.target(PARSED, BOUND, *begun)
    elif expected is Expected.INJECTED_DESCRIBE:
        session.client(PARSE("", "select 1"), BIND("", ""), EXECUTE(""), SYNC)
        session.target(PARSED, BOUND)
    elif expected in (Expected.QUERY, Expected.QUERY_ROWS):
        session.client(QUERY("select 1"))
        session.target(*[DESCRIPTION] * (expected is Expected.QUERY_ROWS))
    elif expected in by_own:
        session.client(QUERY("delete from t"))
        session.approve(most_rows=5)
        session.target(*answers_of_own[: by_own.index(expected)])
    elif expected is Expected.REFUSED_QUERY:
        session.client(QUERY("drop table t"))
    elif expected is Expected.REFUSED_PARSE:
        session.client(PARSE("", "drop table t"), FLUSH)
    elif expected is Expected.ENDING:
        session.target(encode_error("57P01", "bye", severity="FATAL"))
    return session


@pytest.mark.parametrize("expected", [expected for expected in Expected if expected is not Expected.DONE])
def test_every_message_of_the_target_fits_the_state_or_ends_the_session(expected: Expected) -> None:
    """Invariants 3 and 11: the target is not trusted either."""
    for type_ in range(256):
        session = expecting(expected)
        assert session.core._pipeline.expected is expected
        before = session.ended
        payload = {
            m.ReadyForQuery: b"I", m.CommandComplete: b"SELECT 0\0", m.ErrorResponse: b"SERROR\0C22012\0Mx\0\0",
            m.RowDescription: b"\0\0", m.ParameterDescription: b"\0\0", m.DataRow: b"\0\0", m.CopyData: b"x",
            m.NoticeResponse: b"SNOTICE\0C00000\0Mx\0\0", m.ParameterStatus: b"a\0b\0",
            m.CopyInResponse: b"\0\0\0", m.CopyOutResponse: b"\0\0\0",
        }.get(type_, b"")  # fmt: skip
        session.target(encode(type_, payload))
        if type_ not in TARGET_MESSAGES[expected] and type_ not in ASYNCHRONOUS:
            assert session.ended, f"0x{type_:02x} in {expected}"
        if type_ in ASYNCHRONOUS:
            assert session.ended == before


def test_the_tables_are_total() -> None:
    assert set(TARGET_MESSAGES) == set(Expected)
    assert set(CLIENT_MESSAGES) == set(Phase)
