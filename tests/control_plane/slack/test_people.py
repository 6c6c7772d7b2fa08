"""Who a Slack user is: one mapping, by configuration, without a second try."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.kit.unit_of_work import SYSTEM
from control_plane.slack.card import APPROVE, DENY
from tests.control_plane.slack.conftest import Scene
from tests.support.slack.workspace import Message

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
by_email = pytest.mark.parametrize("mapping", ["email"])


@pytest.fixture
async def message(scene: Scene) -> Message:
    return await scene.message(await scene.hold())


@by_email
async def test_a_confirmed_address_of_a_full_member_is_who_it_is(scene: Scene, message: Message):
    scene.double.workspace.user("UNEW", email="Ada@Example.org")  # no identity names this user
    await scene.double.press("UNEW", message, APPROVE)
    await scene.shows(message, "Approved: write")
    (agreed,) = await scene.audited("approval.agreed")
    assert (agreed["actor"], agreed["sign_in"]) == ("ada", "slack:UNEW")


@by_email
async def test_nobody_else_counts_by_an_address(scene: Scene, message: Message):
    strangers: list[tuple[dict[str, Any], str]] = [
        ({"is_email_confirmed": False}, "no confirmed e-mail address"),
        ({"email": ""}, "no confirmed e-mail address"),
        ({"is_restricted": True}, "is a guest"),
        ({"is_ultra_restricted": True}, "is a guest"),
        ({"is_bot": True}, "is a bot"),
        ({"is_workflow_bot": True}, "is a workflow"),
        ({"is_stranger": True}, "belongs to another organisation"),
        ({"deleted": True}, "is deactivated"),
        ({"email": "nobody@example.org"}, "No identity has your e-mail address"),
        ({"email": "ada@example.org.evil.org"}, "No identity has your e-mail address"),
        ({"email": "bot@example.org"}, "Only people decide"),
    ]
    async with scene.control_plane.units() as uow:
        await scene.control_plane.identities.change(uow, SYSTEM, "bot", email="bot@example.org")
    for number, (fields, why) in enumerate(strangers):
        user = f"UX{number}"
        scene.double.workspace.user(user, **{"email": "ada@example.org", **fields})
        await scene.double.press(user, message, APPROVE)
        await scene.told(user, why)
    assert await scene.audited("approval.agreed") == []


@by_email
async def test_the_user_id_of_an_identity_is_not_tried_when_the_address_is_the_mapping(scene: Scene, message: Message):
    scene.double.workspace.user("UADA", email="somebody@example.org")  # ada's own user id
    await scene.double.press("UADA", message, APPROVE)
    await scene.told("UADA", "No identity has your e-mail address")
    await scene.double.press("UADA", message, DENY)
    await scene.double.until(lambda: len(scene.double.workspace.told("UADA")) == 2)
    assert scene.double.workspace.modals == []


@by_email
async def test_an_address_that_two_identities_have_is_nobodys(scene: Scene, message: Message):
    async with scene.control_plane.units() as uow:
        await scene.control_plane.identities.change(uow, SYSTEM, "bob", email="ADA@example.org")
    await scene.double.press("UADA", message, APPROVE)
    await scene.told("UADA", "Several identities have your e-mail address")


@by_email
async def test_an_address_that_somebody_chose_at_another_provider_stays_whose_it_is(scene: Scene, message: Message):
    async with scene.control_plane.units() as uow:
        await scene.control_plane.who.sourced.make_person(uow, SYSTEM, "scim:partner", "mallory", "Ada@example.org")
    await scene.double.press("UADA", message, APPROVE)
    await scene.shows(message, "Approved: write")
    (agreed,) = await scene.audited("approval.agreed")
    assert agreed["actor"] == "ada"


@by_email
async def test_slack_that_cannot_be_asked_delays_the_decision_and_loses_it_not(scene: Scene, message: Message):
    scene.double.broken["users.info"] = 2  # aiohttp tries what only reads once more by itself
    await scene.double.press("UADA", message, APPROVE)
    await scene.double.until(lambda: not scene.double.broken["users.info"])
    answering = scene.control_plane.slack.answering
    assert answering is not None
    scene.clock.advance(seconds=20)
    assert [left.sentence for left in await answering._inbox.left_behind()] == [""]
    await scene.shows(message, "Approved: write")


async def test_the_address_is_not_tried_when_the_user_id_is_the_mapping(scene: Scene, message: Message):
    scene.double.workspace.user("UNEW", email="ada@example.org")
    await scene.double.press("UNEW", message, APPROVE)
    await scene.told("UNEW", "No identity has your Slack user id UNEW")
    assert [method for method, _ in scene.double.calls if method == "users.info"] == []
