"""Tickets on disk: shared by workers, held by one client at a time, gone when they are used or late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_plane.gate.interface import Pending
from data_plane.gate.ports import Answer, Answered, KeptTicket, SignedGrant
from data_plane.identifiers import ApprovalId
from data_plane.link import tickets
from data_plane.link.nonces import Spent, SpentNonces
from data_plane.link.siblings import SiblingNews
from data_plane.link.tickets import StoredTickets, TooManyTicketsError

KEY = ("idn_1", "crd_1", "orders", b"d" * 32)
OTHER = ("idn_1", "crd_1", "orders", b"e" * 32)
ONE, TWO = ApprovalId("apr_1"), ApprovalId("apr_2")
PENDING = Pending(ONE, "K7F3", "https://x", "1 of group dba", ("p/r",), 20)
APPROVED = Answered(Answer.APPROVED, grant=SignedGrant(b"payload", b"signature", "k1"))


class Clock:
    at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Agent:
    """Two workers of one agent."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "nonces.db"
        self.clock = Clock()
        self.heard: list[ApprovalId] = []
        self.flushed = 0
        self.workers = [self.worker("ins_1"), self.worker("ins_2")]

    def worker(self, instance: str) -> StoredTickets:
        return StoredTickets(self.file, self.clock, instance, self, self.flush)

    def tell(self, approval: ApprovalId) -> None:
        self.heard.append(approval)

    def flush(self, seconds: float) -> bool:
        self.flushed += 1
        return seconds > 0

    def restarted(self, asked: tuple[str, ...] = (ONE, TWO)) -> tickets.Left:
        """The first worker."""
        self.workers[0].close()
        self.workers[0] = self.worker("ins_1")
        return self.workers[0].recover(asked)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    for worker in agent.workers:
        worker.close()


def fresh(approval: ApprovalId = ONE, owner: str = "ins_1") -> KeptTicket:
    return KeptTicket(approval, owner, 7, ("p/r",), 1900.0)


async def test_what_one_worker_hears_another_serves(agent: Agent) -> None:
    first, second = agent.workers
    assert await first.take(KEY, fresh()) == fresh()
    await first.leave(ONE)
    await first.tell(ONE, PENDING, None)
    await first.tell(ONE, None, APPROVED)
    assert agent.heard == [ONE, ONE]
    found = await second.take(KEY, fresh(TWO, "ins_2"))
    assert found == KeptTicket(ONE, "ins_1", 7, ("p/r",), 1900.0, True, PENDING, APPROVED)
    assert await first.read(ONE) == found


async def test_one_client_at_a_time_holds_a_ticket(agent: Agent) -> None:
    first, second = agent.workers
    taken = await asyncio.gather(first.take(KEY, fresh()), second.take(KEY, fresh(TWO, "ins_2")))
    assert sum(one is not None for one in taken) == 1
    holder, other = (first, second) if taken[0] else (second, first)
    [won] = [one.approval for one in taken if one]
    await other.leave(won)
    assert await other.take(KEY, fresh(TWO)) is None, "only its holder leaves it"
    await holder.leave(won)
    assert await other.take(KEY, fresh(TWO)) is not None
    assert await first.take(OTHER, fresh(ApprovalId("apr_3"))) is not None


async def test_what_is_late_or_spent_is_no_ticket(agent: Agent) -> None:
    first, second = agent.workers
    await first.take(KEY, fresh())
    await first.leave(ONE)
    agent.clock.at = 1900.0
    again = await second.take(KEY, KeptTicket(TWO, "ins_2", 7, (), 3000.0))
    assert again is not None
    assert again.approval == TWO
    nonces = SpentNonces(agent.file, agent.clock, "ins_2")
    await nonces.spend(b"n" * 16, TWO)
    third = await first.take(KEY, KeptTicket(ApprovalId("apr_3"), "ins_1", 7, (), 3000.0))
    assert third is not None
    assert third.approval == "apr_3"
    nonces.close()


