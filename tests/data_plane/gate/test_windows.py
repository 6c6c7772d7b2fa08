"""A window: further operations of one shape run without asking, each use spent first, and never more than was granted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from data_plane.gate.grants import Window
from data_plane.gate.interface import Allowed, Code, Denied, Held
from data_plane.gate.ports import Answer, Answered
from data_plane.gate.windows import TIME_OVER, USED_UP
from data_plane.policy.snapshot import SnapshotIdentity
from tests.data_plane.gate.worlds import IDENTITIES, NOW, RAW, RULES, WRITE, Listener, World, settled, sign
from tests.support.policies import READS, WRITES, allow, deny, hold, session, subject

SHAPE, OTHER = b"s" * 32, b"o" * 32
MINUTES = 600
TICKETS = [allow(match=READS), hold(match=WRITES, hold={"wait": "10m", "then": "ticket"})]


def window(uses: int = 3, seconds: float = MINUTES, shape: bytes = SHAPE) -> dict[str, Any]:
    return {"scope": "window", "window": Window(shape, int((NOW + seconds) * 1000), uses)}


async def run(world: World, *, shape: bytes = SHAPE, gate: Any = None, raw: bytes = RAW, **changed: Any) -> Any:
    """One operation that policy holds: its verdict, or None when people are asked."""
    listener = Listener()
    asked = len(world.approvals.requests)
    held = world.hold(listener, gate=gate, raw=raw, parts=(b"DELETE 1;", raw), shape=shape, **changed)
    await settled()
    if len(world.approvals.requests) > asked:
        held.cancel("not awaited")
        return None
    return await asyncio.wait_for(listener.verdict(), 5)


async def opened(uses: int = 3, seconds: float = MINUTES, rules: list[dict] | None = None, **changed: Any) -> World:
    """With the first use done."""
    world, listener = World(rules), Listener()
    world.hold(listener, shape=SHAPE, **changed)
    world.approvals.is_pending()
    await settled()
    world.approve(**window(uses, seconds))
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    world.gate.executed(verdict.permit, "done", "DELETE 1")
    return world


async def test_a_further_operation_of_the_shape_runs_without_asking() -> None:
    world = await opened()
    before = len(world.log)
    raw = b"Q\0\0\0\x10DELETE 2;\0"
    verdict = await run(world, raw=raw)
    assert isinstance(verdict, Allowed)
    assert verdict.permit.raw is raw
    digest = world.operation(raw).digest
    assert world.log[before:] == [
        ("decided", 1, "hold", "write", ("p/hold",), ""),
        ("spent", b"n" * 16, 2),
        ("consumed", "apr_1", b"n" * 16, 2, world.log[before + 2][4]),
        ("held", 1, "apr_1", world.log[before + 2][4], "K7F3", "nobody: a window is open"),
        ("hold-ended", 1, "apr_1", "approved", "use 2 of 3 of a window", ("ada",)),
        ("durable",),
    ]
    assert len(digest) == len(world.log[before + 2][4])
    world.gate.executed(verdict.permit, "failed", "23503")
    assert world.log[-1] == ("finished", "apr_1", "failed", "23503", 2)


async def test_the_first_operation_is_the_first_use() -> None:
    world = await opened()
    assert ("spent", b"n" * 16, 1) in world.log
    assert ("finished", "apr_1", "done", "DELETE 1", 1) in world.log


async def test_when_its_uses_are_over_people_are_asked_again_and_the_control_plane_is_told() -> None:
    world = await opened(uses=2)
    verdict = await run(world)
    assert "cancelled" not in world.logged()
    world.gate.executed(verdict.permit, "done", "DELETE 1")
    assert world.log[-2:] == [("finished", "apr_1", "done", "DELETE 1", 2), ("cancelled", "apr_1", USED_UP)]
    assert await run(world) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": OTHER},
        {"shape": b""},
        {"gate": "another session"},
    ],
)
async def test_whatever_differs_is_held_again(changed: dict) -> None:
    world = await opened()
    if changed.pop("gate", ""):
        other = session(id="ses_2")
        assert await run(world, gate=world.open(other), session="ses_2", shape=SHAPE) is None
    else:
        assert await run(world, **changed) is None
    assert isinstance(await run(world), Allowed)


async def test_an_operation_that_another_rule_holds_is_held_again() -> None:
    world = await opened(rules=[*RULES, hold("updates", match={"verbs": ["UPDATE"]})])
    listener = Listener()
    update = subject("write", "UPDATE", tables=("public.a",))
    held = world.gate.judge(1, (update,), RAW)
    assert isinstance(held, Held)
    world.gate.hold(world.operation(RAW, (update,), shape=SHAPE), held, RAW, listener)
    await settled()
    assert len(world.approvals.requests) == 2


async def test_an_operation_that_cannot_be_held_to_the_row_guard_is_held_again() -> None:
    world, listener = World(), Listener()
    world.hold(listener, shape=SHAPE, guardable=True)
    world.approve(**window(), most_rows=5)
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    world.gate.executed(verdict.permit, "done", "")
    assert await run(world) is None
    guarded = await run(world, guardable=True)
    assert guarded.permit.most_rows == 5


async def test_one_use_runs_at_a_time() -> None:
    world = await opened()
    assert isinstance(await run(world), Allowed)
    assert await run(world) is None


# ------------------------------------------------------------------ over


async def test_after_its_time_people_are_asked_again() -> None:
    world = await opened(seconds=60)
    world.clock.at = NOW + 60.001
    assert await run(world) is None
    assert ("cancelled", "apr_1", TIME_OVER) in world.log


async def test_a_clock_that_is_set_back_brings_no_time() -> None:
    world = await opened(seconds=60)
    world.clock.at -= 3600
    world.clock.ticks += 60.001
    assert await run(world) is None


CHANGES: list[dict[str, Any]] = [
    {"rules": [*RULES, allow("more", match={"action": "ddl"})]},
    {"identities": IDENTITIES[:1]},
    {"identities": (IDENTITIES[0], SnapshotIdentity("idn_ada", "ada", "person", ("dba",), disabled=True))},
    {"identities": (IDENTITIES[0], SnapshotIdentity("idn_ada", "ada", "machine", ("dba",)))},
]


@pytest.mark.parametrize("changed", CHANGES)
async def test_when_what_it_stands_on_has_changed_people_are_asked_again(changed: dict) -> None:
    world = await opened()
    world.apply(**changed)
    assert await run(world) is None
    assert world.logged("cancelled") != []


async def test_a_snapshot_that_changes_nothing_for_it_does_not_end_it() -> None:
    world = await opened()
    world.apply()
    assert isinstance(await run(world), Allowed)


async def test_what_policy_denies_now_is_denied_and_the_window_is_over() -> None:
    world = await opened()
    world.apply([deny(match=WRITES)])
    assert isinstance(world.gate.judge(2, (WRITE,), RAW), Denied)
    world.apply()
    assert await run(world) is None


async def test_the_control_plane_takes_it_back() -> None:
    world = await opened()
    world.approvals.watched["apr_1"]("ended by bob")
    assert world.log[-1] == ("cancelled", "apr_1", "ended by bob")
    assert await run(world) is None


async def test_taken_back_while_a_use_is_being_spent_nothing_runs() -> None:
    world, listener = await opened(), Listener()
    world.nonces.gate.clear()
    world.hold(listener, shape=SHAPE)
    await settled()
    world.approvals.watched["apr_1"]("ended by bob")
    world.nonces.gate.set()
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.WITHDRAWN
    assert world.log[-2:] == [
        ("finished", "apr_1", "failed", f"not run: {verdict.message}", 2),
        ("cancelled", "apr_1", "ended by bob"),
    ]


async def test_taken_back_while_an_operation_runs_it_is_reported_first() -> None:
    world = await opened()
    verdict = await run(world)
    world.approvals.watched["apr_1"]("ended by bob")
    assert "cancelled" not in world.logged()
    world.gate.executed(verdict.permit, "done", "DELETE 1")
    assert world.logged()[-2:] == ["finished", "cancelled"]


async def test_taken_back_before_its_first_use_runs_nothing_runs() -> None:
    world, listener = World(), Listener()
    world.recorder.disk.clear()
    world.hold(listener, shape=SHAPE)
    world.approve(**window())
    await settled()
    world.approvals.watched["apr_1"]("a policy has changed")
    world.recorder.disk.set()
    assert isinstance(await listener.verdict(), Denied)
    assert world.logged()[-3:] == ["finished", "cancelled", "hold-ended"]
    assert await run(world) is None


async def test_with_its_session_the_window_is_over() -> None:
    world = await opened()
    verdict = await run(world)
    assert isinstance(verdict, Allowed)
    world.gate.close("client-closed")
    assert world.log[-2:] == [
        ("finished", "apr_1", "outcome-unknown", "client-closed", 2),
        ("cancelled", "apr_1", "client-closed"),
    ]


async def test_without_a_lease_nothing_runs() -> None:
    world = await opened()
    held = world.gate.judge(1, (WRITE,), RAW)
    assert isinstance(held, Held)
    world.lease.valid = False
    listener = Listener()
    world.gate.hold(world.operation(shape=SHAPE), held, RAW, listener)
    assert isinstance(await listener.verdict(), Denied)
    assert world.logged("spent") == ["spent"]


# ------------------------------------------------------------------ what goes wrong


async def test_a_client_that_goes_away_while_a_use_is_spent_runs_nothing() -> None:
    world, listener = await opened(), Listener()
    world.nonces.gate.clear()
    held = world.hold(listener, shape=SHAPE)
    await settled()
    held.cancel("client-disconnected")
    world.nonces.gate.set()
    await settled()
    assert listener.verdicts == []
    assert world.log[-1] == ("finished", "apr_1", "failed", "not run: nobody waits for it any more", 2)
    again = await run(world)
    assert isinstance(again, Allowed)
    assert ("spent", b"n" * 16, 3) in world.log


@pytest.mark.parametrize("spoil", ["nonces", "recorder"])
async def test_a_journal_or_a_recording_that_fails_ends_it(spoil: str) -> None:
    world, listener = await opened(), Listener()
    held = world.gate.judge(1, (WRITE,), RAW)
    assert isinstance(held, Held)
    if spoil == "nonces":
        world.nonces.broken = True
    else:
        world.recorder.broken = "the disk is full"
    world.gate.hold(world.operation(shape=SHAPE), held, RAW, listener)
    assert isinstance(await listener.verdict(), Denied)
    assert world.logged()[-1] == "cancelled"


async def test_a_use_that_was_spent_elsewhere_runs_nothing() -> None:
    world = await opened()
    world.nonces.spent[b"n" * 16] = 2
    verdict = await run(world)
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.INVALID_GRANT
    assert await run(world) is None


async def test_what_would_be_sent_must_be_what_was_described() -> None:
    world, listener = await opened(), Listener()
    held = world.gate.judge(1, (WRITE,), b"other")
    assert isinstance(held, Held)
    world.gate.hold(world.operation(shape=SHAPE), held, b"other", listener)
    assert isinstance(await listener.verdict(), Denied)


WRONG: list[dict[str, Any]] = [
    {"scope": "once"},
    {"scope": "once", "window": window()["window"]},
    {"scope": "window", "window": None},
    {"scope": "always", "window": window()["window"]},
    window(shape=OTHER),
    window(shape=b""),
    window(uses=0),
    window(seconds=-1),
]


@pytest.mark.parametrize("wrong", WRONG[1:])
async def test_a_grant_whose_window_does_not_fit_runs_nothing(wrong: dict) -> None:
    world, listener = World(), Listener()
    world.hold(listener, shape=SHAPE)
    world.approve(**wrong)
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.INVALID_GRANT
    assert "spent" not in world.logged()


async def test_an_operation_without_a_shape_takes_no_window() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approve(**window(shape=b""))
    assert isinstance(await listener.verdict(), Denied)


async def test_a_ticket_takes_no_window() -> None:
    world, listener = World(TICKETS), Listener()
    world.hold(listener, shape=SHAPE)
    await settled()
    world.approve(**window())
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert "another scope" in verdict.message


async def test_the_grant_of_a_window_is_not_taken_a_second_time() -> None:
    world = await opened()
    grant = sign(world.contents(**window()))
    world.gate.close("over")
    world.gate = world.open()
    listener = Listener()
    world.hold(listener, shape=SHAPE)
    world.approvals.answer(Answered(Answer.APPROVED, grant=grant))
    assert isinstance(await listener.verdict(), Denied)
    assert await run(world) is None
