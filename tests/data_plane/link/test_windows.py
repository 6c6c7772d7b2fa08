"""Windows in the agent's files: uses are spent once and in order, over restarts, and what became of them is told."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from assentry.v1 import link_pb2 as pb

from data_plane.gate.ports import Answer, Answered
from data_plane.identifiers import ApprovalId
from data_plane.link import messages
from data_plane.link.approvals import LinkApprovals
from data_plane.link.journal import Journal
from data_plane.link.nonces import Spent, SpentNonces
from data_plane.runtime.clock import SystemClock
from tests.contract.stack import approval_request, session_facts

SYSTEM_CLOCK = SystemClock()
NONCE, APPROVAL = b"n" * 16, ApprovalId("apr_1")


def told(journal: Journal, after: int = 0) -> list[tuple[str, str, int]]:
    journal.flush(5)
    found = []
    for _, body in journal.read(after, 100, 1 << 20):
        report = pb.Report.FromString(body)
        kind = str(report.WhichOneof("report"))
        one = getattr(report, kind)
        found.append((kind, getattr(one, "outcome", "") or getattr(one, "reason", ""), getattr(one, "use", 0)))
    return found


async def test_uses_are_spent_in_their_order_and_each_once(tmp_path: Path) -> None:
    nonces = SpentNonces(tmp_path / "nonces.db", SYSTEM_CLOCK, "ins_1")
    assert not await nonces.spend(NONCE, APPROVAL, 2)
    assert await nonces.spend(NONCE, APPROVAL, 1)
    assert not await nonces.spend(NONCE, APPROVAL, 1)
    assert not await nonces.spend(NONCE, APPROVAL)
    assert not await nonces.spend(NONCE, APPROVAL, 3)
    assert await nonces.spend(NONCE, APPROVAL, 2)
    assert not await nonces.spend(NONCE, APPROVAL, 2)
    assert not await nonces.spend(NONCE, ApprovalId("apr_2"), 3)
    assert nonces.spent_for([APPROVAL]) == {APPROVAL: Spent(NONCE, here=True, uses=2)}
    nonces.close()


async def test_of_many_at_once_one_gets_the_use(tmp_path: Path) -> None:
    nonces = SpentNonces(tmp_path / "nonces.db", SYSTEM_CLOCK, "ins_1")
    await nonces.spend(NONCE, APPROVAL, 1)
    assert sum(await asyncio.gather(*(nonces.spend(NONCE, APPROVAL, 2) for _ in range(20)))) == 1
    nonces.close()


async def test_another_worker_neither_goes_on_with_a_window_nor_begins_it_again(tmp_path: Path) -> None:
    here, there = (SpentNonces(tmp_path / "nonces.db", SYSTEM_CLOCK, name) for name in ("ins_1", "ins_2"))
    assert await here.spend(NONCE, APPROVAL, 1)
    assert not await there.spend(NONCE, APPROVAL, 2)
    assert not await there.spend(NONCE, APPROVAL, 1)
    assert await here.spend(NONCE, APPROVAL, 2)
    here.close()
    there.close()


async def test_a_grant_for_one_operation_has_no_second_use(tmp_path: Path) -> None:
    nonces = SpentNonces(tmp_path / "nonces.db", SYSTEM_CLOCK, "ins_1")
    assert await nonces.spend(NONCE, APPROVAL)
    assert not await nonces.spend(NONCE, APPROVAL, 2)
    nonces.close()


async def test_the_file_of_an_agent_that_knew_no_windows_is_read(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "nonces.db")
    old.execute("CREATE TABLE spent (nonce BLOB PRIMARY KEY, approval TEXT NOT NULL, at_ms INTEGER, instance TEXT)")
    old.execute("INSERT INTO spent VALUES (?, 'apr_1', 1, 'ins_1')", (NONCE,))
    old.commit()
    old.close()
    nonces = SpentNonces(tmp_path / "nonces.db", SYSTEM_CLOCK, "ins_1")
    assert nonces.spent_for([APPROVAL]) == {APPROVAL: Spent(NONCE, here=True)}
    assert not await nonces.spend(NONCE, APPROVAL)
    assert await nonces.spend(b"m" * 16, APPROVAL, 1)
    nonces.close()


async def restarted(folder: Path, spent: int, consumed: int, finished: int) -> list[tuple[str, str, int]]:
    """What is told after a crash, when so many uses had been spent, reported as spent, and finished."""
    nonces = SpentNonces(folder / "nonces.db", SYSTEM_CLOCK, "ins_1")
    journal = Journal(folder / "journal.db", SYSTEM_CLOCK)
    request = approval_request(session_facts("ses_1"))
    journal.append(messages.Requested(request, 0))
    for use in range(1, spent + 1):
        assert await nonces.spend(NONCE, request.id, use)
        if use <= consumed:
            journal.append(messages.Consumed(request.id, NONCE, use, b"d" * 32))
        if use <= finished:
            journal.append(messages.Finished(request.id, "done", "DELETE 1", use))
    journal.flush(5)
    last = journal.durable
    journal.close()
    after = Journal(folder / "journal.db", SYSTEM_CLOCK)
    after.recover(nonces)
    found = told(after, last)
    assert after.open_approvals == ()
    after.close()
    again = Journal(folder / "journal.db", SYSTEM_CLOCK)
    again.recover(nonces)
    assert told(again, last) == found, "a second restart tells nothing more"
    again.close()
    nonces.close()
    return found


CANCELLED = ("approval_cancelled", "agent-restarted", 0)


@pytest.mark.parametrize(
    ("spent", "consumed", "finished", "expected"),
    [
        (0, 0, 0, [CANCELLED]),
        (1, 0, 0, [("grant_consumed", "", 1), ("operation_finished", "outcome-unknown", 1), CANCELLED]),
        (1, 1, 0, [("operation_finished", "outcome-unknown", 1), CANCELLED]),
        (1, 1, 1, [CANCELLED]),
        (3, 2, 2, [("grant_consumed", "", 3), ("operation_finished", "outcome-unknown", 3), CANCELLED]),
        (3, 3, 2, [("operation_finished", "outcome-unknown", 3), CANCELLED]),
        (3, 3, 3, [CANCELLED]),
    ],
)
async def test_after_a_crash_each_use_is_accounted_for_and_the_window_is_over(
    tmp_path: Path, spent: int, consumed: int, finished: int, expected: list[tuple[str, str, int]]
) -> None:
    assert await restarted(tmp_path, spent, consumed, finished) == expected


class Taken:
    """A `LinkApprovals` with one request, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal.db", SYSTEM_CLOCK)
        self.approvals = LinkApprovals(self.journal, SYSTEM_CLOCK, lambda: True)
        self.request = approval_request(session_facts("ses_1"))
        self.answers: list[Answered] = []
        self.over: list[str] = []
        self.approvals.request(self.request, lambda _: None, self.answers.append)

    def says(self, answer: Answer, reason: str = "") -> None:
        self.approvals.is_decided(messages.ApprovalDecided(self.request.id, Answered(answer, reason)))

    def watch(self) -> None:
        self.approvals.watch(self.request.id, self.over.append)


