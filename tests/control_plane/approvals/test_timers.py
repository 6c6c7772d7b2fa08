"""Deadlines end what nobody decided: when they come, at start, and after failures; never by looking every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from control_plane.approvals.domain import Outcome, State
from control_plane.approvals.reports import DecidedAnswer
from control_plane.approvals.timers import GRACE_MS, DeadlineKeeper, news_or_timeout
from control_plane.kit.events import Subscription
from control_plane.kit.tasks import spawn, stop
from tests.control_plane.world import World


class Waits:
    """Stands where the keeper waits: records for how long, and lets it go on when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float | None] = asyncio.Queue()
        self._go = asyncio.Event()

    async def __call__(self, _news: Subscription, seconds: float | None) -> None:
        self.asked.put_nowait(seconds)
        await self._go.wait()
        self._go.clear()

    async def next(self) -> float | None:
        async with asyncio.timeout(5):
            return await self.asked.get()

    def go_on(self) -> None:
        self._go.set()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Waits]:
    waits = Waits()
    task = spawn(DeadlineKeeper(world.units, world.events, world.clock, waits).run(), "keeper")
    try:
        yield waits
    finally:
        await stop(task)


async def test_with_nothing_open_it_waits_for_news_only(world: World) -> None:
    async with running(world) as waits:
        assert await waits.next() is None


async def test_it_sleeps_until_the_nearest_deadline(world: World) -> None:
    await world.open_session()
    await world.ask(world.request(wait_until_ms=world.clock.ms + 45_000))
    await world.ask(world.request(wait_until_ms=world.clock.ms + 20_000))
    async with running(world) as waits:
        assert await waits.next() == 20
        world.clock.advance(20)
        waits.go_on()
        assert await waits.next() == 25


async def test_what_nobody_decided_expires_and_is_nobody_s_refusal(world: World) -> None:
    """Invariant 8."""
    approval = await world.held()
    world.clock.advance(601)
    assert await world.keeper.end_what_is_due() is None
    assert await world.answer(approval) == DecidedAnswer(approval, Outcome.EXPIRED, "nobody decided in time")
    expired = (await world.audited("approval.expired"))[0]
    assert (expired.actor_kind, expired.actor_name) == ("system", "system")
    assert (await world.view(approval)).votes == []
    assert await world.audited("approval.denied") == []


async def test_at_start_it_ends_what_was_due_while_nobody_ran(world: World) -> None:
    approval = await world.held()
    world.clock.advance(86_400)
    async with running(world) as waits:
        assert await waits.next() is None
    assert await world.state(approval) == State.EXPIRED


async def test_an_unused_grant_lapses_after_a_grace(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    world.clock.advance(300)
    await world.keeper.end_what_is_due()
    assert await world.state(approval) == State.APPROVED
    world.clock.advance(GRACE_MS / 1000)
    await world.keeper.end_what_is_due()
    assert await world.state(approval) == State.LAPSED
    assert (await world.view(approval)).row.reason == "it was not executed in time"


async def test_a_new_request_wakes_it(world: World) -> None:
    await world.open_session()
    async with world.events.subscribe("approval") as news:
        await world.ask()
        async with asyncio.timeout(5):
            await news_or_timeout(news, None)


async def test_a_timer_of_its_own_ends_it_without_news(world: World) -> None:
    async with world.events.subscribe("nothing") as news, asyncio.timeout(5):
        await news_or_timeout(news, 0.01)


async def test_a_database_that_fails_once_does_not_end_the_keeper(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = await world.held()
    world.clock.advance(601)
    keeper = DeadlineKeeper(world.units, world.events, world.clock, waits := Waits())
    ending = keeper.end_what_is_due
    failures = iter([ConnectionError("the database is away")])

    async def failing() -> float | None:
        for error in failures:
            raise error
        return await ending()

    monkeypatch.setattr(keeper, "end_what_is_due", failing)
    task = spawn(keeper.run(), "keeper")
    assert await waits.next() == 1
    waits.go_on()
    assert await waits.next() is None
    await stop(task)
    assert await world.state(approval) == State.EXPIRED
