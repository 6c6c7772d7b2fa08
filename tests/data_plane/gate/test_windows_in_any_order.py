"""Whatever happens, in whatever order: never more operations than a window has uses, none after its end, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Allowed
from data_plane.gate.ports import Answer, Answered
from tests.data_plane.gate.test_windows import OTHER, SHAPE, run, window
from tests.data_plane.gate.worlds import NOW, RULES, Listener, World, settled, sign
from tests.support.policies import allow

EVENTS = st.sampled_from(
    [
        "run",
        "run",
        "run",
        "run other",
        "finish",
        "finish",
        "cancel",
        "later",
        "take back",
        "policy",
        "restart",
        "replay",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=25), st.integers(1, 4))
def test_never_more_than_was_granted_nor_after_its_time(events: Sequence[str], uses: int) -> None:
    asyncio.run(_whatever(events, uses))


async def _whatever(events: Sequence[str], uses: int) -> None:
    world, first = World(), Listener()
    world.hold(first, shape=SHAPE)
    granted = window(uses, 100)
    grant = sign(world.contents(**granted))
    world.approvals.answer(Answered(Answer.APPROVED, grant=grant))
    verdict = await first.verdict()
    permits = [verdict.permit] if isinstance(verdict, Allowed) else []
    ran, over, asked_for_others = len(permits), False, 0
    for event in events:
        match event:
            case "run" | "cancel":
                listener = Listener()
                held = world.hold(listener, shape=SHAPE)
                if event == "cancel":
                    held.cancel("gone")
                await settled()
                if listener.verdicts and isinstance(allowed := listener.verdicts[0], Allowed):
                    assert not over, "it ran after it was over"
                    assert world.clock.at <= NOW + 100, "it ran after its time"
                    assert event == "run", "it ran though nobody waited"
                    permits.append(allowed.permit)
                    ran += 1
                else:
                    held.cancel("not awaited")
            case "run other":
                assert await run(world, shape=OTHER) is None
                asked_for_others += 1
            case "finish" if permits:
                world.gate.executed(permits.pop(), "done", "")
            case "later":
                world.clock.at += 40
            case "take back":
                for back in tuple(world.approvals.watched.values()):
                    back("ended by bob")
                over = True
            case "policy":
                world.apply([*RULES, allow(f"more{world.state.version}", match={"action": "ddl"})])
                over = True
            case "restart":
                world.gate.close("crashed")
                world.gate, over, permits = world.open(), True, []
            case "replay":
                listener = Listener()
                held = world.hold(listener, shape=SHAPE)
                if world.approvals.requests[-1].id in world.approvals._callbacks:
                    world.approvals.answer(Answered(Answer.APPROVED, grant=grant))
                await settled()
                if listener.verdicts and isinstance(listener.verdicts[0], Allowed):
                    assert not over
                    permits.append(listener.verdicts[0].permit)
                    ran += 1
                held.cancel("not awaited")
    spent = [entry[1:] for entry in world.log if entry[0] == "spent"]
    consumed = [entry[3] for entry in world.log if entry[0] == "consumed"]
    assert ran <= uses
    assert ran <= len(consumed) <= uses
    assert consumed == sorted(set(consumed))
    assert len({use for _, use in spent if use > 1}) == len([use for _, use in spent if use > 1])
