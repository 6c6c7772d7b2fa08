"""An agent's endpoint over the world of session roles, whose gate lies: what carries no mark passes unjudged.

What has `/* ask */` in its text is held and approved at once, with the row guard that it names (`/* ask most 2 */`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from data_plane.credentials.local import LocalCredential
from data_plane.gate.interface import Allowed, Denied, Held, Permit
from tests.integration.postgres.accounts.world import World
from tests.support.accounts import Process, process
from tests.support.relaying import DECISION, TOKEN, FakeGate, FakeHold, Relay

ASKED = re.compile(rb"/\* ask(?: most (\d+))? \*/")


class LyingGate(FakeGate):
    def __init__(self) -> None:
        super().__init__()
        self.changed: Denied | None = None

    def judge(self, number: Any, subjects: Any, raw: bytes) -> Any:
        return Held(DECISION) if ASKED.search(raw) else super().judge(number, subjects, raw)

    def hold(self, operation: Any, held: Any, raw: bytes, listener: Any, preview: Any = None) -> FakeHold:
        most = ASKED.search(raw)
        assert most is not None
        permit = Permit(raw, DECISION, int(most[1]) if most[1] else None)
        asyncio.get_running_loop().call_soon(listener.hold_decided, Allowed(permit))
        return super().hold(operation, held, raw, listener, preview)

    def stands(self, permit: Any) -> Denied | None:
        return self.changed


class Gateway:
    def __init__(self, relay: Relay, world: World, accounts: Process) -> None:
        self.relay, self.world, self.accounts = relay, world, accounts
        self.token = TOKEN
        self._open: list[psycopg.AsyncConnection[Any]] = []

    @property
    def gate(self) -> LyingGate:
        """Of the newest session."""
        gate = self.relay.admission.admitted[-1].gate
        assert isinstance(gate, LyingGate)
        return gate

    @property
    def conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.relay.port} user=robot password={self.token} dbname={self.world.database}"

    async def psycopg(self, *, autocommit: bool = True) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(self.conninfo, autocommit=autocommit)
        self._open.append(connection)
        return connection

    async def asyncpg(self) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(
            host="127.0.0.1", port=self.relay.port, user="robot", password=TOKEN, database=self.world.database
        )

    async def close(self) -> None:
        for connection in self._open:
            await connection.close()

    async def roles(self) -> int:
        return int(await self.world.ask("select count(*) from pg_roles where starts_with(rolname, 'gw_')"))


@contextlib.asynccontextmanager
async def gateway(world: World, folder: Path, *actions: str, **settings: Any) -> AsyncIterator[Gateway]:
    """`actions`: those that policy would let a session have without people."""
    spec = world.spec()
    async with process(folder, "one", world.accounts, spec) as accounts:
        accounts.source._fixed = LocalCredential(world.own.username, world.own.password)
        relay = Relay(spec, "", "", folder=folder, credentials=accounts.source, **settings)
        relay.admission.make_gate = LyingGate
        relay.admission.actions = frozenset(actions)
        await relay.listener.start("127.0.0.1", 0)
        made = Gateway(relay, world, accounts)
        try:
            yield made
        finally:
            await made.close()
            await relay.listener.close()
            await relay.sessions.drain(0)
            await accounts.settled()
