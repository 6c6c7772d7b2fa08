"""A target that exists only in memory and knows its rules, and the provider that makes accounts there.

Strict: an account without a lease on the disk is a failed test, as are two calls for one lease at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from data_plane.credentials.feature import SessionAccounts
from data_plane.credentials.local import LocalCredential
from data_plane.credentials.per_session import PerSession
from data_plane.credentials.ports import (
    AccountProvider,
    Credential,
    CredentialError,
    Found,
    Lease,
    Made,
    Need,
    PasswordCredential,
    StuckError,
)
from data_plane.gate.interface import Requester, SessionFacts, TargetFacts
from data_plane.identifiers import CredentialId, IdentityId, SessionId, TargetName
from data_plane.policy.model import SessionRoles, TargetCredential, TargetSpec
from data_plane.runtime.clock import SystemClock
from data_plane.runtime.secret import Secret

TARGET = TargetName("orders")
ROLES = SessionRoles(roles={"read": ("readers",), "write": ("writers",)})
SPEC = TargetSpec(
    protocol="postgres",
    environment="test",
    agent="demo",
    address="db:5432",
    credential=TargetCredential(session_roles=ROLES),
)
THE_TARGETS_OWN = {"memory", "postgres-roles"}  # other providers make accounts for every session
OWN = PasswordCredential("agent", Secret("agent's own"))


def facts(session: str = "ses_1") -> SessionFacts:
    target = TargetFacts(TARGET, "postgres", "test", {})
    requester = Requester(IdentityId("idn_1"), "bot", "machine", ())
    return SessionFacts(SessionId(session), target, requester, CredentialId("crd_1"), "127.0.0.1:1", "psql")


def need(session: str = "ses_1", spec: TargetSpec = SPEC, *actions: str) -> Need:
    return Need(facts(session), spec, "shop", frozenset(actions or ("read",)))


class Account(msgspec.Struct):
    password: str
    lease: str
    roles: set[str]
    enabled: bool = True
    in_time: bool = True  # VALID UNTIL is not over
    sessions: int = 0


class MemoryTarget:
    """What is there. `broken`: an error for every call from now on; `unremovable`: accounts that will not go."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.broken = ""
        self.unremovable: set[str] = set()
        self.made = 0

    def sign_in(self, credential: Credential) -> bool:
        if not isinstance(credential, PasswordCredential):
            return False
        account = self.accounts.get(credential.username)
        if account is None or not account.enabled or not account.in_time or account.sessions:
            return False
        account.sessions += account.password == credential.password.reveal()
        return bool(account.sessions)

    def sign_in_time_over(self) -> None:
        for account in self.accounts.values():
            account.in_time = False


