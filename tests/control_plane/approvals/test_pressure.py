"""Nobody asks people more than they can read: what waits is limited, and a flood locks its requester."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from sqlmodel import select

from control_plane.approvals.domain import Outcome, State
from control_plane.approvals.errors import LockedError, TooManyWaitError
from control_plane.approvals.limits import Limits
from control_plane.approvals.pressure import Pressure
from control_plane.approvals.reports import DecidedAnswer, PendingAnswer
from control_plane.assembly import ControlPlane
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.approvals.planning import FIRST, approved_plan, hold, submit
from tests.control_plane.world import World

LIMITS = Limits(waiting=3, in_a_minute=5, lock_seconds=60)


@pytest.fixture
async def limited(world: World) -> World:
    world.approvals._pressure = world.petitions._pressure = Pressure(LIMITS, world.neighbours)
    await world.open_session()
    return world


def pressure(world: World) -> Pressure:
    return world.approvals._pressure


async def notices(world: World, kind: str) -> list[NoticeRow]:
    async with world.units.reading() as uow:
        return [row for row in (await uow.session.exec(select(NoticeRow))).all() if row.kind == kind]


async def test_beyond_the_limit_nothing_more_waits_and_the_client_is_told_why(limited: World) -> None:
    waiting = [await limited.ask() for _ in range(3)]
    assert all(isinstance(answer, PendingAnswer) for answer in waiting)
    refused = await limited.ask()
    assert isinstance(refused, DecidedAnswer)
    assert refused.outcome is Outcome.REFUSED
    assert refused.reason.startswith("3 requests of this requester wait for people already")
    assert await limited.state(refused.approval_id) == State.REFUSED
    await limited.deny("ada", waiting[0].approval_id)
    assert isinstance(await limited.ask(), PendingAnswer)


async def test_the_alert_of_the_limit_comes_once_a_minute(limited: World) -> None:
    for _ in range(5):
        await limited.ask()
    assert [notice.data["requester"] for notice in await notices(limited, "fatigue.limit-reached")] == ["bot"]
    limited.clock.advance(61)
    await limited.ask()
    assert len(await notices(limited, "fatigue.limit-reached")) == 2


async def test_what_a_plan_covers_does_not_wait_and_is_not_limited(limited: World) -> None:
    await approved_plan(limited, FIRST)
    for _ in range(3):
        await limited.ask()
    answer = await hold(limited, FIRST)
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.APPROVED


async def test_plans_are_limited_with_everything_else_that_waits(limited: World) -> None:
    for _ in range(3):
        await submit(limited, FIRST)
    with pytest.raises(TooManyWaitError):
        await submit(limited, FIRST)
    refused = await limited.ask()
    assert isinstance(refused, DecidedAnswer)


async def test_other_requesters_are_not_limited_by_it(limited: World) -> None:
    for _ in range(4):
        await limited.ask()
    await limited.open_session("ses_2", requester_id="idn_eve")
    assert isinstance(await limited.ask(limited.request(session_id="ses_2", requester_id="idn_eve")), PendingAnswer)


async def flood(world: World) -> list[str]:
    return [(await world.ask()).approval_id for _ in range(6)]


async def test_a_flood_locks_the_requester_and_takes_back_what_waits(limited: World) -> None:
    asked = await flood(limited)
    assert [await limited.state(one) for one in asked] == ["voided"] * 3 + ["refused"] * 3
    assert "locked until 03:05:05 UTC" in (await limited.view(asked[-1])).row.reason
    (told,) = await limited.audited("fatigue.locked")
    assert json.loads(told.data)["taken_back"] == 3
    (notice,) = await notices(limited, "fatigue.locked")
    assert (notice.data["requester"], notice.data["asked"]) == ("bot", 6)
    with pytest.raises(LockedError):
        await submit(limited, FIRST)


async def test_two_replicas_count_one_after_the_other(limited: World) -> None:
    other = limited.on_another_replica()
    answers = await asyncio.gather(*(one.ask() for one in (limited, other) * 4))
    assert sum(isinstance(answer, PendingAnswer) for answer in answers) == 3
    assert len(await limited.audited("fatigue.locked")) == 1
    assert {await limited.state(answer.approval_id) for answer in answers} == {State.VOIDED, State.REFUSED}
    await other.database.close()


async def test_a_lock_ends_by_itself_and_begins_anew(limited: World) -> None:
    await flood(limited)
    limited.clock.advance(59)
    assert isinstance(await limited.ask(), DecidedAnswer)
    limited.clock.advance(1)
    assert isinstance(await limited.ask(), PendingAnswer)
    assert len(await limited.audited("fatigue.locked")) == 1


async def test_a_minute_that_is_over_is_forgotten(limited: World) -> None:
    for _ in range(4):
        await limited.deny("ada", (await limited.ask()).approval_id)
        limited.clock.advance(16)
    for _ in range(3):
        assert isinstance(await limited.ask(), PendingAnswer)
    assert await limited.audited("fatigue.locked") == []


async def test_the_same_report_again_counts_once(limited: World) -> None:
    report = limited.request()
    for _ in range(10):
        assert isinstance(await limited.ask(report), PendingAnswer)


async def test_an_admin_sees_and_unlocks_who_is_locked(limited: World) -> None:
    await flood(limited)
    async with limited.units.reading() as uow:
        assert [one.identity_id for one in await pressure(limited).locked(uow)] == ["idn_bot"]
    async with limited.units() as uow:
        assert await pressure(limited).unlock(uow, SYSTEM, "idn_bot")
        assert not await pressure(limited).unlock(uow, SYSTEM, "idn_eve")
    assert isinstance(await limited.ask(), PendingAnswer)
    assert len(await limited.audited("fatigue.unlocked")) == 1


async def test_locks_over_rest(
    control_plane: ControlPlane, machine: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    bot = (await machine.get("/v1/session")).json()["id"]
    async with control_plane.units() as uow:
        for _ in range(201):
            await control_plane.approvals.pressure.asked(uow, bot)
    (locked,) = (await admin.get("/v1/request-locks")).json()
    assert locked == {"identity": "bot", "until": "2026-03-01T12:15:00Z"}
    assert (await machine.get("/v1/request-locks")).status_code == 403
    assert (await admin.delete("/v1/request-locks/bot")).status_code == 204
    assert (await admin.delete("/v1/request-locks/bot")).status_code == 404
    assert (await admin.delete("/v1/request-locks/nobody")).status_code == 404
    assert (await admin.get("/v1/request-locks")).json() == []
