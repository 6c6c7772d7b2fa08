"""Grants for a window: chosen by everybody who counts, used in order, over when anything that it stands on is."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from control_plane.approvals import windows
from control_plane.approvals.domain import (
    Agreed,
    Chain,
    Outcome,
    Refusal,
    Refused,
    Requirement,
    Ruling,
    Stage,
    State,
    Verb,
    Window,
)
from control_plane.approvals.domain.choice import Wish
from control_plane.approvals.errors import ApprovalOverError
from control_plane.approvals.reports import (
    CancelledReport,
    ConsumedReport,
    DecidedAnswer,
    FinishedReport,
    PendingAnswer,
)
from control_plane.approvals.review import Word
from control_plane.approvals.schemas import ApprovalOut
from control_plane.audit.tables import AuditRow
from control_plane.sessions.reports import ClosedReport
from tests.control_plane.approvals.grants import grant_of, nonce_of
from tests.control_plane.world import INSTANCE, REPORTER, World, chain

OFFER = Window(1800, 20)
SHAPE, DIGEST = b"s" * 32, b"2" * 32
WISH = Wish(3, minutes=10)


def offering(world: World, **changes: Any) -> None:
    found = chain("dba", **changes)
    world.neighbours.chains["dba"] = msgspec.structs.replace(found, window=OFFER)


async def held(world: World, **changes: Any) -> str:
    fields = {"shape": SHAPE, "shape_text": "DELETE FROM orders WHERE id = ‹value›", **changes}
    return await world.held(**fields)


async def choose(world: World, name: str, approval: str, wish: Wish | None = WISH) -> Ruling | None:
    shown = (await world.view(approval)).row.shown_digest
    async with world.units() as uow:
        return await world.review.decide(
            uow, world.principal(name), approval, Word(Verb.APPROVE, shown, "cli", window=wish)
        )


async def use(world: World, approval: str, number: int, digest: bytes = DIGEST) -> None:
    report = ConsumedReport(approval, await nonce_of(world, approval), number, digest)
    async with world.units() as uow:
        await world.approvals.grant_consumed(uow, INSTANCE, report)


async def finish(world: World, approval: str, number: int, outcome: str = "done", detail: str = "DELETE 1") -> None:
    async with world.units() as uow:
        await world.approvals.finished(uow, INSTANCE, FinishedReport(approval, outcome, detail, number))


async def opened(world: World) -> str:
    """A window that has been used once."""
    offering(world)
    approval = await held(world)
    await choose(world, "ada", approval)
    await use(world, approval, 1, (await world.view(approval)).row.operation_digest)
    await finish(world, approval, 1)
    return approval


async def told(world: World, approval: str) -> DecidedAnswer:
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    return answer


async def uses(world: World, approval: str) -> list[tuple[int, str, str]]:
    return [(one.number, one.outcome, one.result) for one in (await world.view(approval)).uses]


def data_of(event: AuditRow) -> Any:
    return json.loads(event.data)


# ------------------------------------------------------------------ chosen


async def test_a_window_that_the_reviewer_chose_is_in_the_grant(world: World) -> None:
    offering(world)
    approval = await held(world)
    assert isinstance(await choose(world, "ada", approval), Agreed)
    grant: Any = await grant_of(world, approval)
    until = world.clock.ms + 600_000
    assert grant["scope"] == "window"
    assert (grant["window"]["until_ms"], grant["window"]["uses"]) == (until, 3)
    answer = await told(world, approval)
    assert (answer.outcome, answer.open) == (Outcome.APPROVED, True)
    (event,) = await world.audited("approval.agreed")
    assert (data_of(event)["window_uses"], data_of(event)["window_until_ms"]) == (3, until)
    view = await world.view(approval)
    assert ApprovalOut.full(view).decisions[0].window is not None


async def test_who_chooses_none_approves_one_operation(world: World) -> None:
    offering(world)
    approval = await held(world)
    await choose(world, "ada", approval, None)
    grant: Any = await grant_of(world, approval)
    assert (grant["scope"], grant["window"]) == ("once", None)
    assert not (await told(world, approval)).open


@pytest.mark.parametrize(
    ("first", "second", "uses_and_seconds"),
    [
        (Wish(9, minutes=5), Wish(4, minutes=20), (4, 300)),
        (Wish(4, minutes=20), Wish(9, minutes=5), (4, 300)),
        (Wish(4, minutes=20), None, None),
        (None, Wish(4, minutes=20), None),
        (Wish(4, minutes=20), Wish(1, minutes=20), None),
    ],
)
async def test_several_reviewers_get_the_smallest_window_that_all_of_them_chose(
    world: World, first: Wish | None, second: Wish | None, uses_and_seconds: tuple[int, int] | None
) -> None:
    offering(world, required=2)
    approval = await held(world)
    await choose(world, "ada", approval, first)
    assert isinstance(await world.answer(approval), PendingAnswer)
    await choose(world, "bob", approval, second)
    window: Any = (await grant_of(world, approval))["window"]
    found = (window["uses"], (window["until_ms"] - world.clock.ms) // 1000) if window else None
    assert found == uses_and_seconds


@pytest.mark.parametrize(
    "wish",
    [Wish(21, minutes=10), Wish(0, minutes=10), Wish(3, minutes=31), Wish(3), Wish(3, until_ms=0), Wish(3, minutes=-1)],
)
async def test_what_the_chain_does_not_offer_cannot_be_chosen(world: World, wish: Wish) -> None:
    offering(world)
    approval = await held(world)
    ruling = await choose(world, "ada", approval, wish)
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.WINDOW
    assert await world.state(approval) == State.PENDING


@pytest.mark.parametrize("changes", [{"shape": b""}, {"ticket": True}])
async def test_without_a_shape_and_with_a_ticket_there_is_no_window(world: World, changes: dict[str, Any]) -> None:
    offering(world)
    approval = await held(world, **changes)
    view = await world.view(approval)
    assert view.shown.window is None
    assert ApprovalOut.full(view).window_offered is None
    ruling = await choose(world, "ada", approval)
    assert isinstance(ruling, Refused)


async def test_a_chain_that_offers_none_gives_none(world: World) -> None:
    approval = await held(world)
    assert isinstance(await choose(world, "ada", approval), Refused)


async def test_a_shape_that_is_none_is_malformed(world: World) -> None:
    await world.open_session()
    answer = await world.ask(world.request(shape=b"short"))
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.REFUSED


# ------------------------------------------------------------------ used


async def test_each_use_is_kept_and_audited_with_its_number(world: World) -> None:
    approval = await opened(world)
    assert await world.state(approval) == State.WINDOW
    await use(world, approval, 2)
    await finish(world, approval, 2, "failed", "23503")
    assert await uses(world, approval) == [(1, "done", "DELETE 1"), (2, "failed", "23503")]
    kinds = [(event.kind, data_of(event)["use"]) for event in await world.audited("approval.window-use")]
    assert kinds == [
        ("approval.window-used", 1),
        ("approval.window-use-finished", 1),
        ("approval.window-used", 2),
        ("approval.window-use-finished", 2),
    ]
    assert data_of((await world.audited("approval.window-used"))[1])["digest"] == DIGEST.hex()
    shown = ApprovalOut.full(await world.view(approval)).window
    assert shown is not None
    assert (shown.used, shown.uses, shown.open, len(shown.each)) == (2, 3, True, 2)


async def test_it_ends_when_the_last_use_is_over(world: World) -> None:
    approval = await opened(world)
    for number in (2, 3):
        await use(world, approval, number)
        assert await world.state(approval) == State.WINDOW
        await finish(world, approval, number)
    assert await world.state(approval) == State.ENDED
    answer = await told(world, approval)
    assert (answer.outcome, answer.reason, answer.open) == (Outcome.CANCELLED, windows.USED_UP, False)


async def test_the_same_report_again_changes_nothing(world: World) -> None:
    approval = await opened(world)
    await use(world, approval, 1)
    await finish(world, approval, 1, "failed")
    assert await uses(world, approval) == [(1, "done", "DELETE 1")]
    assert (await world.audited_kinds())[-2:] == ["approval.use-mismatch", "approval.use-mismatch"]


async def test_a_use_out_of_order_is_an_alarm(world: World) -> None:
    approval = await opened(world)
    await use(world, approval, 3)
    assert [number for number, *_ in await uses(world, approval)] == [1]
    assert (await world.audited_kinds())[-1] == "approval.use-mismatch"


async def test_a_use_beyond_what_was_granted_is_an_alarm_and_kept(world: World) -> None:
    approval = await opened(world)
    for number in (2, 3, 4):
        await use(world, approval, number)
    assert len(await uses(world, approval)) == 4
    assert (await world.audited_kinds())[-1] == "approval.window-overused"


async def test_a_use_after_its_time_is_an_alarm(world: World) -> None:
    approval = await opened(world)
    world.clock.advance(700)
    await use(world, approval, 2)
    assert (await world.audited_kinds())[-1] == "approval.window-overused"


async def test_a_use_of_a_grant_for_once_is_an_alarm(world: World) -> None:
    offering(world)
    approval = await held(world)
    await choose(world, "ada", approval, None)
    await use(world, approval, 1)
    assert (await world.audited_kinds())[-1] == "approval.window-overused"


async def test_a_window_that_is_used_as_one_grant_is_an_alarm(world: World) -> None:
    offering(world)
    approval = await held(world)
    await choose(world, "ada", approval)
    async with world.units() as uow:
        await world.approvals.grant_consumed(uow, INSTANCE, ConsumedReport(approval, await nonce_of(world, approval)))
    assert await world.state(approval) == State.APPROVED
    assert (await world.audited_kinds())[-1] == "approval.nonce-reused"


async def test_a_first_use_that_is_something_else_is_an_alarm(world: World) -> None:
    offering(world)
    approval = await held(world)
    await choose(world, "ada", approval)
    await use(world, approval, 1, b"x" * 32)
    assert "approval.window-overused" in await world.audited_kinds()


async def test_an_unknown_outcome_is_corrected_when_it_is_told(world: World) -> None:
    approval = await opened(world)
    await use(world, approval, 2)
    await finish(world, approval, 2, "outcome-unknown", "")
    await finish(world, approval, 2, "done")
    assert (await uses(world, approval))[-1] == (2, "done", "DELETE 1")


# ------------------------------------------------------------------ over


async def end_early(world: World, approval: str) -> None:
    async with world.units() as uow:
        await windows.end(uow, world.principal("bob"), approval, "enough")


async def end_by_time(world: World, approval: str) -> None:
    world.clock.advance(601)
    await world.keeper.end_what_is_due()


async def end_by_policy(world: World, approval: str) -> None:
    world.neighbours.revision += 1
    await world.upkeep.void_what_fell()


async def end_by_a_lost_role(world: World, approval: str) -> None:
    world.neighbours.change("ada", may_review=False)
    await world.upkeep.void_what_fell()


async def end_by_the_agent(world: World, approval: str) -> None:
    async with world.units() as uow:
        await world.approvals.cancelled(uow, INSTANCE, CancelledReport(approval, "changed"))


async def end_by_the_session(world: World, approval: str) -> None:
    async with world.units() as uow:
        await world.sessions.closed(uow, REPORTER, ClosedReport("ses_1", world.clock.ms, "client-closed", 3, b""))


ENDS = [end_early, end_by_time, end_by_policy, end_by_a_lost_role, end_by_the_agent, end_by_the_session]


@pytest.mark.parametrize("end", ENDS)
async def test_it_ends_and_the_agent_is_told(world: World, end: Any) -> None:
    approval = await opened(world)
    await end(world, approval)
    assert await world.state(approval) == State.ENDED
    answer = await told(world, approval)
    assert (answer.outcome, answer.grant, answer.open) == (Outcome.CANCELLED, None, False)
    assert answer.reason
    shown = ApprovalOut.full(await world.view(approval)).window
    assert shown is not None
    assert not shown.open


@pytest.mark.parametrize("end", ENDS[:4])
async def test_before_its_first_use_it_ends_as_well(world: World, end: Any) -> None:
    offering(world)
    approval = await held(world)
    await choose(world, "ada", approval)
    await end(world, approval)
    assert await world.state(approval) in {State.LAPSED, State.ENDED}
    assert (await told(world, approval)).outcome is Outcome.CANCELLED


async def test_one_who_lost_the_role_ends_it_though_the_others_would_be_enough_now(world: World) -> None:
    either = (Requirement(("dba",), 2), Requirement(("security",), 1))
    world.neighbours.chains["dba"] = Chain("dba", (Stage(any_of=either),), 300, window=OFFER)
    approval = await held(world)
    await choose(world, "ada", approval)
    await choose(world, "bob", approval)
    await use(world, approval, 1)
    world.neighbours.change("bob", groups=frozenset({"dba", "security"}))
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.WINDOW
    world.neighbours.change("ada", may_review=False)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.ENDED


async def test_what_was_running_when_the_session_ended_is_unknown(world: World) -> None:
    approval = await opened(world)
    await use(world, approval, 2)
    await end_by_the_session(world, approval)
    assert (await uses(world, approval))[-1] == (2, "outcome-unknown", "")
    await finish(world, approval, 2)
    assert (await uses(world, approval))[-1] == (2, "done", "DELETE 1")


async def test_a_use_that_the_agent_spent_before_it_heard_of_the_end_is_kept(world: World) -> None:
    approval = await opened(world)
    await end_early(world, approval)
    await use(world, approval, 2)
    assert [number for number, *_ in await uses(world, approval)] == [1, 2]
    assert await world.state(approval) == State.ENDED


async def test_what_is_no_open_window_cannot_be_ended(world: World) -> None:
    offering(world)
    approval = await held(world)
    with pytest.raises(ApprovalOverError):
        await end_early(world, approval)
    await choose(world, "ada", approval, None)
    with pytest.raises(ApprovalOverError):
        await end_early(world, approval)


# ------------------------------------------------------------------ what is shown


async def test_what_a_window_would_let_through_is_part_of_what_is_decided_on(world: World) -> None:
    offering(world)
    approval = await held(world)
    card = ApprovalOut.full(await world.view(approval)).window_offered
    assert card is not None
    assert (card.longest_seconds, card.most, card.shape) == (1800, 20, "DELETE FROM orders WHERE id = ‹value›")
    assert "up to all" in card.risk
    assert json.loads((await world.view(approval)).row.shown)["operation"]["shape"] == SHAPE.hex()
