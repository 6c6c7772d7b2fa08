"""Identical requests of one requester are one card; one word decides all that stood on it, and no other."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from sqlmodel import select

from control_plane.approvals.cards import Cards
from control_plane.approvals.domain import Agreed, Counted, Denied, Refusal, Refused, Ruling, State, Verb
from control_plane.approvals.domain.chain import Window
from control_plane.approvals.domain.choice import Wish
from control_plane.approvals.ports import CredentialFacts
from control_plane.approvals.reports import CancelledReport
from control_plane.approvals.review import Member, Mode, Word
from control_plane.kit.outbox import NoticeRow
from tests.control_plane.approvals.grants import grant_of
from tests.control_plane.world import INSTANCE, World, chain, operation_of


async def identical(world: World, count: int, first: int = 1, **changes: Any) -> list[str]:
    """Ids of requests that sessions `ses_1`, `ses_2`… hold, oldest first."""
    made = []
    for number in range(first, first + count):
        session = f"ses_{number}"
        await world.open_session(session, client_address=f"10.0.0.{number}:5000")
        same = {"operation": operation_of(session), **changes}
        made.append((await world.ask(world.request(session_id=session, **same))).approval_id)
        world.clock.advance(1)
    return made


async def say(world: World, name: str, approval_id: str, verb: Verb = Verb.APPROVE, **changes: Any) -> Ruling | None:
    """For the whole card as it is shown now."""
    view = await world.view(approval_id, name)
    also = tuple(Member(row.id, row.shown_digest) for row in view.alike)
    word = Word(verb, view.row.shown_digest, "console", "not today", also=also)
    async with world.units() as uow:
        word = msgspec.structs.replace(word, **changes)
        return await Cards(world.review).decide(uow, world.principal(name), approval_id, word)


async def states(world: World, ids: list[str]) -> list[str]:
    return [await world.state(one) for one in ids]


async def notices(world: World) -> list[tuple[str, str, object]]:
    async with world.units.reading() as uow:
        rows = (await uow.session.exec(select(NoticeRow).order_by(NoticeRow.id))).all()  # type: ignore[arg-type]
    return [(row.kind.removeprefix("approval."), row.key, row.data.get("identical")) for row in rows]


async def test_identical_requests_are_listed_once_with_those_that_are_alike(world: World) -> None:
    first, second, third = await identical(world, 3)
    for mode in (Mode.MINE, Mode.ALL):
        assert await world.ids("ada", mode) == [first]
    view = await world.view(first)
    assert [row.id for row in view.alike] == [second, third]
    assert [row.session_id for row in view.alike] == ["ses_2", "ses_3"]
    assert [row.id for row in (await world.view(third)).alike] == [first, second]


async def test_one_word_approves_all_that_stood_on_the_card_each_with_its_own_grant(world: World) -> None:
    """Invariant 2: each vote carries the digest of its own request, and each grant its own session."""
    ids = await identical(world, 3)
    assert isinstance(await say(world, "ada", ids[0]), Agreed)
    assert await states(world, ids) == [State.APPROVED] * 3
    assert [(await grant_of(world, one))["session_id"] for one in ids] == ["ses_1", "ses_2", "ses_3"]
    for one in ids:
        view = await world.view(one)
        assert [vote.shown_digest for vote in view.votes] == [view.row.shown_digest]


async def test_one_word_denies_all_of_them(world: World) -> None:
    ids = await identical(world, 2)
    assert isinstance(await say(world, "ada", ids[0], Verb.DENY), Denied)
    assert await states(world, ids) == [State.DENIED] * 2


async def test_what_came_after_the_card_was_shown_is_not_decided(world: World) -> None:
    ids = await identical(world, 2)
    view = await world.view(ids[0])
    also = tuple(Member(row.id, row.shown_digest) for row in view.alike)
    ids += await identical(world, 1, first=3)
    await say(world, "ada", ids[0], also=also)
    assert await states(world, ids) == [State.APPROVED, State.APPROVED, State.PENDING]
    assert await world.ids("ada", Mode.MINE) == [ids[2]]


async def test_one_of_a_card_may_be_decided_alone(world: World) -> None:
    ids = await identical(world, 3)
    assert isinstance(await world.approve("ada", ids[1]), Agreed)
    assert await states(world, ids) == [State.PENDING, State.APPROVED, State.PENDING]
    assert [row.id for row in (await world.view(ids[0])).alike] == [ids[2]]


async def test_one_that_is_over_already_does_not_keep_the_others_from_being_decided(world: World) -> None:
    ids = await identical(world, 2)
    view = await world.view(ids[0])
    also = tuple(Member(row.id, row.shown_digest) for row in view.alike)
    async with world.units() as uow:
        await world.approvals.cancelled(uow, INSTANCE, CancelledReport(ids[1], "client-gone"))
    assert isinstance(await say(world, "ada", ids[0], also=also), Agreed)
    assert await states(world, ids) == [State.APPROVED, State.CANCELLED]


async def test_a_word_for_something_that_is_not_on_the_card_changes_nothing(world: World) -> None:
    ids = await identical(world, 2)
    (other,) = await identical(world, 1, first=3, operation=operation_of("ses_3", text="SELECT 1", digest=b"x" * 32))
    shown = (await world.view(other)).row.shown_digest
    for also in ((Member(other, shown),), (Member(ids[1], shown),), (Member("apr_nothing", shown),)):
        ruling = await say(world, "ada", ids[0], also=also)
        assert isinstance(ruling, Refused)
        assert ruling.why is Refusal.STALE
    assert await states(world, [*ids, other]) == [State.PENDING] * 3
    assert (await world.audited_kinds()).count("approval.decision-refused") == 3


async def test_a_window_is_never_chosen_for_a_whole_card(world: World) -> None:
    offering = msgspec.structs.replace(chain("dba"), window=Window(1800, 5))
    world.neighbours.chains["dba"] = offering
    ids = await identical(world, 2, shape=bytes(32), shape_text="DELETE FROM orders WHERE id = ?")
    ruling = await say(world, "ada", ids[0], window=Wish(5, 10))
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.WINDOW
    assert await states(world, ids) == [State.PENDING] * 2
    assert isinstance(await say(world, "ada", ids[0], window=Wish(5, 10), also=()), Agreed)


@pytest.mark.parametrize("difference", ["text", "transaction", "requester", "owners"])
async def test_what_differs_in_anything_that_is_shown_is_a_card_of_its_own(world: World, difference: str) -> None:
    (first,) = await identical(world, 1)
    changes: dict[str, Any] = {}
    if difference == "text":
        changes["operation"] = operation_of("ses_2", text="DELETE FROM orders WHERE id = 1042", digest=b"x" * 32)
    elif difference == "transaction":
        changes["in_transaction"] = True
    elif difference == "owners":
        world.neighbours.credentials["crd_1"] = CredentialFacts("token", valid=True, owner_ids=("idn_bob",))
    if difference == "requester":
        await world.open_session("ses_2", requester_id="idn_eve")
        second = (await world.ask(world.request(session_id="ses_2", requester_id="idn_eve"))).approval_id
    else:
        (second,) = await identical(world, 1, first=2, **changes)
    assert await world.ids("ada", Mode.ALL) == [second, first]
    assert (await world.view(first)).alike == []


async def test_a_vote_parts_those_that_were_on_the_card_from_those_that_come(world: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", required=2)
    ids = await identical(world, 2)
    assert isinstance(await say(world, "ada", ids[0]), Counted)
    ids += await identical(world, 1, first=3)
    assert await world.ids("bob", Mode.MINE) == [ids[2], ids[0]]
    assert await world.ids("ada", Mode.MINE) == [ids[2]]
    assert isinstance(await say(world, "bob", ids[0]), Agreed)
    assert await states(world, ids) == [State.APPROVED, State.APPROVED, State.PENDING]


async def test_a_vote_on_one_alone_leaves_the_others_together(world: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", required=2)
    ids = await identical(world, 3)
    await world.approve("ada", ids[0])
    assert await world.ids("bob", Mode.MINE) == [ids[1], ids[0]]
    assert [row.id for row in (await world.view(ids[1])).alike] == [ids[2]]
    assert (await world.view(ids[0])).alike == []


async def test_of_two_people_at_one_card_the_second_finds_it_decided(world: World) -> None:
    ids = await identical(world, 3)
    other = world.on_another_replica()
    rulings = await asyncio.gather(say(world, "ada", ids[0]), say(other, "bob", ids[2]))
    assert sorted(type(ruling).__name__ for ruling in rulings) == ["Agreed", "Refused"]
    assert await states(world, ids) == [State.APPROVED] * 3
    assert len({(await world.view(one)).votes[0].name for one in ids}) == 1
    await other.database.close()


async def test_people_are_told_of_one_and_of_how_many_there_are(world: World) -> None:
    first, second, third = await identical(world, 3)
    assert await notices(world) == [("pending", first, None), ("regrouped", first, 2), ("regrouped", first, 3)]
    async with world.units() as uow:
        await world.approvals.cancelled(uow, INSTANCE, CancelledReport(first, "client-gone"))
    assert (await notices(world))[3:] == [("cancelled", first, None), ("pending", second, 2)]
    await world.approve("ada", third)
    assert (await notices(world))[5:] == [("regrouped", second, 1)]
    await world.approve("ada", second)
    assert (await notices(world))[6:] == [("approved", second, None)]
