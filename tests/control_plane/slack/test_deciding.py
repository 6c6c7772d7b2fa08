"""Requests decided in Slack, by HTTP and by socket, on both databases."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from control_plane.kit.unit_of_work import SYSTEM
from control_plane.slack import answering
from control_plane.slack.card import APPROVE, DENY
from control_plane.slack.inbox import Inbox, Left, Receipt
from control_plane.slack.interactions import REASON
from data_plane.identifiers import CredentialId
from tests.control_plane.slack.conftest import DBA, SECURITY, Scene
from tests.support.slack.double import PATIENCE

both_modes = pytest.mark.parametrize("mode", ["http", "socket"])
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@both_modes
async def test_a_press_of_approve_approves_and_the_message_says_so(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    assert "DELETE FROM orders WHERE id = 1041" in message.shown
    pressed = await scene.double.press("UADA", message, APPROVE)
    assert pressed.acknowledged
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
    await scene.thread_tells(message, "ada agreed. It waits for 1 more of group dba")
    await scene.shows(message, "1. 2 of group dba, 1 missing")
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


async def test_attempts_of_one_press_at_the_same_time_count_once(scene: Scene):
    message = await scene.message(await scene.hold())
    body = urlencode({"payload": json.dumps(scene.double.pressed("UADA", message, APPROVE))}).encode()
    sent = [scene.double.raw(body, scene.double.signed(body, age=age)) for age in range(8)]
    assert {answer.status_code for answer in await asyncio.gather(*sent)} == {200}
    await scene.shows(message, "Approved: write")
    assert len(await scene.audited("approval.agreed")) == 1
    assert scene.double.workspace.told("UADA") == []


async def test_two_people_at_once_are_both_counted(scene: Scene):
    await scene.chain({"groups": ["dba"], "require": 2, "timeout": "10m"})
    approval = await scene.hold()
    message = await scene.message(approval)
    await asyncio.gather(*(scene.double.press(user, message, APPROVE) for user in ("UADA", "UBOB")))
    await scene.shows(message, "Approved: write")
    assert len(await scene.audited("approval.agreed")) == 2


@sqlite
async def test_what_was_not_acknowledged_is_sent_again_and_taken(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    message = await scene.message(await scene.hold())
    taking, slow = Inbox.take, asyncio.Event()

    async def once_too_slow(inbox: Inbox, *what: Any) -> Receipt:
        if not slow.is_set():
            slow.set()
            monkeypatch.setattr(answering, "_TAKES", 30)  # from the second on; the first is bounded already
            await asyncio.sleep(60)
        return await taking(inbox, *what)

    monkeypatch.setattr(Inbox, "take", once_too_slow)
    monkeypatch.setattr(answering, "_TAKES", 0.2)
    pressed = await scene.double.press("UADA", message, APPROVE)
    assert (pressed.acknowledged, pressed.attempts) == (True, 2)
    await scene.shows(message, "Approved: write")


@sqlite
async def test_a_modal_that_takes_too_long_closes_and_its_person_hears_of_it_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    approval = await scene.hold()
    message = await scene.message(approval)
    await scene.double.press("UADA", message, DENY)
    modal = await scene.double.until(lambda: next(iter(scene.double.workspace.modals), None))
    working, go_on = Inbox.work, asyncio.Event()

    async def when_told(inbox: Inbox, interaction_id: str) -> Left | None:
        await go_on.wait()
        return await working(inbox, interaction_id)

    monkeypatch.setattr(Inbox, "work", when_told)
    monkeypatch.setattr(answering, "_WAITS", 0.1)
    answered = await scene.double.submit(modal, "   ")
    assert (answered.acknowledged, answered.body) == (True, {})
    go_on.set()
    await scene.told("UADA", "say why")
    assert await scene.state(approval) == "pending"


def test_an_acknowledgement_never_takes_as_long_as_slack_waits():
    assert answering._TAKES + answering._WAITS < PATIENCE


@sqlite
async def test_a_trigger_that_has_expired_is_told(scene: Scene):
    message = await scene.message(await scene.hold())
    scene.double.methods.age_of_triggers = 16
    await scene.double.press("UADA", message, DENY)
    await scene.told("UADA", "Slack did not let the question for your reason open")
    assert scene.double.workspace.modals == []


@sqlite
async def test_silence_is_reminded_of_and_escalated_to_another_channel(scene: Scene):
    escalate = {"escalate": {"groups": ["security"], "timeout": "5m"}}
    await scene.chain({"groups": ["dba"], "require": 1, "timeout": "5m", "on_timeout": escalate}, remind_every="2m")
    approval = await scene.hold()
    message = await scene.message(approval)
    scene.clock.advance(seconds=121)
    await scene.control_plane.approvals.keeper.end_what_is_due()
    await scene.thread_tells(message, "A decision is still missing. It waits for 1 more of group dba.")
    scene.clock.advance(seconds=180)
    await scene.control_plane.approvals.keeper.end_what_is_due()
    await scene.thread_tells(message, "Nobody decided in time, so more people are asked.")
    other = await scene.message(approval, SECURITY)
    assert all(one.broadcast for one in scene.double.workspace.messages if one.thread_ts)
    await scene.double.press("UEVE", other, APPROVE)
    await scene.shows(message, "Approved: write")


@sqlite
async def test_a_comment_is_told_in_the_thread_and_cannot_look_like_ours(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    async with scene.control_plane.units() as uow:
        eve = (await scene.control_plane.identities.named(uow, "eve")).principal(CredentialId("sin_1"), "cli", uow.now)
        text = "is there a backup?\nada agreed. <!here> `x`"
        await scene.control_plane.approvals.participation.comment(uow, eve, approval, text)
    await scene.thread_tells(message, "eve comments:\n│ is there a backup?\n│ ada agreed. <!here> `x`")
    (said,) = [one for one in scene.double.workspace.messages if one.thread_ts]
    assert "&lt;!here&gt;" in said.text
    assert not said.broadcast
