"""A session's role is given a wider group for one operation, and keeps nothing of it; what is made goes to the owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import asyncpg
import pytest

from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.policy.model import SessionRoles
from data_plane.runtime.secret import Secret
from tests.integration.postgres.accounts.world import OWNER, READ, WRITE, Session, World, eventually

DELETE = "delete from notes where id = 1"
OWNER_OF = "select tableowner from pg_tables where tablename = $1"
GROUPS = "select array_agg(roleid::regrole::text order by 1) from pg_auth_members where member = $1::regrole"
SCHEMA_FOR_ALL = "grant create on schema public to public"


async def test_a_read_session_writes_while_it_is_wider_and_not_after(world: World) -> None:
    session = await world.session("read")
    assert world.accounts.lacks(session.lease, ["write"])
    await world.accounts.widen(session.lease, ["write"])
    await session.client.execute(DELETE)
    await world.accounts.narrow(session.lease)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await session.client.execute(DELETE)
    assert await world.ask(GROUPS, session.role) == [READ]
    await session.gone(world)


async def test_nothing_is_lacking_that_policy_allows_or_that_no_role_stands_for(world: World) -> None:
    session = await world.session("read")
    assert not world.accounts.lacks(session.lease, ["read", "session", "admin", "unknown"])
    assert world.accounts.lacks(session.lease, ["read", "ddl"])
    await session.gone(world)


async def test_a_session_that_runs_as_the_owner_is_not_made_wider(world: World) -> None:
    """What is given to its own role would be of use to nothing but SET ROLE NONE."""
    session = await world.session("ddl")
    assert not world.accounts.lacks(session.lease, ["write"])
    await session.client.execute(DELETE)
    await session.gone(world)


async def test_a_role_of_another_process_lacks_everything_and_gets_nothing(world: World) -> None:
    session, other = await world.session("read"), world.provider()
    assert other.lacks(session.lease, ["read"])
    with pytest.raises(CredentialError, match="gone"):
        await other.widen(session.lease, ["write"])
    with pytest.raises(CredentialError, match="gone"):
        await other.narrow(session.lease)
    await session.gone(world)


async def test_what_the_agent_may_not_give_is_refused_and_nothing_is_given(world: World) -> None:
    roles = SessionRoles(roles={"read": (READ,), "write": (WRITE, "no_such_role")})
    session = await world.session("read", roles=roles)
    with pytest.raises(CredentialError, match="no_such_role"):
        await world.accounts.widen(session.lease, ["write"])
    assert await world.ask(GROUPS, session.role) == [READ]
    await world.accounts.narrow(session.lease)
    await session.gone(world)


async def test_whether_it_was_given_is_not_known_when_the_answer_is_lost_and_narrowing_takes_it_back(
    world: World,
) -> None:
    session, locks, watch = await world.session("read"), await world.admin(), await world.admin()
    await locks.execute("begin")
    await locks.execute("lock table pg_auth_members in access exclusive mode")
    ends = (
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keeper' and wait_event_type = 'Lock'"
    )
    waits = "select count(*) from pg_stat_activity where usename = 'keeper' and wait_event_type = 'Lock'"

    async def cut() -> None:
        await eventually(lambda: watch.fetchval(waits), "the grant waits")
        await watch.fetchval(ends)
        await locks.execute("rollback")

    with pytest.raises(Exception, match=r"terminating|did not answer") as lost:
        await _both(world.accounts.widen(session.lease, ["write"]), cut())
    assert not isinstance(lost.value, CredentialError)
    await world.accounts.narrow(session.lease)
    assert await world.ask(GROUPS, session.role) == [READ]
    await session.gone(world)


async def test_narrowing_twice_and_widening_twice_do_no_harm(world: World) -> None:
    session = await world.session("read")
    for _ in range(2):
        await world.accounts.widen(session.lease, ["write"])
    for _ in range(2):
        await world.accounts.narrow(session.lease)
    assert await world.ask(GROUPS, session.role) == [READ]
    await session.gone(world)


# ---------------------------------------------------------------- approved ddl


async def test_what_people_let_a_session_make_belongs_to_the_owner_at_once(world: World) -> None:
    session = await world.session("read")
    await world.accounts.widen(session.lease, ["ddl"])
    await session.client.execute("create table made (id int)")
    await world.accounts.narrow(session.lease)
    assert await world.ask(OWNER_OF, "made") == OWNER
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await session.client.execute("drop table made")
    await session.gone(world)


async def test_what_was_not_committed_then_belongs_to_the_owner_after_the_session(world: World) -> None:
    session = await world.session("read")
    await session.client.execute("begin")
    await world.accounts.widen(session.lease, ["ddl"])
    await session.client.execute("create table made (id int)")
    await world.accounts.narrow(session.lease)
    await session.client.execute("commit")
    assert await world.ask(OWNER_OF, "made") == session.role
    await session.gone(world)
    assert await world.ask(OWNER_OF, "made") == OWNER


async def test_the_next_approval_hands_over_what_was_not_committed_at_the_last(world: World) -> None:
    session = await world.session("read")
    await session.client.execute("begin")
    await world.accounts.widen(session.lease, ["ddl"])
    await session.client.execute("create table made (id int)")
    await world.accounts.narrow(session.lease)
    await session.client.execute("commit")
    await world.accounts.widen(session.lease, ["write"])
    await world.accounts.narrow(session.lease)
    assert await world.ask(OWNER_OF, "made") == OWNER
    await session.gone(world)


async def test_what_is_locked_is_handed_over_later_and_the_right_is_gone_all_the_same(world: World) -> None:
    session, reader = await world.session("read"), await world.admin()
    await world.accounts.widen(session.lease, ["ddl"])
    await session.client.execute("create table made (id int)")
    await reader.execute("begin")
    await reader.execute("select from made")
    await world.accounts.narrow(session.lease)
    assert await world.ask(GROUPS, session.role) == [READ]
    await reader.execute("rollback")
    await session.gone(world)
    assert await world.ask(OWNER_OF, "made") == OWNER


async def test_what_the_owner_may_not_have_ends_no_session(world: World) -> None:
    session = await world.session("read")
    await world.do("create schema closed", f"grant usage, create on schema closed to {session.role}")
    await world.accounts.widen(session.lease, ["ddl"])
    await session.client.execute("create function closed.f() returns int language sql as 'select 1'")
    await world.accounts.narrow(session.lease)
    assert await world.ask(GROUPS, session.role) == [READ]
    await world.do(f"drop owned by {session.role}")
    await session.gone(world)


async def test_the_agent_keeps_no_right_of_the_owner_that_it_did_not_have(world: World) -> None:
    session = await world.session("read")
    await world.accounts.widen(session.lease, ["ddl"])
    await session.client.execute("create table made (id int)")
    await world.accounts.narrow(session.lease)
    await session.gone(world)
    assert not await world.ask(f"select pg_has_role('keeper', '{OWNER}', 'USAGE')")


async def test_an_approval_of_something_else_lets_nothing_be_handed_over(world: World) -> None:
    await world.do(SCHEMA_FOR_ALL)
    session = await world.session("read")
    await world.accounts.widen(session.lease, ["write"])
    await session.client.execute("create view seen as select 1")
    await world.accounts.narrow(session.lease)
    assert await world.ask("select viewowner from pg_views where viewname = 'seen'") == session.role
    await session.client.execute("drop view seen")
    await session.gone(world)


async def _both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Raises what the first raises, when both are done."""
    done, _ = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(done, BaseException):
        raise done


async def test_what_an_account_gave_that_was_replaced_is_not_left_to_the_session_without_a_word(world: World) -> None:
    """From PostgreSQL 16 on nobody else can revoke it: then the session must end, and its role goes all the same."""
    session = await world.session("read")
    await world.accounts.widen(session.lease, ["write"])
    other = f"keeper_{session.role[-16:]}"
    await world.do(f"create role {other} login createrole password 'p'")
    if version_of(session) >= 16:
        admin = f"grant {READ}, {WRITE}, {OWNER}, {session.role} to {other} with admin true, inherit false, set false"
        await world.do(admin)
    world.own = PasswordCredential(other, Secret("p"))
    if version_of(session) >= 16:
        with pytest.raises(CredentialError, match="cannot be taken back"):
            await world.accounts.narrow(session.lease)
    else:
        await world.accounts.narrow(session.lease)
        assert await world.ask(GROUPS, session.role) == [READ]
    await session.gone(world)


def version_of(session: Session) -> int:
    return int(session.client.get_server_version().major)
