"""Between a batch that ends with Flush and the next ReadyForQuery nobody knows whether a transaction is open.

Invariants 1 and 2: a row guard that takes it for known would end the client's own transaction, or none.
"""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres.answers import encode_parameter_status
from data_plane.protocols.postgres.core import Limits
from data_plane.protocols.postgres.core.widening import Stage
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSED,
    COMPLETE,
    DESCRIPTION,
    EXECUTE,
    FLUSH,
    PARSE,
    PARSED,
    QUERY,
    ROW,
    SYNC,
    Conversation,
    error,
    frames,
    ready,
)
from tests.data_plane.protocols.postgres.core.small_server import SmallServer
from tests.data_plane.protocols.postgres.core.widened import widened


def flushed(text: str) -> bytes:
    return PARSE("", text) + BIND("", "") + EXECUTE("") + FLUSH


def done(tag: str, status: str) -> bytes:
    """The server's answer to a statement of the guard's own."""
    return CLOSED + PARSED + BOUND + COMPLETE(tag) + CLOSED + ready(status)


class Served(Conversation):
    """With a server that answers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.server = SmallServer()

    def says(self, *messages: bytes) -> None:
        self.client(*messages)
        self.answered()

    def answered(self) -> None:
        while self.to_target_bytes:
            sent, self.to_target_bytes = bytes(self.to_target_bytes), bytearray()
            for frame in frames(sent):
                if answer := self.server.answers(frame):
                    self.target(answer)


@pytest.mark.parametrize(
    ("before", "unsynced"), [((), "begin"), ((QUERY("begin"),), "commit")], ids=["begins one", "ends one"]
)
def test_a_row_guard_is_refused_where_a_transaction_may_be_open(before: tuple[bytes, ...], unsynced: str) -> None:
    talk = Served()
    talk.says(*before, flushed(unsynced))
    talk.says(QUERY("delete from t"))
    asked = talk.operations[0]
    assert (asked.in_transaction, asked.guardable) == (True, False)
    talk.approve(most_rows=2)
    talk.answered()
    assert "delete from t" not in talk.server.log
    assert (talk.ended, any("send Sync first" in told for told in talk.take_client())) == ("", True)


def test_a_row_guard_holds_again_once_the_server_has_said_where_it_is() -> None:
    talk = Served()
    talk.says(flushed("begin"), flushed("commit"), SYNC)
    talk.says(QUERY("delete from t"))
    assert (talk.operations[0].in_transaction, talk.operations[0].guardable) == (False, True)


def test_what_was_only_parsed_leaves_all_as_it_was() -> None:
    """Drivers that prepare with Flush and run with Sync do so for every statement."""
    talk = Served()
    talk.says(PARSE("x", "delete from t") + FLUSH)
    assert talk.core.idle
    talk.says(BIND("", "x") + EXECUTE("") + SYNC)
    assert (talk.operations[0].in_transaction, talk.operations[0].guardable) == (False, True)


def test_a_session_with_work_that_no_sync_has_closed_is_not_idle() -> None:
    talk = Served()
    talk.says(flushed("begin"))
    assert not talk.core.idle
    talk.says(SYNC, QUERY("commit"))
    assert talk.core.idle


def test_an_account_that_is_still_wider_takes_no_batch_after_which_it_cannot_be_looked_at() -> None:
    talk = widened(inside=True)
    talk.target(error(), ready("E"))
    talk.core.account_changed("")
    talk.take_target()
    talk.client(flushed("commit"))
    assert not any("commit" in sent for sent in talk.take_target())
    assert (talk.core._widening.stage, talk.ended) == (Stage.UNSEEN, "")


def test_the_error_of_a_guarded_statement_is_told_also_when_more_came_before_it_than_is_kept_back() -> None:
    talk = Conversation(limits=Limits(withheld_bytes=200))
    talk.client(QUERY("delete from t returning n"))
    talk.approve(most_rows=5)
    talk.target(done("BEGIN", "T"))
    talk.target(DESCRIPTION, *[ROW([b"x" * 100])] * 4, error("57014", "canceled"), ready("E"))
    talk.target(done("ROLLBACK", "I"))
    assert [told.split()[0] for told in talk.take_client()] == ["Error", "Ready"]


def test_a_completion_is_taken_back_also_when_something_else_was_told_behind_it() -> None:
    talk = Conversation()
    talk.client(QUERY("delete from t"))
    talk.approve(most_rows=5)
    talk.target(done("BEGIN", "T"))
    talk.target(COMPLETE("DELETE 2"), encode_parameter_status("TimeZone", "UTC"), ready("T"))
    talk.target(CLOSED + PARSED + BOUND + error("23503") + ready("I"))
    assert [told.split()[0] for told in talk.take_client()] == ["Status", "Error", "Ready"]
