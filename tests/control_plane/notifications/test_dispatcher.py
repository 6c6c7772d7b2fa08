"""The outbox reaches every channel: at least once, in the order of each request, whatever happens to whom."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.approvals.domain import State
from control_plane.kit.clock import milliseconds
from control_plane.notifications import repository
from control_plane.notifications.domain import GIVE_UP_AFTER_MS, LEASE_MS, UNDELIVERABLE, pause_ms
from control_plane.notifications.ports import Later, Never, Told
from tests.control_plane.notifications.post import Fixed, Post, Scripted
from tests.control_plane.world import World


def post_of(world: World, *channels: Scripted, limit_seconds: float = 5.0) -> Post:
    return Post(world, Fixed(*channels), limit_seconds)


async def test_every_change_of_state_is_a_notice_of_its_transaction(world: World) -> None:
    post = post_of(world)
    approval = await world.held()
    await world.deny("ada", approval, "not today")
    told = [(row.kind, row.key, row.data.get("reason"), row.data.get("by")) for row in await post.notices()]
    assert told == [
        ("approval.pending", approval, "", "ins_one"),
        ("approval.denied", approval, "not today", "ada"),
    ]


async def test_what_is_rolled_back_leaves_no_notice(world: World) -> None:
    post = post_of(world)
    with pytest.raises(RuntimeError, match="no"):
        async with world.units() as uow:
            uow.notice("approval.pending", "apr_x")
            raise RuntimeError("no")
    assert await post.notices() == []


async def test_each_channel_gets_its_own_delivery_of_what_it_wants(world: World) -> None:
    mail, hook = Scripted("mail", ("approval.pending",)), Scripted("hook")
    post = post_of(world, mail, hook)
    approval = await world.held()
    await world.deny("ada", approval)
    await post.round()
    assert mail.kinds == ["approval.pending"]
    assert hook.kinds == ["approval.pending", "approval.denied"]
    assert await post.states() == ["delivered"] * 3
    assert len({row.id for row in await post.deliveries()}) == 3


async def test_a_channel_is_shown_the_present_state_not_that_of_the_notice(world: World) -> None:
    hook = Scripted("hook")
    approval = await world.held()
    await world.deny("ada", approval)
    await post_of(world, hook).round()
    assert hook.states == [State.DENIED, State.DENIED]


async def test_a_running_dispatcher_tells_of_a_new_request_without_being_asked(world: World) -> None:
    hook = Scripted("hook")
    async with post_of(world, hook).running():
        await world.held()
        assert (await hook.next()).kind == "approval.pending"


async def test_a_failed_delivery_comes_again_with_the_same_idempotency_key(world: World) -> None:
    hook = Scripted("hook", error=Later(0, "answered 503"))
    post = post_of(world, hook)
    await world.held()
    await post.round()
    (row,) = await post.deliveries()
    assert (row.state, row.attempts, row.error) == ("pending", 1, "answered 503")
    hook.error = None
    await post.round()
    assert hook.told == [], "it is not tried before its time"
    world.clock.advance(1.0)
    await post.round()
    (_, facts) = hook.told[0]
    assert (facts.attempt, facts.idempotency_key) == (2, row.id)
    (row,) = await post.deliveries()
    assert (row.state, row.error) == ("delivered", "")


async def test_a_channel_that_names_a_time_is_not_asked_before_it(world: World) -> None:
    hook = Scripted("hook", error=Later(120, "answered 429"))
    post = post_of(world, hook)
    await world.held()
    await post.round()
    (row,) = await post.deliveries()
    assert row.next_at_ms == world.clock.ms + 120_000


async def test_never_ends_it_at_once(world: World) -> None:
    hook = Scripted("hook", error=Never("answered 410"))
    post = post_of(world, hook)
    await world.held()
    await post.round()
    assert [(row.state, row.attempts, row.error) for row in await post.deliveries()] == [("failed", 1, "answered 410")]


async def test_text_of_an_unexpected_error_is_not_kept(world: World) -> None:
    """Invariant 9: it may hold an address with a secret in it."""
    hook = Scripted("hook", error=ValueError("https://user:secret@example.org"))
    post = post_of(world, hook)
    await world.held()
    await post.round()
    (row,) = await post.deliveries()
    assert row.error == "unexpected ValueError"


async def test_a_day_of_failures_is_enough(world: World) -> None:
    hook = Scripted("hook", error=Later(0, "answered 503"))
    post = post_of(world, hook)
    await world.held()
    for _ in range(26):
        await post.round()
        world.clock.advance(3600)
    (row,) = await post.deliveries(kind="approval.pending")
    assert row.state == "failed"
    assert row.done_at_ms - row.at_ms <= GIVE_UP_AFTER_MS
    assert row.attempts in {24, 25}


async def test_an_old_notice_that_nobody_fanned_out_is_told_to_nobody(world: World) -> None:
    hook = Scripted("hook")
    await world.held()
    world.clock.advance(GIVE_UP_AFTER_MS / 1000 + 1)
    post = post_of(world, hook)
    await post.round()
    assert await post.deliveries() == []


# ------------------------------------------------------------------ order


async def test_a_later_notice_of_a_request_waits_for_the_earlier_one(world: World) -> None:
    hook = Scripted("hook", error=Later(0, "down"))
    post = post_of(world, hook)
    first = await world.held()
    await world.deny("ada", first)
    await post.round()
    assert [row.attempts for row in await post.deliveries()] == [1, 0]
    hook.error = None
    world.clock.advance(10)
    await post.round()
    assert hook.kinds == ["approval.pending", "approval.denied"]


async def test_another_request_does_not_wait(world: World) -> None:
    hook = Scripted("hook", error=Later(0, "down"))
    post = post_of(world, hook)
    await post.notice("approval.commented", "apr_one")
    await post.round()
    hook.error = None
    await post.notice("approval.commented", "apr_two")
    await post.round()
    assert [notice.key for notice, _ in hook.told] == ["apr_two"]


async def test_after_a_final_failure_the_next_notice_of_the_request_goes(world: World) -> None:
    hook = Scripted("hook", error=Never("no"))
    post = post_of(world, hook)
    await post.notice("approval.commented", "apr_one")
    await post.round()
    hook.error = None
    await post.notice("approval.agreed", "apr_one")
    await post.round()
    assert hook.kinds == ["approval.agreed"]


async def test_notices_of_one_request_arrive_in_order_while_many_run(world: World) -> None:
    hook = Scripted("hook")
    post = post_of(world, hook)
    for number in range(5):
        for key in ("apr_a", "apr_b", "apr_c"):
            await post.notice(f"approval.n{number}", key)
    async with post.running():
        await post.settled(15)
    for key in ("apr_a", "apr_b", "apr_c"):
        assert [notice.kind for notice, _ in hook.told if notice.key == key] == [f"approval.n{n}" for n in range(5)]


# ------------------------------------------------------------------ dead, slow and changed channels


async def test_a_hanging_channel_delays_no_other(world: World) -> None:
    hanging, hook = Scripted("a-hanging", gate=asyncio.Event()), Scripted("hook")
    post = post_of(world, hanging, hook)
    async with post.running():
        for number in range(20):
            await post.notice("approval.commented", f"apr_{number}")
        for _ in range(20):
            await hook.next()
        await post.settled(20)
    assert await post.states(channel="a-hanging") == ["pending"] * 20
    assert await post.states(channel="hook") == ["delivered"] * 20


async def test_a_hanging_delivery_is_given_up_and_tried_again(world: World) -> None:
    hook = Scripted("hook", gate=asyncio.Event())
    post = post_of(world, hook, limit_seconds=0.05)
    await post.notice("approval.commented", "apr_1")
    await post.round()
    (row,) = await post.deliveries()
    assert (row.state, row.error) == ("pending", "no answer within 0.05 s")


async def test_what_waits_for_a_channel_that_is_gone_fails(world: World) -> None:
    mail, hook = Scripted("mail", error=Later(0, "down")), Scripted("hook")
    post = post_of(world, mail, hook)
    await post.notice("approval.commented", "apr_1")
    await post.round()
    del post.channels.channels["mail"]
    async with post.running():
        await post.settled(2)
    (row,) = await post.deliveries(channel="mail")
    assert (row.state, row.error) == ("failed", "the channel is gone")


async def test_without_channels_nothing_is_written_for_any(world: World) -> None:
    post = post_of(world)
    await world.held()
    await post.round()
    assert await post.deliveries() == []
    assert [row.fanned_out for row in await post.notices()] == [False]


# ------------------------------------------------------------------ crashes and replicas


async def test_a_crash_between_commit_and_fan_out_loses_nothing(world: World) -> None:
    await world.held()
    hook = Scripted("hook")
    async with post_of(world, hook).running(alone=True):
        assert (await hook.next()).kind == "approval.pending"


async def test_what_a_dead_replica_had_in_hand_is_tried_when_its_lease_ends(world: World) -> None:
    hook = Scripted("hook")
    post = post_of(world, hook)
    await post.notice("approval.commented", "apr_1")
    await post.fan_out().run()
    async with world.units() as uow:  # the replica claims it, and dies
        assert len(await repository.claim(uow.session, "hook", world.clock.ms, world.clock.ms + LEASE_MS, 8)) == 1
    await post.round()
    assert hook.told == []
    world.clock.advance(LEASE_MS / 1000)
    await post.round()
    assert [facts.attempt for _, facts in hook.told] == [2]


async def test_alone_on_its_database_it_waits_for_no_lease(world: World) -> None:
    hook = Scripted("hook")
    post = post_of(world, hook)
    await post.notice("approval.commented", "apr_1")
    await post.fan_out().run()
    async with world.units() as uow:
        await repository.claim(uow.session, "hook", world.clock.ms, world.clock.ms + LEASE_MS, 8)
    async with post.running(alone=True):
        await post.settled(1)
    assert len(hook.told) == 1


async def test_an_attempt_that_outlived_its_lease_has_no_say(world: World) -> None:
    slow = Scripted("hook", gate=asyncio.Event(), error=Never("too late"))
    post = post_of(world, slow)
    await post.notice("approval.commented", "apr_1")
    await post.fan_out().run()
    lane = post.lane("hook")
    await lane.launch()
    await slow.next()
    async with world.units() as uow:
        (row,) = await repository.claim(
            uow.session, "hook", world.clock.ms + LEASE_MS, world.clock.ms + 2 * LEASE_MS, 8
        )
    slow.gate.set()
    await lane.landed()
    assert [(found.state, found.attempts) for found in await post.deliveries()] == [("pending", row.attempts)]


async def test_replicas_share_the_work_and_deliver_each_once(world: World) -> None:
    one, other = Scripted("hook"), Scripted("hook")
    here, there = post_of(world, one), post_of(world.on_another_replica(), other)
    for number in range(30):
        await here.notice("approval.commented", f"apr_{number}")
    async with here.running(), there.running():
        await here.settled(30)
    await there.world.database.close()
    assert sorted(notice.key for notice, _ in one.told + other.told) == sorted(f"apr_{n}" for n in range(30))


# ------------------------------------------------------------------ nobody could be told


async def test_when_every_channel_fails_the_request_says_so_once(world: World) -> None:
    mail = Scripted("mail", ("approval.pending",), error=Later(0, "down"))
    hook = Scripted("hook", ("approval.pending",), error=Never("gone"))
    post = post_of(world, mail, hook)
    approval = await world.held()
    await post.round()
    assert not (await world.view(approval)).telling.nobody_told, "one failure may be a hiccup"
    for _ in range(3):
        world.clock.advance(10)
        await post.round()
    assert (await world.view(approval)).telling.nobody_told
    (notice,) = await post.notices(UNDELIVERABLE)
    assert notice.key == approval
    assert [row.subject for row in await world.audited(UNDELIVERABLE)] == [approval]


async def test_the_warning_goes_when_a_channel_gets_through(world: World) -> None:
    mail = Scripted("mail", ("approval.pending",), error=Later(0, "down"))
    post = post_of(world, mail)
    approval = await world.held()
    for _ in range(3):
        await post.round()
        world.clock.advance(10)
    mail.error = None
    await post.round()
    assert not (await world.view(approval)).telling.nobody_told


async def test_another_channel_hears_that_nobody_could_be_told(world: World) -> None:
    mail = Scripted("mail", ("approval.pending",), error=Never("gone"))
    pager = Scripted("pager", (UNDELIVERABLE,))
    post = post_of(world, mail, pager)
    await world.held()
    await post.round()
    await post.round()
    assert pager.kinds == [UNDELIVERABLE]


async def test_one_channel_that_gets_through_is_enough(world: World) -> None:
    mail, hook = Scripted("mail", error=Never("gone")), Scripted("hook")
    post = post_of(world, mail, hook)
    approval = await world.held()
    await post.round()
    assert not (await world.view(approval)).telling.nobody_told
    assert await post.notices(UNDELIVERABLE) == []


async def test_a_request_that_is_over_alarms_nobody(world: World) -> None:
    mail = Scripted("mail", ("approval.pending",), error=Never("gone"))
    post = post_of(world, mail)
    approval = await world.held()
    await world.deny("ada", approval)
    await post.round()
    assert await post.notices(UNDELIVERABLE) == []


async def test_a_ticket_that_a_channel_made_is_linked_and_given_back(world: World) -> None:
    jira = Scripted("jira", answer=Told("OPS-1: opened", "OPS-1", "OPS-1", "https://jira.example/browse/OPS-1"))
    post = post_of(world, jira)
    approval = await world.held()
    await post.round()
    await world.deny("ada", approval)
    await post.round()
    assert [facts.reference for _, facts in jira.told] == ["", "OPS-1"]
    links = (await world.view(approval)).telling.links
    assert [(link.channel, link.label, link.url) for link in links] == [
        ("jira", "OPS-1", "https://jira.example/browse/OPS-1")
    ]
    assert [row.note for row in await post.deliveries()] == ["OPS-1: opened"] * 2


def test_pauses_grow_and_are_spread() -> None:
    assert [pause_ms(attempt, 0.5) for attempt in (1, 2, 3, 9, 50)] == [1000, 2000, 4000, 256_000, 300_000]
    assert (pause_ms(1, 0.0), pause_ms(1, 1.0)) == (500, 1500)
    assert pause_ms(1, 0.5, at_least_ms=60_000) == 60_000


async def test_the_lane_sleeps_until_the_nearest_attempt(world: World) -> None:
    hook = Scripted("hook", error=Later(30, "busy"))
    post = post_of(world, hook)
    await post.notice("approval.commented", "apr_1")
    await post.round()
    assert await post.lane("hook").launch() == 30.0
    assert milliseconds(world.clock.now()) == world.clock.ms
