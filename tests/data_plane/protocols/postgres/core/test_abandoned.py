"""What a session leaves behind when it ends: the catalogue hears of changes of which nobody heard the outcome."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from data_plane.gate.interface import Subject
from data_plane.protocols.postgres import messages as m
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    COMPLETE,
    EXECUTE,
    PARSE,
    QUERY,
    SYNC,
    Conversation,
    FakeNames,
    ready,
)

RENAME = "alter table a rename to b"


class Told(FakeNames):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[set[str], set[str]]] = []

    def changed(self, by: Collection[Subject], *, names: frozenset[str] = frozenset()) -> None:
        super().changed(by, names=names)
        self.told.append(({verb for subject in by for verb in subject.verbs}, set(names)))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Conversation:
    monkeypatch.setattr("tests.data_plane.protocols.postgres.core.conversation.FakeNames", Told)
    return Conversation()


def told(session: Conversation) -> list[tuple[set[str], set[str]]]:
    assert isinstance(session.names, Told)
    return session.names.told


@pytest.mark.parametrize("asked", [(QUERY(RENAME),), (PARSE("", RENAME), BIND("", ""), EXECUTE(""), SYNC)])
@pytest.mark.parametrize("last", [m.TERMINATE, b"?\0\0\0\4"], ids=["terminated", "broken"])
def test_a_change_that_was_not_answered_is_told(session: Conversation, asked: tuple[bytes, ...], last: bytes) -> None:
    session.client(*asked, last)
    assert session.ended
    assert told(session)[-1] == ({"ALTER"}, {"a", "b"})


def test_so_is_one_that_may_be_committed(session: Conversation) -> None:
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.client(QUERY(RENAME))
    session.target(COMPLETE("ALTER TABLE"), ready("T"))
    session.client(QUERY("commit"), m.TERMINATE)
    assert told(session)[-1] == ({"ALTER"}, {"a", "b"})


def test_whoever_drives_it_may_say_that_the_target_is_gone(session: Conversation) -> None:
    session.client(QUERY(RENAME))
    session.core.over()
    assert told(session)[-1] == ({"ALTER"}, {"a", "b"})


def test_a_session_that_changed_nothing_tells_nothing(session: Conversation) -> None:
    session.client(QUERY("insert into t values (1)"), m.TERMINATE)
    assert session.ended
    assert not told(session)


def test_what_is_sent_is_under_way_until_its_transaction_has_ended(session: Conversation) -> None:
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    session.client(QUERY(RENAME))
    assert session.names.under_way == {"a", "b"}
    session.target(COMPLETE("ALTER TABLE"), ready("T"))
    assert session.names.under_way == {"a", "b"}
    session.client(QUERY("commit"))
    session.target(COMPLETE("COMMIT"), ready())
    assert not session.names.under_way
    session.client(QUERY(RENAME))
    assert session.names.under_way == {"a", "b"}
    session.client(m.TERMINATE)
    assert not session.names.under_way
