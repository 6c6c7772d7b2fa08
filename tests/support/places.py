"""Where accounts for sessions can be made, for the one contract that all providers keep.

A new provider gets a `Place` of its own here and a name in tests/contract/test_credential_sources.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import asyncpg
import msgspec

from data_plane.credentials.ports import AccountProvider, Credential, PasswordCredential
from data_plane.policy.model import TargetCredential, TargetSpec, TargetTls
from data_plane.protocols.postgres.accounts.names import Names
from data_plane.protocols.postgres.accounts.provider import PostgresAccounts
from data_plane.runtime.secret import Secret
from tests.support.accounts import SPEC, TARGET, MemoryAccounts, MemoryTarget
from tests.support.postgres import PostgresServer
from tests.support.session_roles import found, session_roles

DATABASE = "contract"


class Place(Protocol):
    spec: TargetSpec

    def provider(self) -> AccountProvider:
        """As a process that has just started makes it: it knows nothing of what others made."""

    async def use(self, credential: Credential) -> Use | None:
        """Signs in with it. None: it cannot be used."""

    async def exists(self, principal: str) -> bool: ...

    async def sign_in_time_over(self, principal: str) -> None: ...


class Use(Protocol):
    """Somebody who has signed in."""

    async def alive(self) -> bool: ...

    async def end(self) -> None: ...


class MemoryPlace:
    spec = SPEC

    def __init__(self, leases: Path) -> None:
        self.target = MemoryTarget()
        self._leases = leases

    def provider(self) -> MemoryAccounts:
        return MemoryAccounts(self.target, self._leases)

    async def use(self, credential: Credential) -> MemoryUse | None:
        if not self.target.sign_in(credential) or not isinstance(credential, PasswordCredential):
            return None
        return MemoryUse(self.target, credential.username)

    async def exists(self, principal: str) -> bool:
        return principal in self.target.accounts

    async def sign_in_time_over(self, principal: str) -> None:
        self.target.accounts[principal].in_time = False


class MemoryUse:
    def __init__(self, target: MemoryTarget, name: str) -> None:
        self._target, self._name = target, name

    async def alive(self) -> bool:
        account = self._target.accounts.get(self._name)
        return account is not None and account.sessions > 0

    async def end(self) -> None:
        if await self.alive():
            self._target.accounts[self._name].sessions = 0


class PostgresPlace:
    """Roles of a real PostgreSQL, made by an account that is no superuser. `found` makes the database, once."""

    def __init__(self, server: PostgresServer, own: PasswordCredential) -> None:
        self._server, self._own = server, own
        self.spec = TargetSpec(
            protocol="postgres",
            environment="test",
            agent="demo",
            address=f"{server.host}:{server.port}",
            database=DATABASE,
            tls=TargetTls("disable"),
            credential=msgspec.convert(session_roles(), TargetCredential),
        )

    @staticmethod
    def found(server: PostgresServer) -> PasswordCredential:
        username, password = found(server, DATABASE)
        return PasswordCredential(username, Secret(password))

    def provider(self) -> PostgresAccounts:
        async def own() -> PasswordCredential:
            return self._own

        return PostgresAccounts(TARGET, Names("dep_1", "demo", b"key"), own)

    async def use(self, credential: Credential) -> PostgresUse | None:
        assert isinstance(credential, PasswordCredential)
        try:
            connection = await asyncpg.connect(
                host=self._server.host,
                port=self._server.port,
                user=credential.username,
                password=credential.password.reveal(),
                database=DATABASE,
            )
        except asyncpg.PostgresError:
            return None
        return PostgresUse(connection)

    async def exists(self, principal: str) -> bool:
        return bool(await self._ask("SELECT count(*) FROM pg_roles WHERE rolname = $1", principal))

    async def sign_in_time_over(self, principal: str) -> None:
        await self._ask(f"ALTER ROLE {principal} VALID UNTIL '2000-01-01'")

    async def _ask(self, question: str, *given: object) -> Any:
        admin = await asyncpg.connect(self._server.url())
        try:
            return await admin.fetchval(question, *given)
        finally:
            await admin.close()


class PostgresUse:
    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def alive(self) -> bool:
        try:
            return bool(await self._connection.fetchval("SELECT 1") == 1)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False

    async def end(self) -> None:
        self._connection.terminate()
