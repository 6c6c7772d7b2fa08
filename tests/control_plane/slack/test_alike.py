"""Identical requests of one requester are one message, and a press is for those that stood on it."""

from __future__ import annotations

import pytest

from control_plane.approvals.review import Member
from control_plane.slack.blocks import MOST_OF_A_VALUE
from control_plane.slack.card import APPROVE, DENY
from control_plane.slack.value import read_value, with_alike
from tests.control_plane.slack.conftest import DBA, Scene

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_one_press_is_for_all_that_stand_on_the_message(scene: Scene):
    first = await scene.hold()
    message = await scene.message(first)
    second = await scene.hold()
    await scene.shows(message, "2 identical requests of this requester wait; a press is for 2 of them.")
    assert f"also {(await scene.view(second)).row.short_code} from 10.0.0.9:1" in message.shown
    assert message.buttons[APPROVE]["text"]["text"] == "Approve exactly this, 2 times"
    assert len(scene.double.workspace.in_channel(DBA)) == 1
    await scene.double.press("UADA", message, APPROVE)
    await scene.shows(message, "Approved: write")
    assert {await scene.state(one) for one in (first, second)} == {"approved"}
    assert scene.double.refusals == []


@sqlite
async def test_one_that_came_later_is_not_decided_and_gets_a_message_of_its_own(scene: Scene):
    first = await scene.hold()
    message = await scene.message(first)
    pressed = scene.double.pressed("UADA", message, APPROVE)  # before the screen showed the second
    second = await scene.hold()
    await scene.double.send(pressed)
    await scene.shows(message, "Approved: write")
    assert await scene.state(second) == "pending"
    assert (await scene.message(second)).buttons


@sqlite
async def test_a_denial_is_for_all_of_them_too(scene: Scene):
    first = await scene.hold()
    message = await scene.message(first)
    second = await scene.hold()
    await scene.shows(message, "2 identical requests")
    await scene.double.press("UADA", message, DENY)
    modal = await scene.double.until(lambda: next(iter(scene.double.workspace.modals), None))
    assert (await scene.double.submit(modal, "not now")).body == {}
    assert {await scene.state(one) for one in (first, second)} == {"denied"}


@sqlite
async def test_a_member_of_the_card_whose_digest_was_changed_decides_nothing(scene: Scene):
    first = await scene.hold()
    message = await scene.message(first)
    await scene.hold()
    await scene.shows(message, "2 identical requests")
    payload = scene.double.pressed("UADA", message, APPROVE)
    value = payload["actions"][0]["value"]
    payload["actions"][0]["value"] = value[:-64] + "0" * 64
    await scene.double.send(payload)
    await scene.told("UADA", "it is no longer on this card")
    assert await scene.state(first) == "pending"


async def test_a_button_carries_as_many_as_it_can():
    others = [Member("a" * 64, bytes([number]) * 32) for number in range(100)]
    value = with_alike("b" * 64, bytes(32), others)
    assert 10 < len(value.also) < 20
    assert len(value.text) <= MOST_OF_A_VALUE
    assert read_value(value.text) == value
    assert value.also == tuple(others[: len(value.also)])


@pytest.mark.parametrize("text", ["", ",", "a:", "a:" + "0" * 64 + ",", "a:" + "0" * 63, "a b:" + "0" * 64])
async def test_a_value_that_is_none_of_ours_is_none(text: str):
    assert read_value(text) is None
