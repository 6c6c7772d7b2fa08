"""Rotation at a real PostgreSQL: what works afterwards, what does not any more, and a crash before and after each step."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest

from control_plane.cli.demo.postgres import bundled_binaries
from data_plane.credentials import stored
from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.credentials.rotation import Rotation
from data_plane.credentials.stored import StoredCredential
from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.protocols.postgres.accounts.connections import Connections
from data_plane.protocols.postgres.accounts.rotating import RotatingAccounts
from data_plane.protocols.postgres.catalog_source import AsyncpgCatalogSource
from data_plane.protocols.postgres.target_connection import Opened, open_target
from data_plane.runtime.secret import Secret
from tests.support.postgres import PostgresServer, running_postgres

FIRST = "first-password"
_numbers = itertools.count()


class Crash(Exception):
    """The process is gone; nothing of it goes on."""


class Steps:
    """Lets `left` calls of a rotation happen, then crashes: before the next one's effect, or right after it."""

    def __init__(self) -> None:
        self.left, self.after, self.made = -1, False, 0

    def wrap(self, subject: Any) -> Any:
        steps = self

        class Crashing:
            writable = True

            def __getattr__(self, name: str) -> Any:
                async def call(*values: Any) -> Any:
                    steps.made += 1
                    if steps.left == 0 and not steps.after:
                        raise Crash
                    answer = await getattr(subject, name)(*values)
                    if steps.left == 0:
                        raise Crash
                    steps.left -= 1
                    return answer

                return call

        return Crashing()


class Memory:
    """A store that is as durable as the test."""

    writable = True

    def __init__(self, text: str) -> None:
        self.value = Secret(text)

    async def read(self) -> Secret:
        return self.value

    async def write(self, value: Secret) -> None:
        self.value = value


class Turning:
    """Accounts `a` and `b` at one server, and a rotation that a test may crash."""

    def __init__(self, server: PostgresServer, turns: bool) -> None:
        number = next(_numbers)
        self.server, self.a, self.b = server, f"agent_{number}_a", f"agent_{number}_b"
        self.group = f"agents_{number}"
        self.spec = TargetSpec(
            protocol="postgres", environment="test", agent="demo", address=f"{server.host}:{server.port}",
            database="postgres", tls=TargetTls(mode="disable"),
        )  # fmt: skip
        self.store = Memory(FIRST)
        self.steps = Steps()
        self.turns = (self.a, self.b) if turns else None

    def rotation(self) -> Rotation:
        accounts = self.steps.wrap(RotatingAccounts(self.spec))
        return Rotation(self.steps.wrap(self.store), self.a, accounts, self.turns, _at_once)

    @property
    def active(self) -> PasswordCredential:
        return stored.account(self.store.value, self.a)

    async def signs_in(self, username: str, password: Secret) -> bool:
        return await RotatingAccounts(self.spec).opens(PasswordCredential(username, password))

    async def works(self) -> bool:
        """As sessions sign in: with what is stored, or what is said to be possible besides."""
        return any(
            [await self.signs_in(self.active.username, one) for one in (self.active.password, *self.active.also)]
        )

    async def may_sign_in(self, credential: PasswordCredential) -> None:
        opened = await open_target(self.spec, credential, "postgres", {})
        assert isinstance(opened, Opened), opened
        opened.connection.close()
        passwords = (one.reveal() for one in (credential.password, *credential.also))
        told = (credential.username, *passwords)

        async def known() -> tuple[str, ...]:
            return told

        assert await AsyncpgCatalogSource(self.spec.address, "postgres", known, self.spec.tls).load("") is not None
        connections = Connections("orders", AsyncMock(return_value=credential))
        assert await (await connections.kept(self.spec)).rows("select 1")
        await connections.close()

    async def run(self, *statements: str) -> list[Any]:
        connection = await asyncpg.connect(self.server.url())
        try:
            return [await connection.fetch(statement) for statement in statements]
        finally:
            await connection.close()


