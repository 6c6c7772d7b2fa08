"""Messages in Slack: one for a request, whatever crashes in between; and what to do when Slack refuses."""

from __future__ import annotations

import pytest

from control_plane.notifications.ports import Facts, Later, Never, Notice
from control_plane.slack.card import APPROVE
from control_plane.slack.channel import SlackChannel
from tests.control_plane.slack.conftest import DBA, SECURITY, Scene

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def deliver(scene: Scene, approval_id: str, kind: str = "approval.pending", number: int = 10_000, **data: object):
    """As the dispatcher does, by hand."""
    channel = scene.control_plane.slack.channel
    assert isinstance(channel, SlackChannel)
    url = f"https://assentry.example.org/approvals/{approval_id}"
    facts = Facts(await scene.view(approval_id), (), url, "key", 1)
    return await channel.deliver(Notice(number, kind, approval_id, data, 0), facts)


async def test_a_crash_between_posting_and_storing_leaves_one_message_with_buttons(scene: Scene):
    scene.double.done_but_cut["chat.postMessage"] = 1  # Slack has it, nobody here knows
    approval = await scene.hold()
    await scene.double.until(lambda: scene.double.workspace.in_channel(DBA))
    scene.clock.advance(seconds=10)
    await deliver(scene, approval)
    first, second = scene.double.workspace.in_channel(DBA)
    assert not first.buttons
    assert "Open it in the console" in first.shown
    assert second.buttons
    assert scene.double.workspace.live() == [second]


async def test_the_same_notice_twice_changes_and_tells_nothing_twice(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    await deliver(scene, approval, "approval.commented", 20_000, by="eve", text="looks right")
    before = len(scene.double.calls)
    await deliver(scene, approval, "approval.commented", 20_000, by="eve", text="looks right")
    assert len(scene.double.calls) == before
    assert scene.double.workspace.thread(message) == ["eve comments:\n│ looks right"]


async def test_a_rate_limit_waits_as_long_as_slack_says(scene: Scene):
    approval = await scene.hold()
    message = await scene.message(approval)
    scene.double.limited["chat.postMessage"] = (1, 17)
    with pytest.raises(Later) as later:
        await deliver(scene, approval, "approval.reminded", 20_000)
    assert later.value.seconds == 17
    await deliver(scene, approval, "approval.reminded", 20_000)
    assert scene.double.workspace.thread(message) == ["A decision is still missing. It waits for 1 more of group dba."]
    assert [one.broadcast for one in scene.double.workspace.messages if one.thread_ts] == [True]


async def test_a_channel_without_the_app_says_what_to_do_and_delays_no_other(scene: Scene):
    scene.double.workspace.channel(SECURITY, "security", "UEVE", app=False)
    await scene.chain({"all": [{"groups": ["dba"]}, {"groups": ["security"]}], "timeout": "10m"})
    approval = await scene.hold()
    message = await scene.message(approval)
    with pytest.raises(Later, match="not_in_channel: invite the app") as later:
        await deliver(scene, approval)
    assert later.value.seconds == 30
    assert message.buttons
    scene.double.workspace.channel(SECURITY, "security", "UEVE")
    await deliver(scene, approval)
    assert len(scene.double.workspace.live()) == 2


async def test_a_message_that_somebody_deleted_is_posted_anew_while_it_waits(scene: Scene):
    approval = await scene.hold()
    first = await scene.message(approval)
    first.deleted = True
    await scene.chain({"groups": ["dba"], "require": 1, "timeout": "10m"}, window={"longest": "30m", "most": 20})
    scene.clock.advance(seconds=1)
    await scene.double.press("UEVE", await _reposted(scene, approval), APPROVE)


async def _reposted(scene: Scene, approval: str):
    async with scene.control_plane.units() as uow:
        from control_plane.slack import repository

        row = await repository.message(uow.session, approval, DBA)
        assert row is not None
        row.shown_hash = ""  # as if it had to change
        uow.session.add(row)
    with pytest.raises(Later):
        await deliver(scene, approval)
    await deliver(scene, approval)
    return await scene.message(approval)


async def test_what_slack_will_never_take_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    approval = await scene.hold()
    message = await scene.message(approval)
    monkeypatch.setattr("control_plane.slack.api.lines", lambda *_: {"type": "marquee"})
    with pytest.raises(Never, match="invalid_blocks"):
        await deliver(scene, approval, "approval.reminded", 20_000)
    assert scene.double.workspace.thread(message) == []


async def test_a_request_that_was_over_before_slack_heard_of_it_is_not_posted(scene: Scene):
    scene.double.broken["chat.postMessage"] = 1
    approval = await scene.hold()
    await scene.double.until(lambda: not scene.double.broken["chat.postMessage"])
    async with scene.control_plane.units() as uow:
        session_id = (await scene.view(approval)).row.session_id
        await scene.control_plane.approvals.service.session_ended(uow, session_id, "the client left")
    scene.clock.advance(seconds=10)
    told = await deliver(scene, approval, "approval.cancelled")
    assert told is not None
    assert "not shown" in told.note
    assert scene.double.workspace.in_channel(DBA) == []
