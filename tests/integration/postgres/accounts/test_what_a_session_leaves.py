"""Whatever a session did behind a gate that lied, its role goes, or stays behind disabled, without rights, and told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

import asyncpg
import pytest

from data_plane.credentials.ports import CredentialError, StuckError
from data_plane.policy.model import SessionRoles
from tests.integration.postgres.accounts.world import OWNER, READ, ROLES, WRITE, World, eventually

MEMBERSHIPS = "select count(*) from pg_auth_members where member = $1::regrole"
OWNER_OF = "select tableowner from pg_tables where tablename = $1"


async def left_behind(world: World, role: str) -> None:
    """Nobody can sign in with it, nobody uses it, and it has no rights but those of PUBLIC."""
    found = [one for one in await world.accounts.existing(world.spec()) if one.principal == role]
    assert [(one.can_sign_in, one.in_use) for one in found] == [(False, False)]
    assert await world.ask(MEMBERSHIPS, role) == 0


# ---------------------------------------------------------------- itself


async def test_a_role_that_gives_itself_a_password_still_cannot_sign_in(world: World) -> None:
    session = await world.session("read")
    await session.client.execute(f"alter role {session.role} password 'known'")
    await session.client.execute(f"alter role {session.role} set client_connection_check_interval = 0")
    session.client.terminate()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="not permitted to log in"):
        await world.connect(session.role, "known")
    await session.gone(world)


@pytest.mark.parametrize(
    "change",
    [
        "alter role {role} login",
        "alter role {role} valid until 'infinity'",
        "alter role {role} connection limit 10",
        "alter role {role} createrole",
        "alter role {role} superuser",
        "alter role {role} inherit",
        "alter role {role} rename to gw_mine",
        "alter role app_ro password 'known'",
        "alter role app_ro set search_path = evil",
        "alter role keeper password 'known'",
        "grant {role} to app_ro",
        "grant app_rw to {role}",
        "grant app_ro to keeper",
        "revoke {role} from keeper",
        "create role gw_mine",
        "drop role {role}",
        "comment on role {role} is 'mine'",
        "set session authorization keeper",
        "set role keeper",
        "select rolpassword from pg_authid",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keeper'",
    ],
)
async def test_a_role_cannot_make_itself_more_or_keep_itself(world: World, change: str) -> None:
    session = await world.session("read", "write")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await session.client.execute(change.format(role=session.role))
    assert refused.value.sqlstate in ("42501", "42939", "0A000", "0LP01"), refused.value
    await session.gone(world)


async def test_from_16_on_a_session_cannot_become_its_groups(world: World) -> None:
    session = await world.session("read", "write")
    if session.client.get_server_version().major >= 16:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.client.execute("set role app_rw")
    else:
        await session.client.execute("set role app_rw")
    await session.gone(world)


# ---------------------------------------------------------------- backends


async def test_a_session_that_goes_on_is_ended(world: World) -> None:
    session = await world.session("read")
    running = asyncio.ensure_future(session.client.fetchval("select pg_sleep(60)"))
    await eventually(
        lambda: world.ask(
            "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and usename = $1", session.role
        ),
        "it runs",
    )
    await world.accounts.remove(session.lease)
    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await running
    assert not await world.exists(session.lease)


async def test_a_backend_that_does_not_end_keeps_no_rights(world: World) -> None:
    session = await world.session("read")
    process = await session.client.fetchval("select pg_backend_pid()")
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(StuckError, match="does not end") as stuck:
            await world.accounts.remove(session.lease)
        assert stuck.value.disabled
        assert await world.ask(MEMBERSHIPS, session.role) == 0
    finally:
        os.kill(process, signal.SIGCONT)
    await world.accounts.remove(session.lease)
    assert not await world.exists(session.lease)


# ---------------------------------------------------------------- what it holds

HOLDING: list[Sequence[str]] = [
    ["alter default privileges grant select on tables to public"],
    ["create temp table mine (id int)", "grant all on mine to public"],
    [
        "select lo_from_bytea(0, 'data')",
        "do $$begin execute format('grant all on large object %s to public', (select max(oid) from pg_largeobject_metadata)); end$$",
    ],
    ["create user mapping for current_user server elsewhere"],
    ["select pg_advisory_lock(1)", "begin", "lock table notes in access share mode"],
    ["listen news", "declare c cursor with hold for select * from notes"],
]


@pytest.mark.parametrize("statements", HOLDING, ids=lambda statements: statements[0][:24])
async def test_what_a_session_holds_goes_with_it(world: World, statements: Sequence[str]) -> None:
    await world.do(
        "create foreign data wrapper nothing", "create server elsewhere foreign data wrapper nothing",
        f"grant usage on foreign server elsewhere to {READ}",
    )  # fmt: skip
    session = await world.session("read")
    for statement in statements:
        await session.client.execute(statement)
    await session.gone(world)
    owner = await world.ask("select string_agg(distinct lomowner::regrole::text, ' ') from pg_largeobject_metadata")
    assert owner in (None, OWNER)


async def test_what_the_owner_gave_it_goes_with_it_in_every_database(world: World) -> None:
    session = await world.session("read")
    database = await asyncio.to_thread(world.server.fresh_database)
    await world.do(
        f"alter database {database} owner to {OWNER}", f"alter schema public owner to {OWNER}",
        f"set session authorization {OWNER}; create table there (id int);"
        f"grant select on there to {session.role} with grant option; alter table there enable row level security;"
        f"grant connect on database {database} to {session.role};"
        f"create policy p on there to {session.role} using (true);"
        f"alter default privileges grant select on tables to {session.role};",
        f"set session authorization {session.role}; grant select on there to {WRITE}",
        database=database,
    )  # fmt: skip
    await session.gone(world)
    admin = await world.admin(database)
    kept = await admin.fetchval("select relacl::text from pg_class where relname = 'there'")
    assert session.role not in kept
    assert WRITE not in kept


async def test_what_a_superuser_gave_it_is_told(world: World) -> None:
    session = await world.session("read")
    await world.do("create table theirs (id int)", f"grant select on theirs to {session.role}")
    session.client.terminate()
    with pytest.raises(StuckError, match=r"privileges for table public\.theirs") as stuck:
        await world.accounts.remove(session.lease)
    assert stuck.value.disabled
    await left_behind(world, session.role)
    await world.do(f"revoke all on theirs from {session.role}")
    await session.gone(world)


async def test_a_prepared_transaction_goes_with_its_session(world: World) -> None:
    session = await world.session("read", "write")
    for statement in ("begin", "update notes set note = 'x'", "prepare transaction E'mi\\'ne\\\\'"):
        await session.client.execute(statement)
    await session.gone(world)
    assert await world.ask("select count(*) from pg_prepared_xacts") == 0
    assert await world.ask("select count(*) from notes where note = 'x'") == 0


async def test_a_prepared_transaction_of_the_owner_that_names_the_role_goes_too(world: World) -> None:
    """It holds a lock on the role, which would keep the role for ever."""
    session = await world.session("ddl")
    for statement in ("begin", "create table made (id int)", f"grant select on made to {session.role}"):
        await session.client.execute(statement)
    await session.client.execute("prepare transaction 'owners'")
    await session.gone(world)
    assert await world.ask("select count(*) from pg_prepared_xacts") == 0
    lent = f"select pg_has_role('keeper', '{OWNER}', 'USAGE')"
    assert not await world.ask(lent)


async def test_a_lock_of_somebody_else_keeps_the_role_only_while_it_is_held(world: World) -> None:
    session, other = await world.session("read"), await world.admin()
    await other.execute("begin")
    await other.execute(f"grant select on notes to {session.role}")
    session.client.terminate()
    with pytest.raises(CredentialError, match="nobody can sign in with it any more, but somebody holds a lock"):
        await world.accounts.remove(session.lease)
    await other.execute("commit")
    await session.gone(world)


# ---------------------------------------------------------------- what it owns


async def test_what_a_ddl_session_made_as_itself_belongs_to_the_owner_afterwards(world: World) -> None:
    await world.do("grant create on schema public to public")
    session = await world.session("ddl")
    for statement in ("set role none", "create table mine (id int)", "create view seen as select 1"):
        await session.client.execute(statement)
    await session.gone(world)
    assert await world.ask(OWNER_OF, "mine") == OWNER


async def test_a_table_in_another_database_is_handed_over_too(world: World) -> None:
    session = await world.session("ddl")
    database = await asyncio.to_thread(world.server.fresh_database)
    await world.do("create table there (id int)", f"alter table there owner to {session.role}", database=database)
    await session.gone(world)
    assert await (await world.admin(database)).fetchval(OWNER_OF, "there") == OWNER


@pytest.mark.parametrize(
    "made",
    [
        "create view seen as select * from secrets",
        "create function told() returns text security definer language sql as 'select 1::text'",
        "create table kept as select * from notes",
    ],
)
async def test_what_nobody_let_a_session_make_gets_no_rights_and_is_not_lost(world: World, made: str) -> None:
    """A view or function of the owner's would do what the owner may, for a session that may only read."""
    await world.do("grant create on schema public to public", "create table secrets (id int)")
    session = await world.session("read", "write")
    await session.client.execute(made)
    session.client.terminate()
    for _ in range(2):
        with pytest.raises(StuckError, match=r"(view|function|table) public\..*REASSIGN OWNED BY") as stuck:
            await world.accounts.remove(session.lease)
        assert stuck.value.disabled
    await left_behind(world, session.role)
    await world.do(f"reassign owned by {session.role} to {OWNER}")
    await session.gone(world)