async def _at_once() -> None:
    """Nobody signs in meanwhile."""


@pytest.fixture(scope="module")
def newest() -> Iterator[PostgresServer]:
    """PostgreSQL 16 or newer, where altering a role takes ADMIN OPTION on it."""
    with running_postgres(bin_folder=bundled_binaries(), tls=False) as server:
        yield server


@pytest.fixture(params=["system", "newest"])
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return request.getfixturevalue("postgres" if request.param == "system" else "newest")


Make = Callable[..., contextlib.AbstractAsyncContextManager[Turning]]


@pytest.fixture
def turning(server: PostgresServer) -> Make:
    @contextlib.asynccontextmanager
    async def make(
        *, turns: bool = True, rights: str = "", b: str = f"LOGIN PASSWORD '{FIRST}'"
    ) -> AsyncIterator[Turning]:
        made = Turning(server, turns)
        await made.run(
            f"CREATE ROLE {made.group}",
            f"CREATE ROLE {made.a} LOGIN PASSWORD '{FIRST}' {rights} IN ROLE {made.group}",
            f"CREATE ROLE {made.b} {b} {rights} IN ROLE {made.group}",
        )
        yield made

    return make


KINDS = {
    "one account": {"turns": False},
    "two that may alter each other": {"rights": "SUPERUSER"},
    "two that may alter only themselves": {},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_rotation_leaves_the_new_password_working_and_the_old_one_not(turning: Make, kind: str) -> None:
    async with turning(**KINDS[kind]) as one:
        if kind == "two that may alter only themselves":
            one.store.value = _knows_both(one)
        for _ in range(3):
            before = one.active
            done = await one.rotation().rotate()
            assert done.problem == ""
            assert not done.resumed
            assert (done.previous, done.account) == (before.username, one.active.username)
            assert (done.account == done.previous) == (one.turns is None)
            assert await one.signs_in(one.active.username, one.active.password)
            assert not await one.signs_in(before.username, before.password)


def _knows_both(one: Turning) -> Secret:
    asleep = stored.Waiting(stored.Stage.ASLEEP, one.b, (Secret(FIRST),))
    return stored.renewed(one.store.value, one.active, one.a, asleep)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_every_step_locks_nobody_out_and_the_next_run_finishes(
    turning: Make, kind: str, after: bool
) -> None:
    async with turning(**KINDS[kind]) as one:
        if kind == "two that may alter only themselves":
            one.store.value = _knows_both(one)
        crashes = 0
        for step in itertools.count():
            one.steps.left, one.steps.after = step, after
            before = one.active
            try:
                await one.rotation().rotate()
            except Crash:
                crashes += 1
            else:
                break
            assert await one.works(), f"locked out after step {step}"
            one.steps.left = -1
            done = await one.rotation().rotate()
            assert done.problem == ""
            assert await one.signs_in(one.active.username, one.active.password)
            assert one.active.also == ()
            assert not await one.signs_in(before.username, before.password)
            waiting = stored.waiting(one.store.value)
            assert waiting is None or waiting.stage is stored.Stage.ASLEEP
        assert crashes >= 5


async def test_an_idle_account_that_nobody_can_wake_is_told_with_what_is_missing(turning: Make) -> None:
    async with turning() as one:
        with pytest.raises(CredentialError, match=f"{one.a} may not alter {one.b}"):
            await one.rotation().rotate()
        assert await one.works()


async def test_an_account_that_lacks_what_the_other_has_does_not_take_over(turning: Make) -> None:
    async with turning(rights="SUPERUSER") as one:
        await one.run(
            f"ALTER ROLE {one.a} NOSUPERUSER CREATEROLE", f"ALTER ROLE {one.b} NOSUPERUSER",
            f"CREATE ROLE more_{one.group}", f"GRANT more_{one.group} TO {one.a}",
            f"CREATE TABLE t_{one.group} ()", f"GRANT SELECT ON t_{one.group} TO {one.a}",
        )  # fmt: skip
        with pytest.raises(CredentialError) as refused:
            await one.rotation().rotate()
        for missing in ("CREATEROLE", f"no member of more_{one.group}", "granted something (class in postgres)"):
            assert missing in str(refused.value)
        assert one.store.value == Secret(FIRST)


async def test_sessions_of_the_replaced_account_go_on_and_are_counted(turning: Make) -> None:
    async with turning(rights="SUPERUSER") as one:
        running = await asyncpg.connect(
            host=one.server.host, port=one.server.port, user=one.a, password=FIRST, database="postgres"
        )
        done = await one.rotation().rotate()
        assert (done.disabled, done.remaining) == ("disabled", 1)
        assert await running.fetchval("SELECT 1") == 1
        await running.close()
        (found,) = await one.run(f"SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = '{one.a}'")
        assert tuple(found[0]) == (False, None)


@pytest.mark.parametrize("kind", ["one account", "two that may alter each other"])
async def test_no_password_reaches_the_log_of_the_server(turning: Make, kind: str) -> None:
    async with turning(**KINDS[kind]) as one:
        await one.rotation().rotate()
        await one.rotation().rotate()
        assert one.active.password.reveal() not in one.server.log_path.read_text()


async def test_the_session_accounts_that_the_old_one_made_pass_to_the_new_one(turning: Make) -> None:
    """From PostgreSQL 16 on only who has ADMIN OPTION on a role may drop it."""
    async with turning(rights="CREATEROLE", b="NOLOGIN") as one:
        await one.run(f"ALTER ROLE {one.b} LOGIN PASSWORD '{FIRST}'")
        one.store.value = _knows_both(one)
        old = await asyncpg.connect(
            host=one.server.host, port=one.server.port, user=one.a, password=FIRST, database="postgres"
        )
        await old.execute(f"CREATE ROLE gw_{one.group}_x")
        assert (await one.rotation().rotate()).problem == ""
        new = await asyncpg.connect(
            host=one.server.host, port=one.server.port, user=one.b, password=one.active.password.reveal(),
            database="postgres",
        )  # fmt: skip
        await new.execute(f"DROP ROLE gw_{one.group}_x")
        await new.close()
        await old.close()


async def test_a_secret_that_cannot_be_written_is_not_rotated(turning: Make) -> None:
    async with turning(turns=False) as one:
        rotation = one.rotation()
        rotation._store.writable = False
        with pytest.raises(CredentialError, match="cannot write it"):
            await rotation.rotate()


async def test_whoever_signs_in_while_the_password_changes_knows_both(turning: Make) -> None:
    """Before and after the moment in which the target takes the new one: sessions, the catalogue, session accounts."""
    async with turning(turns=False) as one:
        one.steps.left = 4  # it crashes before it has the new password set
        with contextlib.suppress(Crash):
            await one.rotation().rotate()
        credential = await StoredCredential(one.store, one.a).own()
        assert len(credential.also) == 1
        await one.may_sign_in(credential)
        await RotatingAccounts(one.spec).change(credential, credential.also[0])
        assert not await one.signs_in(one.a, credential.password)
        await one.may_sign_in(credential)


async def test_what_somebody_else_has_written_meanwhile_is_not_written_over(turning: Make) -> None:
    async with turning(turns=False) as one:
        rotation = one.rotation()
        genuine = rotation._settle

        async def settle() -> None:
            one.store.value = Secret("changed-by-hand")
            await genuine()

        rotation._settle = settle
        with pytest.raises(CredentialError, match="somebody else has changed the secret"):
            await rotation.rotate()
        assert one.store.value == Secret("changed-by-hand")
        assert await one.signs_in(one.a, Secret(FIRST)), "nothing was changed at the target"


async def test_an_account_that_takes_no_turns_is_not_rotated(turning: Make) -> None:
    async with turning() as one:
        one.turns = ("x", "y")
        with pytest.raises(CredentialError, match="names x and y"):
            await one.rotation().rotate()
