"""The impact preview of a hold: there before people are asked, within its limits, and never in the way of the hold."""

from __future__ import annotations

import asyncio
import json

import pytest

from data_plane.gate import impact
from data_plane.gate.impact import DryRun, Fact, Figure, Impact, Keys
from data_plane.gate.interface import Allowed, Denied
from tests.data_plane.gate.worlds import Listener, World, settled
from tests.support.policies import READS, WRITES, allow, hold


class Preview:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.found: asyncio.Future[Impact] = asyncio.get_running_loop().create_future()
        self.calls = 0

    async def __call__(self) -> Impact:
        self.calls += 1
        return await self.found


async def test_people_are_asked_when_the_preview_is_there_and_with_it() -> None:
    world, preview = World(), Preview()
    world.hold(Listener(), preview=preview)
    await settled()
    assert world.approvals.requests == []
    preview.found.set_result(Impact(count=Figure(50_000)))
    await settled()
    assert json.loads(world.approvals.requests[0].impact)["count"]["rows"] == 50_000


async def test_without_a_preview_people_are_asked_at_once() -> None:
    world = World()
    world.hold(Listener())
    assert [request.impact for request in world.approvals.requests] == [""]


async def test_a_preview_that_fails_does_not_stop_the_hold_and_the_card_says_why() -> None:
    world, preview, listener = World(), Preview(), Listener()
    world.hold(listener, preview=preview)
    preview.found.set_exception(ValueError("with data of a row"))
    await settled()
    told = world.approvals.requests[0].impact
    assert "there is no preview: it failed (ValueError)" in told
    assert "data of a row" not in told
    world.approve()
    assert isinstance(await listener.verdict(), Allowed)


async def test_a_preview_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impact, "LONGEST_SECONDS", 0.01)
    world, preview = World(), Preview()
    world.hold(Listener(), preview=preview)
    async with asyncio.timeout(5):
        await asyncio.wait([preview.found])
    await settled()
    assert "there is no preview: it failed (TimeoutError)" in world.approvals.requests[0].impact


async def test_a_client_that_gives_up_during_the_preview_is_nobodys_request() -> None:
    world, preview, listener = World(), Preview(), Listener()
    hold = world.hold(listener, preview=preview)
    await settled()
    hold.cancel("client-disconnected")
    await settled()
    assert preview.found.cancelled(), "nothing is looked up for nobody"
    assert world.approvals.requests == []
    assert world.logged("cancelled") == []
    assert world.logged("hold-ended") == ["hold-ended"]
    assert listener.verdicts == []


async def test_the_clients_wait_runs_during_the_preview() -> None:
    world, listener = World([allow(match=READS), hold(match=WRITES, hold={"wait": "20ms"})]), Listener()
    world.hold(listener, preview=Preview())
    assert isinstance(await listener.verdict(), Denied)
    assert world.approvals.requests == []


async def test_a_ticket_is_previewed_when_it_is_opened_and_not_when_its_client_comes_back() -> None:
    rules = [allow(match=READS), hold(match=WRITES, hold={"wait": "20ms", "then": "ticket"})]
    world, first, again = World(rules), Listener(), Listener()
    opened, back = Preview(), Preview()
    opened.found.set_result(Impact(count=Figure(3)))
    world.hold(first, preview=opened)
    assert isinstance(await first.verdict(), Denied)
    world.hold(again, preview=back)
    assert isinstance(await again.verdict(), Denied)
    assert (opened.calls, back.calls) == (1, 0)
    assert json.loads(world.approvals.requests[0].impact)["count"]["rows"] == 3


async def test_the_permit_carries_the_row_guard_of_the_grant() -> None:
    world, listener = World(), Listener()
    world.hold(listener, guardable=True)
    world.approve(most_rows=55_000)
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    assert verdict.permit.most_rows == 55_000


async def test_a_row_guard_that_cannot_be_enforced_runs_nothing_and_spends_nothing() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approve(most_rows=55_000)
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert "row guard" in verdict.message
    assert world.logged("spent", "cancelled") == ["cancelled"]


def test_what_is_too_large_is_left_out_and_said() -> None:
    large = Impact(
        facts=tuple(Fact("table", "x" * 1000) for _ in range(100)),
        dry_run=DryRun(3, keys=Keys(("id",), (("1",),))),
        count=Figure(3),
    )
    told = json.loads(impact.encode(large))
    assert told["facts"] == []
    assert told["count"]["rows"] == told["dry_run"]["rows"] == 3
    assert told["dry_run"]["keys"] is None
    assert "too large" in told["notes"][0]
