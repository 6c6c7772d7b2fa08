"""How reviewers decide: times from when they could, shares, and who only stamps."""

from __future__ import annotations

import pytest

from control_plane.approvals import statistics
from control_plane.approvals.domain import Stage
from control_plane.approvals.statistics import Decision, Reviewer, summarized
from tests.control_plane.approvals.acting import asked_of
from tests.control_plane.world import World

SECOND = 1000


def decision(number: int, seconds: float, *, approved: bool = True, **changes: object) -> Decision:
    told: dict[str, object] = {
        "approval_id": f"apr_{number:04}",
        "card_id": f"apr_{number:04}",
        "identity_id": "idn_ada",
        "name": "ada",
        "approved": approved,
        "stage": 0,
        "at_ms": number * 1_000_000 + int(seconds * SECOND),
        "requested_at_ms": number * 1_000_000,
    }
    return Decision(**{**told, **changes})  # type: ignore[arg-type]


def of_ada(*decisions: Decision, from_ms: int = 0, until_ms: int = 10**12) -> Reviewer:
    (found,) = summarized(decisions, from_ms, until_ms)
    return found


def test_median_p90_fastest_and_share():
    ada = of_ada(*(decision(number, number, approved=number != 3) for number in range(1, 11)))
    assert (ada.decisions, ada.approved, ada.share_approved) == (10, 9, 0.9)
    assert (ada.median_seconds, ada.p90_seconds, ada.fastest_seconds) == (5.5, 9.0, 1.0)


def test_a_single_decision_is_its_own_median():
    ada = of_ada(decision(1, 30))
    assert (ada.median_seconds, ada.p90_seconds, ada.fastest_seconds) == (30.0, 30.0, 30.0)


@pytest.mark.parametrize(
    ("count", "seconds", "denied", "flagged"),
    [(20, 4, 0, True), (20, 4, 1, True), (20, 4, 2, False), (9, 1, 0, False), (20, 10, 0, False)],
    ids=["stamps", "nearly always", "denies too", "too few to say", "takes time"],
)
def test_who_decides_often_fast_and_always_yes_is_flagged(count: int, seconds: float, denied: int, flagged: bool):
    ada = of_ada(*(decision(number, seconds, approved=number > denied) for number in range(1, count + 1)))
    assert ada.rubber_stamping == flagged


def test_a_later_stage_begins_when_the_one_before_agreed():
    first = decision(1, 500)
    second = decision(1, 530, stage=1, identity_id="idn_eve", name="eve")
    ada, eve = summarized([first, second], 0, 10**12)
    assert (ada.median_seconds, eve.median_seconds) == (500.0, 30.0)


def test_the_second_of_one_stage_does_not_wait_for_the_first():
    second = decision(1, 530, identity_id="idn_eve", name="eve")
    ada, eve = summarized([decision(1, 500), second], 0, 10**12)
    assert (ada.median_seconds, eve.median_seconds) == (500.0, 530.0)


def test_one_click_on_identical_requests_is_one_decision():
    at = 5_000_000
    same = [
        decision(number, 0, card_id="apr_card", at_ms=at, requested_at_ms=at - number * SECOND) for number in (9, 2)
    ]
    ada = of_ada(*same)
    assert (ada.decisions, ada.median_seconds) == (1, 9.0)


def test_only_decisions_of_the_period_count_but_they_are_timed_by_all():
    first = decision(1, 500, identity_id="idn_eve", name="eve")
    second = decision(1, 530, stage=1)
    ada = of_ada(first, second, from_ms=second.at_ms, until_ms=second.at_ms + 1)
    assert ada.median_seconds == 30.0
    assert summarized([first, second], 0, first.at_ms) == []


def test_the_busiest_come_first():
    found = summarized(
        [decision(1, 1), *(decision(n, 1, identity_id="idn_bob", name="bob") for n in (2, 3))], 0, 10**12
    )
    assert [one.name for one in found] == ["bob", "ada"]


async def test_they_come_from_the_votes_of_the_database(world: World) -> None:
    asked_of(world, Stage(("dba",), 1, 900), Stage(("security",), 1, 900))
    await world.open_session()
    begun = world.clock.ms
    approval = (await world.ask(world.request())).approval_id
    world.clock.advance(60)
    await world.approve("ada", approval)
    world.clock.advance(20)
    await world.deny("eve", approval)
    async with world.units.reading() as uow:
        found = await statistics.of_period(uow, begun, world.clock.ms + 1)
        later = await statistics.of_period(uow, world.clock.ms, world.clock.ms + 1)
        before = await statistics.of_period(uow, 0, begun)
    told = [(one.name, one.decisions, one.approved, one.median_seconds) for one in found]
    assert told == [("ada", 1, 1, 60.0), ("eve", 1, 0, 20.0)]
    assert [(one.name, one.median_seconds) for one in later] == [("eve", 20.0)]
    assert before == []
