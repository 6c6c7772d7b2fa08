"""Accounts that a real Vault makes in a real PostgreSQL, and takes away again: also when the agent is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping

import asyncpg
import msgspec
import pytest

from data_plane.credentials import vault_accounts
from data_plane.credentials.ports import CredentialError, Lease, Need, PasswordCredential, StuckError
from data_plane.credentials.settings import AppRole, VaultAuth, VaultDatabase
from data_plane.credentials.stored import StoredCredential
from data_plane.credentials.vault import Vault
from data_plane.credentials.vault_accounts import DATABASE, Dynamic, Issued, VaultAccounts, VaultOwnAccount
from data_plane.identifiers import SessionId
from data_plane.policy.model import SessionRoles, TargetCredential, TargetSpec
from data_plane.runtime.clock import SystemClock
from tests.support.postgres import PostgresServer
from tests.support.vault import VaultServer

MAY = {
    "database/creds/*": ["read"],
    "auth/token/create-orphan": ["update"],
    "sys/leases/renew": ["update"],
    "sys/leases/revoke": ["update"],
}
MAKE = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"""
SPEC = TargetSpec(protocol="postgres", environment="test", agent="a", address="127.0.0.1:5432")


@pytest.fixture(scope="module")
def engine(vault: VaultServer, postgres: PostgresServer) -> Iterator[VaultServer]:
    """A role `orders` whose accounts last an hour, unless they end sooner."""
    vault.root.secrets.database.configure(
        "pg",
        plugin_name="postgresql-database-plugin",
        allowed_roles=["*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres",
        username=postgres.superuser,
        password=postgres.password,
    )
    for role, seconds in (("orders", 3600), ("brief", 3)):
        vault.root.secrets.database.create_role(
            role, "pg", [MAKE], default_ttl=f"{seconds}s", max_ttl=f"{seconds}s" if seconds < 60 else "24h"
        )
    yield vault
    vault.root.sys.revoke_prefix("database/creds")


def dynamic(vault: VaultServer, role: str = "orders", rules: dict[str, list[str]] = MAY) -> Dynamic:
    role_id, secret_id = vault.approle("agent", rules)
    auth = VaultAuth(approle=AppRole(role_id, str(secret_id)))
    place = VaultDatabase(address=vault.address, auth=auth, ca_file=str(vault.ca), role=role)
    return Dynamic(Vault(place), DATABASE, place.mount, place.role)


class Clock(SystemClock):
    """Ahead by some seconds."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def lease(principal: str = "", spec: TargetSpec = SPEC) -> Lease:
    now = SystemClock().now()
    return Lease("a" * 16, SessionId("ses_1"), "orders", "vault-database", principal, "postgres", now, now + 60, spec)


def need(spec: TargetSpec = SPEC) -> Need:
    return Need(None, spec, "postgres", frozenset({"read"}))  # Vault asks nothing of the session


async def roles(postgres: PostgresServer) -> set[str]:
    connection = await asyncpg.connect(postgres.url())
    try:
        return {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")}
    finally:
        await connection.close()


async def signs_in(postgres: PostgresServer, credential: PasswordCredential) -> str:
    connection = await asyncpg.connect(
        host=postgres.host,
        port=postgres.port,
        user=credential.username,
        password=credential.password.reveal(),
        database="postgres",
    )
    try:
        return str(await connection.fetchval("SELECT session_user"))
    finally:
        await connection.close()


async def test_a_session_gets_an_account_that_is_gone_afterwards(engine: VaultServer, postgres: PostgresServer) -> None:
    provider = VaultAccounts(dynamic(engine), SystemClock())
    made = await provider.create(lease(), need())
    assert isinstance(made.credential, PasswordCredential)
    name = made.credential.username
    assert await signs_in(postgres, made.credential) == name
    assert made.principal.startswith(f"{name} database/creds/orders/")
    assert 590 < made.expires_at - SystemClock().now() <= 600
    held = lease(made.principal)
    assert not provider.lacks(held, ["write"])
    await provider.remove(held)
    assert name not in await roles(postgres)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await signs_in(postgres, made.credential)
    await provider.remove(held)


async def test_another_process_takes_away_what_a_dead_one_has_left(
    engine: VaultServer, postgres: PostgresServer
) -> None:
    made = await VaultAccounts(dynamic(engine), SystemClock()).create(lease(), need())
    survivor = VaultAccounts(dynamic(engine), SystemClock())
    await survivor.remove(lease(made.principal))
    assert made.principal.split()[0] not in await roles(postgres)
    assert await survivor.existing(SPEC) == []


async def test_an_account_nobody_wrote_down_ends_with_its_token(
    engine: VaultServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent was killed when Vault's answer was on the way."""
    monkeypatch.setattr(vault_accounts, "LIFETIME", 1.0)
    clock = Clock()
    made = await VaultAccounts(dynamic(engine), clock).create(lease(), need())
    survivor, unknown = VaultAccounts(dynamic(engine), clock), lease()
    with pytest.raises(CredentialError, match="if it made an account, it ends it within 12 minutes"):
        await survivor.remove(unknown)
    async with asyncio.timeout(20):
        while made.principal.split()[0] in await roles(postgres):
            await asyncio.sleep(0.1)
    clock.ahead = 721
    await survivor.remove(unknown)


async def test_an_account_lives_as_long_as_it_is_renewed(
    engine: VaultServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_accounts, "LIFETIME", 3.0)
    provider = VaultAccounts(dynamic(engine), SystemClock())
    made = await provider.create(lease(), need())
    held = msgspec.structs.replace(lease(made.principal), expires_at=made.expires_at)
    for _ in range(5):
        await asyncio.sleep(1)
        renewed = await provider.renew(held)
        assert 2 < renewed - SystemClock().now() <= 3
    assert made.principal.split()[0] in await roles(postgres)
    assert await VaultAccounts(dynamic(engine), SystemClock()).renew(held) == held.expires_at, "not this one's"
    await provider.remove(held)
    with pytest.raises(CredentialError):
        await dynamic_renewal(provider, held)


async def dynamic_renewal(provider: VaultAccounts, held: Lease) -> float:
    """With a token that has ended."""
    token = provider._dynamic.issue({}).token
    provider._dynamic.end(token)
    provider._tokens[held.id] = token
    return await provider.renew(held)


async def test_what_cannot_be_revoked_is_stuck(engine: VaultServer, postgres: PostgresServer) -> None:
    provider = VaultAccounts(dynamic(engine), SystemClock())
    made = await provider.create(lease(), need())
    name, held = made.principal.split()[0], lease(made.principal)
    connection = await asyncpg.connect(postgres.url())
    await connection.execute(f'CREATE TABLE owned (id int); ALTER TABLE owned OWNER TO "{name}"')
    with pytest.raises(
        StuckError, match=r"cannot revoke v-.*cannot be dropped because some objects depend on it"
    ) as caught:
        await provider.remove(held)
    assert not caught.value.disabled
    await connection.execute("DROP TABLE owned")
    await connection.close()
    await provider.remove(held)
    assert name not in await roles(postgres)


async def test_nothing_is_left_when_vault_makes_no_account(engine: VaultServer, postgres: PostgresServer) -> None:
    before = await roles(postgres)
    for role, rules, problem in [
        ("unknown", MAY, "database/creds/unknown: unknown role"),
        ("orders", {**MAY, "database/creds/*": ["deny"]}, "database/creds/orders: permission denied"),
        ("orders", {**MAY, "auth/token/create-orphan": ["deny"]}, "auth/token/create-orphan: permission denied"),
    ]:
        with pytest.raises(CredentialError, match=problem):
            await VaultAccounts(dynamic(engine, role, rules), SystemClock()).create(lease(), need())
    assert await roles(postgres) == before
    both = msgspec.structs.replace(
        SPEC, credential=TargetCredential(session_roles=SessionRoles(roles={"read": ("r",)}))
    )
    with pytest.raises(CredentialError, match="names session_roles, and this agent takes accounts from Vault"):
        await VaultAccounts(dynamic(engine), SystemClock()).create(lease(spec=both), need(both))


async def test_an_answer_that_comes_too_late_is_taken_back(
    engine: VaultServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = VaultAccounts(dynamic(engine), SystemClock())
    issue, end = provider._dynamic.issue, provider._dynamic.end
    asked, given_up, ended = threading.Event(), threading.Event(), threading.Event()

    def slowly(told: Mapping[str, str]) -> Issued:
        asked.set()
        given_up.wait(10)
        return issue(told)

    monkeypatch.setattr(provider._dynamic, "issue", slowly)
    monkeypatch.setattr(provider._dynamic, "end", lambda token: (end(token), ended.set()))
    before = await roles(postgres)
    making = asyncio.ensure_future(provider.create(lease(), need()))
    assert await asyncio.to_thread(asked.wait, 10)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    given_up.set()
    assert await asyncio.to_thread(ended.wait, 10)
    async with asyncio.timeout(20):
        while await roles(postgres) != before:
            await asyncio.sleep(0.05)


async def test_the_agents_own_account_is_kept_renewed_and_made_anew(
    engine: VaultServer, postgres: PostgresServer
) -> None:
    clock = Clock()
    source = StoredCredential(VaultOwnAccount(dynamic(engine), clock, "orders"))
    first = await source.own()
    assert await signs_in(postgres, first) == first.username
    assert await source.own() == first
    clock.ahead = 400
    assert await source.own() == first, "renewed"
    engine.root.sys.revoke_prefix("database/creds/orders")
    clock.ahead = 900
    second = await source.own()
    assert second.username != first.username
    assert await signs_in(postgres, second) == second.username
    with pytest.raises(CredentialError, match="nothing of it is written from here"):
        await source.store.write(second.password)


async def test_an_own_account_whose_role_lets_it_grow_no_older_is_replaced(engine: VaultServer) -> None:
    clock = Clock()
    source = StoredCredential(VaultOwnAccount(dynamic(engine, "brief"), clock, "orders"))
    first = await source.own()
    await asyncio.sleep(2.4)
    assert await source.own() != first
