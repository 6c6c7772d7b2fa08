"""The life of a session role, as it should be: made, used once, gone."""

from __future__ import annotations

import asyncpg
import pytest

from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.policy.model import SessionRoles
from tests.integration.postgres.accounts.world import OWNER, READ, WRITE, World, eventually

WRITES = "update notes set note = 'changed' where id = 1"


async def test_a_session_runs_as_a_role_of_its_own_that_is_gone_afterwards(world: World) -> None:
    session = await world.session("read")
    assert await session.client.fetchval("select current_user") == session.role
    assert session.role == world.accounts.principal(session.lease.id)
    assert await session.client.fetchval("select count(*) from notes") == 3
    await session.gone(world)


async def test_a_read_session_cannot_write_whatever_the_gate_says(world: World) -> None:
    session = await world.session("read")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await session.client.execute(WRITES)
    await session.gone(world)


async def test_a_session_has_the_roles_of_every_action_that_policy_may_allow_it(world: World) -> None:
    session = await world.session("read", "write", "session")
    await session.client.execute(WRITES)
    members = "select array_agg(roleid::regrole::text order by 1) from pg_auth_members where member = $1::regrole"
    assert await world.ask(members, session.role) == [READ, WRITE]
    await session.gone(world)


async def test_a_session_that_may_do_ddl_runs_as_the_owner(world: World) -> None:
    session = await world.session("read", "ddl")
    await session.client.execute("create table made (id int)")
    for statement in ("reset role", "discard all", "create table again (id int)"):
        await session.client.execute(statement)
    assert await session.client.fetchval("select session_user") == session.role
    owners = "select array_agg(distinct tableowner) from pg_tables where tablename in ('made', 'again')"
    assert await world.ask(owners) == [OWNER]
    await session.gone(world)


async def test_the_owner_is_the_first_role_of_ddl_when_none_is_named(world: World) -> None:
    session = await world.session("ddl", roles=SessionRoles(roles={"ddl": (OWNER,)}))
    assert await session.client.fetchval("select current_user") == OWNER
    await session.gone(world)


async def test_the_role_tells_people_what_it_is(world: World) -> None:
    session = await world.session("read")
    comment = await world.ask("select shobj_description($1::regrole, 'pg_authid')", session.role)
    assert all(word in comment for word in ("Assentry", "dep_1", "demo", "orders", session.lease.session))
    await session.gone(world)


async def test_a_role_signs_in_once(world: World) -> None:
    session = await world.session("read")
    for _ in range(2):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await world.sign_in(session.made)
        session.client.terminate()
    await session.gone(world)


async def test_before_it_has_signed_in_a_role_takes_one_connection_only(world: World) -> None:
    lease = world.lease()
    made = await world.accounts.create(lease, world.need(lease, "read"))
    await world.sign_in(made)
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await world.sign_in(made)
    await world.accounts.remove(lease)


async def test_nobody_signs_in_after_the_time_for_it(world: World) -> None:
    lease = world.lease(spec=world.spec(SessionRoles(roles={"read": (READ,)}, sign_in_within="1s")))
    made = await world.accounts.create(lease, world.need(lease, "read"))
    late = "select rolvaliduntil < now() from pg_roles where rolname = $1"
    await eventually(lambda: world.ask(late, made.principal), "the time is over")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await world.sign_in(made)
    found = [one for one in await world.accounts.existing(lease.spec) if one.lease == lease.id]
    assert [(one.can_sign_in, one.in_use) for one in found] == [(False, False)]
    await world.accounts.remove(lease)
    assert not await world.exists(lease)


async def test_what_exists_is_listed_with_its_lease_and_use(world: World) -> None:
    waiting = world.lease()
    await world.accounts.create(waiting, world.need(waiting, "read"))
    session = await world.session("read")
    found = {
        one.lease: (one.principal, one.can_sign_in, one.in_use) for one in await world.accounts.existing(world.spec())
    }
    assert found[waiting.id] == (waiting.principal, True, False)
    assert found[session.lease.id] == (session.role, False, True)
    await session.gone(world)
    await world.accounts.remove(waiting)
    assert [one for one in await world.accounts.existing(world.spec()) if one.lease == waiting.id] == []


async def test_a_role_that_never_was_is_gone(world: World) -> None:
    await world.accounts.remove(world.lease())


async def test_the_password_is_nowhere_at_the_target(world: World) -> None:
    session = await world.session("read")
    assert isinstance(session.made.credential, PasswordCredential)
    password = session.made.credential.password.reveal()
    await session.gone(world)
    assert session.role in world.server.log_path.read_text()
    assert password not in world.server.log_path.read_text()


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ("alter role keeper nocreaterole", "CREATEROLE"),
        ("alter role app_ro rename to app_other", "does not exist"),
    ],
)
async def test_what_the_agents_account_lacks_is_named_with_a_way_out(world: World, lacking: str, told: str) -> None:
    lease = world.lease()
    await world.do(lacking)
    try:
        with pytest.raises(CredentialError, match=told) as refused:
            await world.accounts.create(lease, world.need(lease, "read"))
    finally:
        await world.do(
            "alter role app_other rename to app_ro" if "rename" in lacking else "alter role keeper createrole"
        )
    assert "assentry targets doctor orders" in str(refused.value)
    assert not await world.exists(lease)


async def test_a_superuser_is_no_group_role(world: World) -> None:
    lease = world.lease(spec=world.spec(SessionRoles(roles={"read": (world.server.superuser,)})))
    with pytest.raises(CredentialError, match="superuser"):
        await world.accounts.create(lease, world.need(lease, "read"))
