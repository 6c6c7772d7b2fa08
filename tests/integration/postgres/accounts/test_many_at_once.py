"""Many sessions at once, by several processes of one agent: none waits for ever, none deadlocks, all are gone."""

from __future__ import annotations

import asyncio
from itertools import cycle

from tests.integration.postgres.accounts.world import Session, World

SESSIONS = 50
OF_OURS = "select count(*) from pg_roles where rolname like 'gw\\_%'"


async def test_fifty_sessions_open_widen_and_end_at_once(world: World) -> None:
    workers = [world.provider() for _ in range(4)]
    actions = cycle([("read",), ("read", "write"), ("read", "write", "ddl"), ("write",), ("ddl",)])

    async def session(number: int) -> Session:
        accounts = workers[number % len(workers)]
        lease = world.lease(accounts)
        made = await accounts.create(lease, world.need(lease, *next(actions)))
        client = await world.sign_in(made)
        await accounts.signed_in(lease)
        for wider in ("write", "ddl"):
            if accounts.lacks(lease, [wider]):
                await accounts.widen(lease, [wider])
                await accounts.narrow(lease)
        await client.execute("select 1")
        await client.close()
        await accounts.remove(lease)
        return Session(lease, made, client)

    before = await world.ask("select deadlocks from pg_stat_database where datname = $1", world.database)
    async with asyncio.timeout(60):
        sessions = await asyncio.gather(*(session(number) for number in range(SESSIONS)))
    assert len({one.role for one in sessions}) == SESSIONS
    assert await world.ask(OF_OURS) == 0
    assert await world.ask("select deadlocks from pg_stat_database where datname = $1", world.database) == before


async def test_sessions_that_end_together_while_others_begin_are_all_removed(world: World) -> None:
    first = [await world.session("read") for _ in range(20)]
    for one in first:
        one.client.terminate()
    ending = [world.accounts.remove(one.lease) for one in first]
    beginning = [world.session("read", "write") for _ in range(20)]
    _, *new = await asyncio.gather(asyncio.gather(*ending), *beginning)
    found = await world.accounts.existing(world.spec())
    assert not {one.lease for one in found} & {one.lease.id for one in first}
    assert [(one.can_sign_in, one.in_use) for one in found] == [(False, True)] * 20
    for one in new:
        assert isinstance(one, Session)
        await one.gone(world)


async def test_a_role_that_is_locked_keeps_no_other_session_waiting(world: World) -> None:
    """Whoever holds a lock on one role must not be able to stop the making of others."""
    session, other = await world.session("read"), await world.admin()
    await other.execute("begin")
    await other.execute(f"grant select on notes to {session.role}")
    session.client.terminate()
    removal = asyncio.ensure_future(world.accounts.remove(session.lease))
    async with asyncio.timeout(2):
        next_one = await world.session("read")
    await next_one.gone(world)
    assert isinstance((await asyncio.gather(removal, return_exceptions=True))[0], Exception)
    await other.execute("rollback")
    await session.gone(world)
