"""A target with group roles, an agent's account that can make session roles and no more, and a table."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from typing import Any

import asyncpg

from data_plane.credentials.ports import Lease, Made, Need, PasswordCredential
from data_plane.gate.interface import Requester, SessionFacts, TargetFacts
from data_plane.identifiers import CredentialId, IdentityId, SessionId, TargetName
from data_plane.policy.model import SessionRoles, TargetCredential, TargetSpec, TargetTls
from data_plane.protocols.postgres.accounts.names import Names
from data_plane.protocols.postgres.accounts.provider import PostgresAccounts
from data_plane.runtime.secret import Secret
from tests.support.postgres import PostgresServer

AGENT, PASSWORD = "keeper", "keeper's password"
READ, WRITE, OWNER = "app_ro", "app_rw", "app_owner"
ROLES = SessionRoles(roles={"read": (READ,), "write": (WRITE,)}, owner=OWNER)
ALL_ROLES = "select rolname from pg_roles where rolname like 'gw\\_%'"
_numbers = itertools.count()


class World:
    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.database = server.fresh_database()
        server.execute(
            f"grant all on schema public to {OWNER}",
            f"grant usage on schema public to {READ}, {WRITE}",
            "create table notes (id int primary key, note text)",
            f"alter table notes owner to {OWNER}",
            f"grant select on notes to {READ}",
            f"grant select, insert, update, delete on notes to {WRITE}",
            "insert into notes values (1, 'one'), (2, 'two'), (3, 'three')",
            database=self.database,
        )
        self.own = PasswordCredential(AGENT, Secret(PASSWORD))
        self._connections: list[asyncpg.Connection[Any]] = []
        self._providers: list[PostgresAccounts] = []
        self.accounts = self.provider()

    @staticmethod
    def found(server: PostgresServer) -> None:
        server.execute(
            f"create role {AGENT} login createrole password '{PASSWORD.replace(chr(39), chr(39) * 2)}'",
            f"create role {READ}",
            f"create role {WRITE}",
            f"create role {OWNER}",
        )
        if version(server) >= 16:
            server.execute(f"grant {READ}, {WRITE}, {OWNER} to {AGENT} with admin true, inherit false, set false")

    def provider(self, deployment: str = "dep_1", agent: str = "demo", key: bytes = b"key") -> PostgresAccounts:
        async def own() -> PasswordCredential:
            return self.own

        made = PostgresAccounts("orders", Names(deployment, agent, key), own)
        self._providers.append(made)
        return made

    def spec(self, roles: SessionRoles = ROLES) -> TargetSpec:
        return TargetSpec(
            protocol="postgres",
            environment="test",
            agent="demo",
            address=f"{self.server.host}:{self.server.port}",
            database=self.database,
            tls=TargetTls("disable"),
            credential=TargetCredential(session_roles=roles),
        )

    def lease(self, accounts: PostgresAccounts | None = None, spec: TargetSpec | None = None) -> Lease:
        lease_id = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(16))
        principal = (accounts or self.accounts).principal(lease_id)
        session, target = SessionId(f"ses_{next(_numbers)}"), "orders"
        return Lease(
            lease_id, session, target, "postgres-roles", principal, self.database, 0.0, 0.0, spec or self.spec()
        )

    def need(self, lease: Lease, *actions: str) -> Need:
        target = TargetFacts(TargetName("orders"), "postgres", "test", {})
        requester = Requester(IdentityId("idn_1"), "bot", "machine", ())
        facts = SessionFacts(lease.session, target, requester, CredentialId("crd_1"), "127.0.0.1:1", "psql")
        return Need(facts, lease.spec, self.database, frozenset(actions))

    async def session(self, *actions: str, roles: SessionRoles = ROLES) -> Session:
        """A session as the agent opens it."""
        lease = self.lease(spec=self.spec(roles))
        made = await self.accounts.create(lease, self.need(lease, *actions))
        client = await self.sign_in(made)
        await self.accounts.signed_in(lease)
        return Session(lease, made, client)

    async def sign_in(self, made: Made, database: str = "") -> asyncpg.Connection[Any]:
        assert isinstance(made.credential, PasswordCredential)
        return await self.connect(made.credential.username, made.credential.password.reveal(), database)

    async def connect(self, user: str, password: str, database: str = "") -> asyncpg.Connection[Any]:
        server = self.server
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            host=server.host, port=server.port, user=user, password=password, database=database or self.database
        )
        self._connections.append(connection)
        return connection

    async def admin(self, database: str = "") -> asyncpg.Connection[Any]:
        return await self.connect(self.server.superuser, self.server.password, database)

    async def ask(self, question: str, *given: object) -> Any:
        """One value, as the superuser."""
        admin = await self.admin()
        try:
            return await admin.fetchval(question, *given)
        finally:
            await admin.close()

    async def do(self, *statements: str, database: str = "") -> None:
        """As the superuser, each on its own."""
        await asyncio.to_thread(self.server.execute, *statements, database=database or self.database)

    async def exists(self, lease: Lease) -> bool:
        return bool(await self.ask("select exists (select from pg_roles where rolname = $1)", lease.principal))

    async def end(self) -> None:
        for connection in self._connections:
            connection.terminate()
        for provider in self._providers:
            await provider.close()


class Session:
    def __init__(self, lease: Lease, made: Made, client: asyncpg.Connection[Any]) -> None:
        self.lease, self.made, self.client = lease, made, client
        self.role = made.principal

    async def gone(self, world: World) -> None:
        """As the agent ends it: the connection is closed, then the role goes."""
        self.client.terminate()
        await world.accounts.remove(self.lease)
        assert not await world.exists(self.lease)


def version(server: PostgresServer) -> int:
    async def ask() -> int:
        connection = await asyncpg.connect(server.url())
        try:
            return connection.get_server_version().major
        finally:
            await connection.close()

    return asyncio.run(ask())


async def eventually(true: Callable[[], Any], what: str) -> None:
    """For what no event announces: the state of another process."""
    async with asyncio.timeout(10):
        while not await true():
            await asyncio.sleep(0.01)
    assert what
