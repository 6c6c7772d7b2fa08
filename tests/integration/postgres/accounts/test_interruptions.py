"""Every step of making and removing a role, interrupted: before it is sent, and after it was done without being known.

A new provider stands for the next process: it knows nothing but the lease.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import asyncpg
import pytest

from data_plane.credentials.ports import CredentialError
from data_plane.protocols.postgres.accounts import connections
from data_plane.protocols.postgres.accounts.connections import Kept
from tests.integration.postgres.accounts.world import OWNER, PASSWORD, World, eventually

When = Literal["before", "after"]
TRACES = """
select count(*) from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid not in (select oid from pg_authid)
"""


class CrashError(BaseException):
    """Nothing catches it, as nothing catches kill -9."""


class Crash:
    def __init__(self) -> None:
        self.happened = False


@contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, step: int, when: When) -> Iterator[Crash]:
    """At the step-th exchange with the target."""
    exchanges, crash, really = itertools.count(), Crash(), Kept._ask

    async def ask(self: Kept, work: Coroutine[Any, Any, Any], seconds: float = 0.0) -> Any:
        if next(exchanges) != step:
            return await really(self, work, seconds)
        crash.happened = True
        if when == "after":
            await really(self, work)
        work.close()
        self.abandon()
        raise CrashError

    with monkeypatch.context() as patched:
        patched.setattr(Kept, "_ask", ask)
        yield crash


@pytest.mark.parametrize("when", ["before", "after"])
async def test_making_a_role_may_stop_anywhere(world: World, monkeypatch: pytest.MonkeyPatch, when: When) -> None:
    for step in itertools.count():
        lease, first = world.lease(), world.provider()
        with crashing(monkeypatch, step, when) as crash:
            try:
                await first.create(lease, world.need(lease, "read", "ddl"))
                await first.signed_in(lease)
            except CrashError:
                pass
        await world.provider().remove(lease)
        assert not await world.exists(lease)
        if not crash.happened:
            break
    assert step >= 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_was_given_without_being_known_is_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch, when: When
) -> None:
    session = await world.session("read")
    with crashing(monkeypatch, 0, when), pytest.raises(CrashError):
        await world.accounts.widen(session.lease, ["write"])
    groups = "select array_agg(roleid::regrole::text order by 1) from pg_auth_members where member = $1::regrole"
    assert await world.ask(groups, session.role) == (["app_ro"] if when == "before" else ["app_ro", "app_rw"])
    await world.accounts.narrow(session.lease)
    assert await world.ask(groups, session.role) == ["app_ro"]
    await session.gone(world)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_removing_a_role_may_stop_anywhere(world: World, monkeypatch: pytest.MonkeyPatch, when: When) -> None:
    """A role with all there is: a backend, a prepared transaction, a table, grants, and a table in another database."""
    other = await asyncio.to_thread(world.server.fresh_database)
    for step in itertools.count():
        session = await world.session("read", "write", "ddl")
        await leave_everything(world, session.client, session.role, other, step)
        with crashing(monkeypatch, step, when) as crash:
            try:
                await world.provider().remove(session.lease)
            except CrashError:
                found = [one for one in await world.accounts.existing(world.spec()) if one.lease == session.lease.id]
                assert not any(one.can_sign_in for one in found)
        await world.provider().remove(session.lease)
        assert not await world.exists(session.lease)
        if not crash.happened:
            break
    assert step >= 10
    assert await world.ask("select count(*) from pg_prepared_xacts") == 0
    assert await world.ask(TRACES) == 0
    tables = "select array_agg(distinct tableowner) from pg_tables where tablename like 'left_%'"
    assert await world.ask(tables) == [OWNER]
    assert await (await world.admin(other)).fetchval(tables) == [OWNER]
    assert not await world.ask(f"select pg_has_role('keeper', '{OWNER}', 'USAGE')")


async def leave_everything(world: World, client: asyncpg.Connection[Any], role: str, other: str, number: int) -> None:
    await world.do(f"grant create on schema public to {role}")
    for statement in (
        "set role none", f"create table left_{number} (id int)", f"grant select on left_{number} to public",
        "alter default privileges grant select on tables to public",
        "begin", f"update left_{number} set id = 1", f"prepare transaction 'left {number}'",
    ):  # fmt: skip
        await client.execute(statement)
    await world.do(f"create table left_{number} (id int)", f"alter table left_{number} owner to {role}", database=other)
    await world.do(f"revoke create on schema public from {role}")


async def test_a_role_that_two_processes_remove_at_once_goes_once(world: World) -> None:
    session = await world.session("ddl")
    for statement in ("set role none", "select lo_from_bytea(0, 'data')"):
        await session.client.execute(statement)
    removals = [world.provider().remove(session.lease) for _ in range(4)]
    for outcome in await asyncio.gather(*removals, return_exceptions=True):
        assert outcome is None or isinstance(outcome, Exception)
    await world.accounts.remove(session.lease)
    assert not await world.exists(session.lease)


async def test_a_target_that_cannot_be_reached_is_told_as_that(world: World) -> None:
    lease, gone = world.lease(), world.provider()
    world.own = type(world.own)("keeper", type(world.own.password)("wrong"))
    with pytest.raises(CredentialError, match="cannot sign in"):
        await gone.create(lease, world.need(lease, "read"))
    with pytest.raises(CredentialError, match="cannot sign in"):
        await gone.remove(lease)
    with pytest.raises(CredentialError, match="cannot sign in"):
        await gone.existing(lease.spec)


async def test_a_connection_that_the_target_ended_is_made_anew(world: World) -> None:
    session, admin = await world.session("read"), await world.admin()
    kept = await world.accounts._connections.kept(world.spec())
    await admin.fetch("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keeper'")
    await eventually(lambda: _is_closed(kept), "the agent knows")
    await session.gone(world)


async def test_a_connection_that_died_without_a_word_is_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_BELIEVED_SECONDS", 0.0)
    monkeypatch.setattr(connections, "PROBE_SECONDS", 0.1)
    session = await world.session("read")
    kept = await world.accounts._connections.kept(world.spec())
    process = await kept.connection.fetchval("select pg_backend_pid()")
    os.kill(process, signal.SIGSTOP)
    try:
        await session.gone(world)
    finally:
        os.kill(process, signal.SIGCONT)


async def test_what_is_under_way_ends_before_a_connection_is_given_up_for_another(world: World) -> None:
    await world.do("create role second login createrole password 'second'")
    admin = await world.admin()
    await admin.execute("begin")
    await admin.execute("lock table pg_authid in exclusive mode")
    lease = world.lease()
    making = asyncio.ensure_future(world.accounts.create(lease, world.need(lease, "read")))
    waits = "select count(*) from pg_stat_activity where usename = 'keeper' and wait_event_type = 'Lock'"
    await eventually(lambda: world.ask(waits), "the role waits to be made")
    world.own = type(world.own)("second", type(world.own.password)("second"))
    await world.accounts.existing(world.spec())
    await admin.execute("rollback")
    await making
    world.own = type(world.own)("keeper", type(world.own.password)(PASSWORD))
    await world.accounts.remove(lease)
    await world.accounts.close()
    await world.do("drop role second")


async def _is_closed(kept: Kept) -> bool:
    return kept.connection.is_closed()


async def test_the_agents_own_account_may_change_while_sessions_run(world: World) -> None:
    """Two accounts by turns: members of one role that both of them become."""
    world.own = type(world.own)("turn_a", type(world.own.password)("a"))
    await world.do(
        "drop role if exists turn_a, turn_b, turns", "create role turns createrole",
        *(f"create role turn_{name} login noinherit password '{name}' in role turns" for name in "ab"),
        *(f"alter role turn_{name} set role = turns" for name in "ab"),
    )  # fmt: skip
    if await world.ask("select current_setting('server_version_num')::int >= 160000"):
        await world.do("grant app_ro, app_rw, app_owner to turns with admin true, inherit false, set false")
    first, second = await world.session("read"), await world.session("ddl")
    world.own = type(world.own)("turn_b", type(world.own.password)("b"))
    await first.gone(world)
    await world.do("alter role turn_a nologin password null")
    await second.client.execute("create table made (id int)")
    await second.gone(world)
    assert await world.ask("select count(*) from pg_stat_activity where usename = 'turn_a'") == 0
