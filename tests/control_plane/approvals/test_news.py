"""Server-sent events: everybody hears of what they may see, as long as they may see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.control_plane.world import World, operation_of


async def next_of(stream: AsyncIterator[str]) -> str:
    async with asyncio.timeout(5):
        return await anext(stream)


async def next_event(stream: AsyncIterator[str]) -> str:
    while (told := await next_of(stream)).startswith("event: resync"):
        pass
    return told


async def test_it_begins_with_a_resync_and_tells_of_each_change(world: World) -> None:
    await world.open_session()
    stream = world.feed.stream(world.principal("ada"))
    assert await next_of(stream) == "event: resync\ndata: {}\n\n"
    answer = await world.ask()
    told = await next_event(stream)
    assert told.startswith("event: approval\ndata: {")
    assert answer.approval_id in told
    assert '"state":"pending"' in told
    await world.approve("ada", answer.approval_id)
    assert '"state":"approved"' in await next_event(stream)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_of_identical_requests_one_hears_of_the_one_that_is_listed(world: World) -> None:
    for number in (1, 2):
        await world.open_session(f"ses_{number}")
    first = await world.ask(world.request(operation=operation_of("ses_1")))
    world.clock.advance(1)
    stream = world.feed.stream(world.principal("ada"))
    await next_of(stream)
    await world.ask(world.request(session_id="ses_2", operation=operation_of("ses_2")))
    assert first.approval_id in await next_event(stream)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_requester_hears_of_their_own_only(world: World) -> None:
    await world.open_session()
    await world.open_session("ses_2", requester_id="idn_eve")
    stream = world.feed.stream(world.principal("owner", "requester"))
    world.neighbours.change("owner", may_review=False)
    await next_of(stream)
    await world.ask(world.request(session_id="ses_2", requester_id="idn_eve"))
    theirs = await world.ask(world.request())
    assert theirs.approval_id in await next_event(stream)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_disabled_reader_hears_nothing_more(world: World) -> None:
    await world.open_session()
    stream = world.feed.stream(world.principal("ada"))
    await next_of(stream)
    world.neighbours.change("ada", enabled=False)
    await world.ask()
    told = [event async for event in stream]
    assert [event for event in told if "approval" in event] == []