async def test_large_objects_of_a_session_without_owner_are_not_lost(world: World) -> None:
    session = await world.session("read", roles=SessionRoles(roles={"read": (READ,)}))
    await session.client.execute("select lo_from_bytea(0, 'data')")
    session.client.terminate()
    with pytest.raises(StuckError, match="large object"):
        await world.accounts.remove(session.lease)
    await world.do(f"drop owned by {session.role}")
    await session.gone(world)


async def test_what_the_owner_may_not_have_is_told(world: World) -> None:
    """The owner may not create in the schema, so nothing there can be given to it."""
    await world.do("create schema closed", "grant all on schema closed to public")
    session = await world.session("ddl")
    await session.client.execute("set role none")
    await session.client.execute("create function closed.f() returns int language sql as 'select 1'")
    await world.do("revoke all on schema closed from public")
    session.client.terminate()
    with pytest.raises(StuckError, match="closed") as stuck:
        await world.accounts.remove(session.lease)
    assert stuck.value.disabled
    await left_behind(world, session.role)
    await world.do(f"drop owned by {session.role}")
    await session.gone(world)


# ---------------------------------------------------------------- names of others


async def test_agents_and_deployments_leave_each_others_roles_alone(world: World) -> None:
    session = await world.session("read")
    for other in (world.provider(deployment="dep_2"), world.provider(agent="other")):
        assert [one for one in await other.existing(world.spec()) if one.principal == session.role] == []
        assert other.principal(session.lease.id) != session.role
    await session.gone(world)