async def test_a_window_hears_that_it_is_taken_back(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    taken.says(Answer.APPROVED)
    taken.watch()
    taken.says(Answer.APPROVED)
    assert taken.over == []
    taken.says(Answer.CANCELLED, "ended by bob")
    assert taken.over == ["ended by bob"]
    assert len(taken.answers) == 1
    taken.journal.close()


async def test_what_is_taken_back_before_anybody_watches_is_heard_then(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    taken.says(Answer.APPROVED)
    taken.says(Answer.CANCELLED)
    taken.watch()
    assert taken.over == ["cancelled"]
    taken.journal.close()


async def test_after_a_reconnect_the_control_plane_is_asked_about_windows_until_they_are_over(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    assert taken.approvals.waiting == (taken.request.id,)
    taken.says(Answer.APPROVED)
    assert taken.approvals.waiting == (taken.request.id,)
    taken.watch()
    taken.approvals.consumed(taken.request.id, NONCE, 1)
    taken.approvals.finished(taken.request.id, "done", "", 1)
    assert taken.approvals.waiting == (taken.request.id,)
    taken.approvals.cancel(taken.request.id, "used-up")
    assert taken.approvals.waiting == ()
    assert [kind for kind, *_ in told(taken.journal)][-1] == "approval_cancelled"
    taken.journal.close()


async def test_what_was_approved_for_one_operation_is_not_asked_about_again(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    taken.says(Answer.APPROVED)
    taken.approvals.consumed(taken.request.id, NONCE)
    assert taken.approvals.waiting == ()
    taken.journal.close()