async def test_a_ticket_is_removed_once_and_after_what_was_reported_of_it(agent: Agent) -> None:
    first, second = agent.workers
    await first.take(KEY, fresh())
    assert await second.remove(ONE)
    assert (agent.flushed, agent.heard) == (1, [ONE])
    assert not await first.remove(ONE)


async def test_after_a_restart_the_issued_are_good_and_the_others_end_with_their_sessions(agent: Agent) -> None:
    first, second = agent.workers
    await first.take(KEY, fresh())
    await first.leave(ONE)
    await first.take(OTHER, fresh(TWO))
    left = agent.restarted()
    assert [one.approval for one in left.tickets] == [ONE]
    assert await second.take(OTHER, fresh(ApprovalId("apr_3"), "ins_2")) is not None
    assert agent.restarted(asked=()).tickets == [], "the request was lost with the crash: it is asked anew"


async def test_a_client_that_waited_with_an_issued_ticket_at_a_crash_may_come_back(agent: Agent) -> None:
    first, second = agent.workers
    await second.take(KEY, fresh(TWO, "ins_2"))
    await second.leave(TWO)
    await first.take(KEY, fresh())
    agent.restarted()
    found = await agent.workers[0].take(KEY, fresh())
    assert found is not None
    assert found.approval == TWO


async def test_what_another_had_asked_for_and_this_one_spent_is_told_after_a_crash(agent: Agent) -> None:
    """Invariant 6: its outcome is unknown."""
    first, second = agent.workers
    await second.take(KEY, fresh(TWO, "ins_2"))
    await second.leave(TWO)
    await first.take(KEY, fresh())
    nonces = SpentNonces(agent.file, agent.clock, "ins_1")
    await nonces.spend(b"n" * 16, TWO)
    left = agent.restarted()
    assert (left.tickets, left.used) == ([], [TWO])
    assert nonces.spent_for([TWO]) == {TWO: Spent(b"n" * 16, here=True)}
    agent.workers[0].forget(left.used)
    assert agent.restarted().used == []
    nonces.close()


@pytest.mark.parametrize("late", [False, True])
async def test_what_was_spent_before_a_crash_is_told_also_when_its_client_was_quicker_than_the_restart(
    agent: Agent, late: bool
) -> None:
    """Invariant 6: its outcome is unknown, whoever has asked for the same operation since."""
    first, second = agent.workers
    await second.take(KEY, fresh(TWO, "ins_2"))
    await second.leave(TWO)
    await first.take(KEY, fresh())
    nonces = SpentNonces(agent.file, agent.clock, "ins_1")
    await nonces.spend(b"n" * 16, TWO)
    if late:
        agent.clock.at = 1900.0
        second.recover(())
    anew = await second.take(KEY, KeptTicket(ApprovalId("apr_3"), "ins_2", 7, (), 3000.0))
    assert anew is not None
    assert anew.approval == "apr_3"
    assert agent.restarted().used == [TWO]
    nonces.close()


async def test_the_number_of_tickets_is_bounded(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 11."""
    monkeypatch.setattr(tickets, "_MOST", 1)
    first, _ = agent.workers
    await first.take(KEY, fresh())
    with pytest.raises(TooManyTicketsError):
        await first.take(OTHER, fresh(TWO))


async def test_news_reach_the_other_workers_and_never_oneself(tmp_path: Path) -> None:
    heard: asyncio.Queue[tuple[str, ApprovalId]] = asyncio.Queue()
    workers = {name: SiblingNews(tmp_path / "workers", name) for name in ("a", "b", "c")}
    for name, news in workers.items():
        news.listen(lambda approval, name=name: heard.put_nowait((name, approval)))
    workers["a"].tell(ONE)
    assert {await heard.get(), await heard.get()} == {("b", ONE), ("c", ONE)}
    workers["c"].close()
    workers["a"].tell(TWO)
    assert await heard.get() == ("b", TWO)
    assert heard.empty()
    for name in ("a", "b"):
        workers[name].close()
    assert list((tmp_path / "workers").iterdir()) == []