async def test_a_comment_that_this_agent_did_not_write_hands_nothing_over(world: World) -> None:
    session = await world.session("ddl")
    comment = await world.ask("select shobj_description($1::regrole, 'pg_authid')", session.role)
    await session.gone(world)
    squatter = world.lease()
    await world.do(
        f"create role {squatter.principal}", "create table theirs (id int)",
        f"alter table theirs owner to {squatter.principal}",
        f"comment on role {squatter.principal} is '{comment.replace(session.lease.id, squatter.id)}'",
    )  # fmt: skip
    if await world.ask("select current_setting('server_version_num')::int >= 160000"):
        await world.do(f"grant {squatter.principal} to keeper with admin true, inherit true")
    with pytest.raises(StuckError, match=r"table public\.theirs"):
        await world.accounts.remove(squatter)
    assert await world.ask(OWNER_OF, "theirs") == squatter.principal
    await world.do(f"drop owned by {squatter.principal}", f"drop role {squatter.principal}")


async def test_a_name_that_is_taken_is_not_used(world: World) -> None:
    lease = world.lease(spec=world.spec(ROLES))
    await world.do(f"create role {lease.principal} login")
    with pytest.raises(CredentialError, match="taken the name"):
        await world.accounts.create(lease, world.need(lease, "read"))
    await world.do(f"drop role {lease.principal}")
