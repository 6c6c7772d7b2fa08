"""A permit of people that could not be sent at once is looked at again before it is (DESIGN invariant 7)."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.gate.interface import Allowed, Code, Denied, Permit
from tests.data_plane.gate.test_windows import opened, run, window
from tests.data_plane.gate.worlds import RULES, Listener, World
from tests.support.policies import DDL, READS, WRITES, allow, deny, hold


async def approved(world: World, **grant: Any) -> Permit:
    listener = Listener()
    world.hold(listener)
    world.approve(**grant)
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    return verdict.permit


def refused(world: World, permit: Permit) -> Code | None:
    denied = world.gate.stands(permit)
    return denied.code if isinstance(denied, Denied) else None


async def test_an_approval_stands_while_nothing_changes() -> None:
    world = World()
    permit = await approved(world)
    assert refused(world, permit) is None
    world.apply()
    world.apply(rules=[*RULES, deny(match=DDL)])
    assert refused(world, permit) is None


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"rules": [deny(match=WRITES)]}, Code.WITHDRAWN),
        ({"rules": [allow(match=READS), hold(match=WRITES, approval="finance")]}, Code.WITHDRAWN),
        ({"revoked_credentials": ("crd_1",)}, Code.ENDED),
        ({"targets": ()}, Code.ENDED),
    ],
)
async def test_what_changes_takes_it_back(changed: dict[str, Any], code: Code) -> None:
    world = World()
    permit = await approved(world)
    world.apply(**changed)
    assert refused(world, permit) is code


async def test_without_a_lease_or_after_its_time_it_does_not_stand() -> None:
    world = World()
    permit = await approved(world)
    world.clock.at += 400
    assert refused(world, permit) is Code.EXPIRED
    world.lease.valid = False
    assert refused(world, permit) is Code.UNAVAILABLE


async def test_it_is_looked_at_once_only_until_it_has_run() -> None:
    world = World()
    permit = await approved(world)
    world.gate.executed(permit, "done", "DELETE 1")
    assert refused(world, permit) is Code.ENDED
    assert refused(world, Permit(permit.raw, permit.decision)) is Code.ENDED, "nor is one that people never gave"


async def test_a_use_of_a_window_stands_as_long_as_the_window() -> None:
    world = await opened()
    verdict = await run(world)
    assert refused(world, verdict.permit) is None
    world.approvals.watched["apr_1"]("ended by bob")
    denied = world.gate.stands(verdict.permit)
    assert isinstance(denied, Denied)
    assert "ended by bob" in denied.message


async def test_the_first_use_of_a_window_stands_as_long_as_the_window() -> None:
    world, listener = World(), Listener()
    world.hold(listener, shape=b"s" * 32)
    world.approve(**window(shape=b"s" * 32))
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    world.approvals.watched["apr_1"]("ended by bob")
    assert refused(world, verdict.permit) is Code.WITHDRAWN


async def test_whatever_goes_wrong_when_it_is_looked_at_is_a_denial() -> None:
    world = World()
    permit = await approved(world)
    world.state.current = object()  # type: ignore[assignment]
    assert refused(world, permit) is Code.ENDED