class MemoryAccounts:
    """Implements `ports.AccountProvider`. `at`: called with the name of each step, may wait or raise."""

    name = "memory"

    def __init__(self, target: MemoryTarget, leases: Path) -> None:
        self.target = target
        self._leases = leases
        self._busy: set[str] = set()
        self.at: Callable[[str], object] = lambda step: None
        self.ends_at = 0.0
        self.renewed_to = 0.0
        self.closed = False

    def principal(self, lease_id: str) -> str:
        return f"gw_{lease_id}"

    async def create(self, lease: Lease, need: Need) -> Made:
        assert lease.id in leases_on_disk(self._leases), "no lease on the disk"
        assert need.session.id == lease.session
        with self._alone(lease):
            await self._step("create")
            assert lease.principal not in self.target.accounts
            password = f"password of {lease.principal}"
            self.target.accounts[lease.principal] = Account(password, lease.id, set(need.actions))
            self.target.made += 1
            await self._step("created")
            return Made(PasswordCredential(lease.principal, Secret(password)), lease.principal, self.ends_at)

    async def remove(self, lease: Lease) -> None:
        with self._alone(lease):
            await self._step("remove")
            account = self.target.accounts.get(lease.principal)
            if account is None:
                return
            account.enabled = False
            await self._step("disabled")
            account.sessions = 0
            if lease.principal in self.target.unremovable:
                raise StuckError("it owns what the agent may not touch", disabled=True)
            del self.target.accounts[lease.principal]
            await self._step("removed")

    async def signed_in(self, lease: Lease) -> None:
        with self._alone(lease):
            await self._step("signed-in")
            self.target.accounts[lease.principal].enabled = False

    async def renew(self, lease: Lease) -> float:
        with self._alone(lease):
            await self._step("renew")
            return self.renewed_to or lease.expires_at

    async def existing(self, spec: object) -> list[Found]:
        await self._step("existing")
        return [
            Found(name, account.lease, account.enabled and account.in_time, account.sessions > 0)
            for name, account in self.target.accounts.items()
        ]

    def lacks(self, lease: Lease, actions: Iterable[str]) -> bool:
        return not set(actions) <= self.target.accounts[lease.principal].roles

    async def widen(self, lease: Lease, actions: Iterable[str]) -> None:
        with self._alone(lease):
            await self._step("widen")
            self.target.accounts[lease.principal].roles |= {f"+{action}" for action in actions}
            await self._step("widened")

    async def narrow(self, lease: Lease) -> None:
        with self._alone(lease):
            await self._step("narrow")
            account = self.target.accounts[lease.principal]
            account.roles = {role for role in account.roles if not role.startswith("+")}

    async def close(self) -> None:
        self.closed = True

    async def _step(self, name: str) -> None:
        if self.target.broken:
            raise CredentialError(self.target.broken)
        waiting = self.at(name)
        if isinstance(waiting, asyncio.Event):
            await waiting.wait()
        else:
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def _alone(self, lease: Lease) -> Iterator[None]:
        assert lease.id not in self._busy, "two calls for one lease at the same time"
        self._busy.add(lease.id)
        try:
            yield
        finally:
            self._busy.discard(lease.id)


def leases_on_disk(file: Path) -> Mapping[str, str]:
    """States by id, read by a stranger."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    with contextlib.closing(database):
        return dict(database.execute("SELECT id, state FROM leases"))


class Told:
    """Implements `ports.AccountReports`: what the control plane would hear, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, ...]] = []
        self.alarms: list[str] = []

    def leased(self, lease: Lease) -> None:
        self.all.append(("leased", lease.principal))

    def ended(self, lease: Lease, outcome: str, detail: str) -> None:
        self.all.append((outcome, lease.principal))

    def alarm(self, kind: str, text: str) -> None:
        self.alarms.append(f"{kind}: {text}")


class Process:
    """One run of one worker over `state`. `crash` leaves everything as it is at that moment, as kill -9 does."""

    def __init__(self, state: Path, owner: str, provider: AccountProvider, spec: TargetSpec | None = SPEC) -> None:
        self.told = Told()
        self.ended_sessions: list[str] = []
        self.spec = spec
        self.accounts = SessionAccounts(
            state,
            owner,
            reports=self.told,
            clock=SystemClock(),
            end_session=lambda session, reason, message: self.ended_sessions.append(f"{session} {reason}"),
            spec=lambda _: self.spec,
        )
        self.source: PerSession = self.accounts.source(
            TARGET,
            LocalCredential(OWN.username, OWN.password),
            provider,
            None if provider.name in THE_TARGETS_OWN else provider,
        )

    async def crash(self) -> None:
        """The kernel lets go of what the process held; nothing of it runs any more."""
        while mine := [task for task in asyncio.all_tasks() if not task.get_name().startswith("Task-")]:
            for task in mine:  # those that `tasks.spawn` has named
                task.cancel()
            await asyncio.wait(mine)
        await self.accounts.close()

    async def settled(self) -> None:
        """All removals that have begun are done, or were tried once."""
        assert await self.accounts.ended(10)


@contextlib.asynccontextmanager
async def process(
    state: Path, owner: str, provider: AccountProvider, spec: TargetSpec = SPEC
) -> AsyncIterator[Process]:
    running = Process(state, owner, provider, spec)
    await running.accounts.begin()
    try:
        yield running
    finally:
        await running.accounts.close()
