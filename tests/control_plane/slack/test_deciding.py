"""Requests decided in Slack, by HTTP and by socket, on both databases."""

from __future__ import annotations

import pytest

from control_plane.kit.unit_of_work import SYSTEM
from control_plane.slack.card import APPROVE, DENY
from control_plane.slack.interactions import REASON
from tests.control_plane.slack.conftest import DBA, SECURITY, Scene

both_modes = pytest.mark.parametrize("mode", ["http", "socket"])
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@both_modes
async def test_a_press_of_approve_approves_and_the_message_says_so(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    assert "DELETE FROM orders WHERE id = 1041" in message.shown
    pressed = await scene.double.press("UADA", message, APPROVE)
    assert pressed.acknowledged
    assert pressed.seconds < 3
    await scene.shows(message, "Approved: write on orders (production)")
    assert not message.buttons
    assert await scene.state(approval) == "approved"
    (agreed,) = await scene.audited("approval.agreed")
    assert (agreed["actor"], agreed["channel"], agreed["sign_in"]) == ("ada", "slack", "slack:UADA")
    assert scene.double.refusals == []


@both_modes
async def test_a_denial_asks_for_its_reason_and_tells_it(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    assert (await scene.double.press("UADA", message, DENY)).acknowledged
    modal = await scene.double.until(lambda: next(iter(scene.double.workspace.modals), None))
    assert modal.user == "UADA"
    answered = await scene.double.submit(modal, "not on a Friday")
    assert (answered.acknowledged, answered.body) == (True, {})
    await scene.shows(message, "Denied: write on orders (production)")
    assert "not on a Friday" in message.shown
    assert (await scene.view(approval)).row.reason == "not on a Friday"
    assert scene.double.refusals == []


@both_modes
@sqlite
async def test_a_denial_without_a_reason_is_refused_in_the_modal(scene: Scene):
    approval = await scene.hold()
    await scene.double.press("UADA", await scene.message(approval), DENY)
    modal = await scene.double.until(lambda: next(iter(scene.double.workspace.modals), None))
    answered = await scene.double.submit(modal, "   ")
    assert answered.body["response_action"] == "errors"
    assert "say why" in answered.body["errors"][REASON]
    assert await scene.state(approval) == "pending"
    assert (await scene.double.submit(modal, "because")).body == {}
    assert await scene.state(approval) == "denied"


async def test_a_chain_of_two_stages_is_walked_in_two_channels(scene: Scene):
    await scene.chain(
        {"groups": ["dba"], "require": 2, "timeout": "10m"}, {"groups": ["security"], "require": 1, "timeout": "10m"}
    )
    approval = await scene.hold()
    message = await scene.message(approval)
    assert "2 of group dba" in message.shown
    assert scene.double.workspace.in_channel(SECURITY) == []
    await scene.double.press("UADA", message, APPROVE)
    await scene.thread_tells(message, "ada agreed. It waits for 1 more of group dba.")
    await scene.shows(message, "1. 2 of group dba: 1 missing")
    await scene.double.press("UBOB", message, APPROVE)
    other = await scene.message(approval, SECURITY)
    await scene.shows(message, "Those who can decide now are asked in another channel.")
    assert not message.buttons
    await scene.double.press("UEVE", other, APPROVE)
    for one in (message, other):
        await scene.shows(one, "Approved: write on orders (production)")
    assert await scene.state(approval) == "approved"


@sqlite
async def test_what_is_decided_elsewhere_is_updated_here(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    async with scene.control_plane.units() as uow:
        await scene.control_plane.approvals.service.session_ended(
            uow, (await scene.view(approval)).row.session_id, "the client left"
        )
    await scene.shows(message, "Cancelled: write on orders (production)")
    assert not message.buttons
    assert len(scene.double.workspace.in_channel(DBA)) == 1


@sqlite
async def test_who_may_not_decide_is_told_alone_and_why(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    await scene.double.press("UEVE", message, APPROVE)
    await scene.told("UEVE", "This does not count: the stage that is waiting asks for other")
    await scene.double.press("UZOE", message, APPROVE)
    await scene.told("UZOE", "No identity has your Slack user id UZOE")
    await scene.double.press("UEVE", message, DENY)
    await scene.double.until(lambda: len(scene.double.workspace.told("UEVE")) == 2)
    assert scene.double.workspace.modals == []
    assert await scene.state(approval) == "pending"
    assert [one["slack_user"] for one in await scene.audited("slack.decision-refused")] == ["UZOE"]


@sqlite
async def test_a_person_who_lost_the_role_does_not_count_any_more(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    async with scene.control_plane.units() as uow:
        await scene.control_plane.identities.change(uow, SYSTEM, "ada", disabled=True)
    await scene.double.press("UADA", message, APPROVE)
    await scene.told("UADA", "Your identity ada is disabled.")
    assert await scene.state(approval) == "pending"


@sqlite
async def test_the_second_press_of_the_same_person_is_told_that_it_counts_once(scene: Scene):
    await scene.chain({"groups": ["dba"], "require": 2, "timeout": "10m"})
    approval = await scene.hold()
    message = await scene.message(approval)
    await scene.double.press("UADA", message, APPROVE)
    await scene.thread_tells(message, "ada agreed")
    await scene.double.press("UADA", message, APPROVE)
    await scene.told("UADA", "you have already decided")


@sqlite
async def test_a_button_that_was_pressed_too_late_is_told_that_it_is_over(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    stale = scene.double.pressed("UBOB", message, APPROVE)
    await scene.double.press("UADA", message, APPROVE)
    await scene.shows(message, "Approved: write")
    await scene.double.send(stale)
    await scene.told("UBOB", "This does not count: it is approved.")
    assert len(await scene.audited("approval.approved")) == 1
