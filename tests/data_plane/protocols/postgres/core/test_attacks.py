"""Attacks on what is remembered of a session that worked once (DESIGN invariants 1, 10 and 13)."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.settings import read_path
from data_plane.protocols.postgres.framing import encode
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    DESCRIBE,
    DESCRIPTION,
    EXECUTE,
    FLUSH,
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

REFUSED = "Parse assentry_refused:assentry refused the statement that stood here"


def failed() -> Conversation:
    """In a transaction that failed, under the path a."""
    session = Conversation()
    session.client(QUERY("set search_path = a"))
    session.target(COMPLETE("SET"), ready())
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.client(QUERY("select 1/0"))
    session.target(error(), ready("E"))
    return session


@pytest.mark.parametrize(
    "script",
    ["rollback; begin; set search_path = b; commit", "commit; begin; set search_path = b; commit",
     "rollback and chain; set search_path = b; commit", "rollback to s; set search_path = b; commit"],
)  # fmt: skip
def test_only_the_first_end_in_a_failed_transaction_rolls_back(script: str) -> None:
    session = failed()
    session.client(QUERY(script + "; delete from t"))
    assert session.names.paths[-1] == ("b",)


def test_the_same_holds_for_a_batch() -> None:
    session = failed()
    texts = ("rollback", "begin", "set search_path = b", "commit", "delete from t")
    session.client(*(part for text in texts for part in (PARSE("", text), BIND("", ""), EXECUTE(""))), SYNC)
    assert session.names.paths[-1] == ("b",)


def test_a_rollback_that_is_not_answered_yet_is_waited_for() -> None:
    session = failed()
    session.take_target()
    session.client(QUERY("rollback"), QUERY("begin; set search_path = b; commit; select 1"))
    assert session.take_target() == ["Query rollback"]
    session.target(COMPLETE("ROLLBACK"), ready())
    assert session.names.paths[-1] == ("b",)


def test_a_rollback_that_is_answered_before_sync_ends_the_failure() -> None:
    session = failed()
    session.client(PARSE("", "rollback"), BIND("", ""), EXECUTE(""), FLUSH)
    session.target(PARSED, BOUND, COMPLETE("ROLLBACK"))
    texts = ("begin", "set search_path = b", "commit", "delete from t")
    session.client(*(part for text in texts for part in (PARSE("", text), BIND("", ""), EXECUTE(""))), SYNC)
    assert session.names.paths[-1] == ("b",)


@pytest.mark.parametrize(
    ("written", "schemas"),
    [
        ("\u00a0mine, public", ()),
        ("MINE\u2003, public", ()),
        ("K\u212a, public", ()),
        ("É", ()),
        ('"É", public', ("É", "public")),
        ("mine\v, public", ()),
        ('mi"ne, public', ()),
        ("a,,b", ()),
        (" my-schema ,\tPublic\f", ("my-schema", "public")),
        ("x" * 64 + ", public", ()),
        ('"' + "x" * 64 + '", public', ()),
    ],
)
def test_a_search_path_that_servers_may_read_in_another_way_is_not_read(written: str, schemas: tuple[str, ...]) -> None:
    assert read_path(written, "app") == schemas


def swapped(kind: str) -> Conversation:
    """A portal is bound and described; then what it names is made anew."""
    session = Conversation(masking=FakeMasking(active=True))
    make = "declare c cursor for select n from t" if kind == "fetch all c" else "prepare c as select n from t"
    tag = "DECLARE CURSOR" if kind == "fetch all c" else "PREPARE"
    session.client(QUERY("begin; " + make))
    session.target(COMPLETE("BEGIN"), COMPLETE(tag), ready("T"))
    session.client(PARSE("f", kind), BIND("p", "f"), DESCRIBE(b"P", "p"), SYNC)
    session.target(PARSED, BOUND, DESCRIPTION, ready("T"))
    close = "close c" if kind == "fetch all c" else "deallocate c"
    session.client(QUERY(close))
    session.target(COMPLETE("CLOSED"), ready("T"))
    session.client(QUERY(make))
    session.target(COMPLETE(tag), ready("T"))
    session.take_target()
    return session


@pytest.mark.parametrize("kind", ["fetch all c", "execute c"])
def test_a_portal_does_not_go_on_with_what_was_made_anew_under_its_name(kind: str) -> None:
    """The target keeps the columns of what was there when it was bound, so rows could not be told from what they are.
    Even the same text may mean something else by then."""
    session = swapped(kind)
    session.client(EXECUTE("p"), SYNC)
    assert session.take_target() == [REFUSED, "Sync"]
    session.client(BIND("p", "f"), EXECUTE("p"), SYNC)
    session.target(error(), ready("T"))
    assert session.take_target() == ["Bind p:f", "Describe Pp", "Execute p", "Sync"], "bound again it runs"


def test_nor_within_one_batch() -> None:
    session = Conversation(masking=FakeMasking(active=True))
    session.client(QUERY("begin; declare c cursor for select n from t"))
    session.target(COMPLETE("BEGIN"), COMPLETE("DECLARE CURSOR"), ready("T"))
    session.take_target()
    again = ("close c", "declare c cursor for select m from t")
    swap = (part for text in again for part in (PARSE("", text), BIND("", ""), EXECUTE("")))
    session.client(PARSE("f", "fetch all c"), BIND("p", "f"), DESCRIBE(b"P", "p"), *swap, EXECUTE("p"), SYNC)
    assert session.take_target() == [REFUSED, "Sync"]


def test_a_cursor_and_its_fetch_may_share_a_batch() -> None:
    session = Conversation(masking=FakeMasking(active=True))
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.take_target()
    both = ("declare c cursor for select n from t", "fetch all c")
    session.client(*(part for text in both for part in (PARSE("", text), BIND("", ""), EXECUTE(""))), SYNC)
    assert "Execute" in session.take_target()


def suspended() -> Conversation:
    session = Conversation()
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.client(PARSE("", "select n from t"), BIND("p", ""), EXECUTE("p", 1), SYNC)
    session.target(PARSED, BOUND, ROW([b"1"]), SUSPENDED, ready("T"))
    session.take_target()
    return session


def test_a_portal_is_judged_again_on_another_snapshot() -> None:
    session = suspended()
    session.gate.snapshot = "the second"
    session.client(EXECUTE("p", 1), SYNC)
    assert [subject.verbs for subject in session.gate.judged[-1][1]] == [("SELECT",)]
    assert "select n from t" in session.recorder.of("input")[-1][1]
    session.target(ROW([b"1"]), SUSPENDED, ready("T"))
    session.client(EXECUTE("p", 1), SYNC)
    assert [subject.verbs for subject in session.gate.judged[-1][1]] == [("EXECUTE",)], "once is enough"


@pytest.mark.parametrize("fetch", [(QUERY("fetch c"),), (PARSE("", "fetch c"), BIND("", ""), EXECUTE(""), SYNC)])
def test_a_cursor_is_judged_again_on_another_snapshot(fetch: tuple[bytes, ...]) -> None:
    session = Conversation()
    session.client(QUERY("declare c cursor with hold for select n from t"))
    session.target(COMPLETE("DECLARE CURSOR"), ready())
    session.client(*fetch)
    assert ("SELECT",) not in [subject.verbs for subject in session.gate.judged[-1][1]]
    session.target(error(), ready())
    session.gate.snapshot = "the second"
    session.client(*fetch)
    assert ("SELECT",) in [subject.verbs for subject in session.gate.judged[-1][1]]


def test_a_fetch_that_was_bound_on_another_snapshot_is_judged_as_its_cursor() -> None:
    session = Conversation()
    session.client(QUERY("declare c cursor with hold for select n from t"))
    session.target(COMPLETE("DECLARE CURSOR"), ready())
    session.client(PARSE("", "fetch c"), BIND("p", ""), FLUSH)
    session.target(PARSED, BOUND)
    session.gate.snapshot = "the second"
    session.client(EXECUTE("p"), SYNC)
    assert ("SELECT",) in [subject.verbs for subject in session.gate.judged[-1][1]]


def test_no_hold_begins_for_a_client_that_has_said_goodbye() -> None:
    session = Conversation(pieces=bytewise)
    session.client(QUERY("create table a (b int)"), QUERY("delete from t"), m.TERMINATE)
    session.target(COMPLETE("CREATE TABLE"), ready())
    assert session.operations == []
    assert session.ended == "client-closed"
    assert session.recorder.of("completed")[-1][:2] == (2, "skipped")


def test_an_earlier_goodbye_than_the_hold_that_waits_is_heard() -> None:
    session = Conversation()
    session.client(QUERY("select 1"), QUERY("delete from t"), m.TERMINATE)
    session.target(selected("1"))
    assert session.operations == []
    assert session.ended == "client-closed"


NOTIFICATION = encode(m.NotificationResponse, b"\0\0\0\7changes\0secret\0")


def test_a_notification_tells_only_its_channel_where_there_are_masks() -> None:
    for session in (Conversation(masking=FakeMasking(active=True)), Conversation(masks=("pii",))):
        session.target(NOTIFICATION)
        assert bytes(session.to_client_bytes) == encode(m.NotificationResponse, b"\0\0\0\7changes\0\0")


def test_a_notification_goes_on_as_it_is_until_there_are_masks() -> None:
    session = Conversation()
    session.target(NOTIFICATION)
    assert bytes(session.to_client_bytes) == NOTIFICATION
    session.gate.masks = ("pii",)
    session.client(QUERY("select n from t"))
    session.target(selected("alice"))
    session.take_client()
    session.target(NOTIFICATION)
    assert b"secret" not in session.to_client_bytes
