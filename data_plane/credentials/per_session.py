"""An account of its own for each session: made when the session opens, taken away when it is over.

Implements `ports.CredentialSource` over an `AccountProvider`. The lease is on the disk, and reported, before the
account is made. What has begun at the target is never cancelled because a client went away: it is waited for, then
undone. Nothing here delays the end of a client.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Final, TypeVar

import msgspec
import structlog

from data_plane.credentials.leases import Leases
from data_plane.credentials.ports import (
    AccountProvider,
    AccountReports,
    Credential,
    CredentialError,
    CredentialSource,
    Lease,
    Need,
    PasswordCredential,
)
from data_plane.credentials.removing import Remover
from data_plane.gate.interface import SessionFacts
from data_plane.gate.ports import Clock
from data_plane.identifiers import SessionId
from data_plane.policy import durations
from data_plane.policy.model import TargetSpec
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

T = TypeVar("T")
PATIENCE: Final = 15.0  # seconds for a call of the provider; a removal has its own
_SIGN_IN_SECONDS: Final = 60.0  # for a target that says nothing of it
_RENEW_PART: Final = 3  # of the time that is left: then there are two more tries
_LEAST_PAUSE: Final = 1.0


class Accounts(msgspec.Struct, frozen=True, eq=False):
    """What the accounts of one agent process share. `end_session(id, reason, message)`: its account is of no use."""

    leases: Leases
    remover: Remover
    reports: AccountReports
    clock: Clock
    end_session: Callable[[SessionId, str, str], object]


class _Account:
    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.busy = asyncio.Lock()  # one thing at a time is done to it, in the order in which it was asked for
        self.leased = False
        self.over = False
        self.renewing: asyncio.Task[None] | None = None


class PerSession:
    """One target's. `wanted`: whether a session of a target with this spec gets an account of its own; the others, and
    the agent itself, use `fixed`."""

    def __init__(
        self,
        fixed: CredentialSource,
        provider: AccountProvider,
        accounts: Accounts,
        wanted: Callable[[TargetSpec], bool],
    ) -> None:
        self.provider = provider
        self.wanted = wanted
        self._fixed = fixed
        self._shared = accounts
        self._accounts: dict[SessionId, _Account] = {}
        self._ending: set[str] = set()

    @property
    def living(self) -> Collection[str]:
        """The leases that are the business of nobody but this object now."""
        return {account.lease.id for account in self._accounts.values()} | self._ending

    # ------------------------------------------------------------ a session's account

    async def obtain(self, need: Need) -> Credential:
        if not self.wanted(need.spec):
            return await self._fixed.obtain(need)
        account = _Account(self._lease(need))
        self._accounts[need.session.id] = account
        return await _unhurried(self._make(account, need), f"account for {need.session.id}")

    async def signed_in(self, session: SessionId) -> None:
        account = self._accounts.get(session)
        if account is None:
            await self._fixed.signed_in(session)
            return
        await _unhurried(self._close(account), f"closing of {account.lease.principal}")

    async def own(self) -> PasswordCredential:
        return await self._fixed.own()

    async def preview(self) -> PasswordCredential | None:
        return await self._fixed.preview()

    def personal(self, session: SessionId) -> bool:
        return session in self._accounts

    def lacks(self, session: SessionId, actions: Iterable[str]) -> bool:
        account = self._accounts.get(session)
        if account is None:
            return self._fixed.lacks(session, actions)
        return self.provider.lacks(account.lease, actions)

    async def widen(self, session: SessionId, actions: Iterable[str]) -> None:
        account = self._accounts.get(session)
        if account is None:
            await self._fixed.widen(session, actions)
            return
        try:
            await _unhurried(self._widen(account, tuple(actions)), f"widening of {account.lease.principal}")
        except asyncio.CancelledError:
            spawn(self._take_back(account), f"narrowing of {account.lease.principal}")
            raise

    async def narrow(self, session: SessionId) -> None:
        account = self._accounts.get(session)
        if account is None:
            await self._fixed.narrow(session)
            return
        await _unhurried(self._narrow(account), f"narrowing of {account.lease.principal}")

    async def release(self, session: SessionFacts) -> None:
        account = self._accounts.pop(session.id, None)
        if account is None:
            await self._fixed.release(session)
            return
        account.over = True
        if account.renewing is not None:
            account.renewing.cancel()
        self._ending.add(account.lease.id)
        spawn(self._end(account), f"end of {account.lease.principal or account.lease.id}")

    async def ended(self, seconds: float) -> bool:
        """Whether the removal of every account whose session is over has begun by then."""
        try:
            async with asyncio.timeout(seconds):
                while self._ending:  # noqa: ASYNC110 - once in the life of a process
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------------------ in tasks of their own

    async def _make(self, account: _Account, need: Need) -> Credential:
        async with account.busy:
            await self._shared.leases.begin(account.lease)
            account.leased = True
            self._shared.reports.leased(account.lease)
            if account.over:
                raise CredentialError("the client went away before its account was made")
            made = await _patiently(self.provider.create(account.lease, need), "the account was not made")
            before, ends = account.lease, made.expires_at or account.lease.expires_at
            account.lease = msgspec.structs.replace(before, principal=made.principal, expires_at=ends)
            noted = spawn(self._note(account.lease), f"lease of {made.principal}")
            if account.lease != before:  # the lease alone could not find it again
                await asyncio.shield(noted)
        if made.expires_at and not account.over:
            account.renewing = spawn(self._renew(account), f"renewal of {account.lease.principal}")
        return made.credential

    async def _note(self, lease: Lease) -> None:
        await self._shared.leases.made(lease)

    async def _close(self, account: _Account) -> None:
        async with account.busy:
            if not account.over:
                await _patiently(self.provider.signed_in(account.lease), "the account was not closed")

    async def _widen(self, account: _Account, actions: tuple[str, ...]) -> None:
        async with account.busy:
            if account.over:
                raise CredentialError("the session is over")
            try:
                await _patiently(self.provider.widen(account.lease, actions), "no wider right was given")
            except _UnknownError as error:  # it may have been given
                self._useless(account, str(error))
                raise

    async def _narrow(self, account: _Account) -> None:
        async with account.busy:
            if not account.over:  # else all of it is being taken away
                await _patiently(self.provider.narrow(account.lease), "the wider right was not taken back")

    async def _take_back(self, account: _Account) -> None:
        try:
            await self._narrow(account)
        except CredentialError as error:
            self._useless(account, str(error))

    async def _end(self, account: _Account) -> None:
        try:
            async with account.busy:
                if account.leased:
                    self._shared.remover.start(self.provider, account.lease)
                    await self._shared.leases.ending(account.lease.id)
        except CredentialError as error:
            log.warning("a lease is not up to date", lease=account.lease.id, error=str(error))
        finally:
            self._ending.discard(account.lease.id)

    async def _renew(self, account: _Account) -> None:
        """Before the account ends by itself. When it cannot be renewed, the session ends with it."""
        clock = self._shared.clock
        while (left := account.lease.expires_at - clock.now()) > 0:
            await asyncio.sleep(max(_LEAST_PAUSE, left / _RENEW_PART))
            try:
                async with account.busy:
                    ends = await _patiently(self.provider.renew(account.lease), "the account was not renewed")
                    if ends > account.lease.expires_at:
                        account.lease = msgspec.structs.replace(account.lease, expires_at=ends)
                        await self._shared.leases.made(account.lease)
            except CredentialError as error:
                log.warning("an account was not renewed", principal=account.lease.principal, error=str(error))
        self._useless(account, "it has ended and could not be renewed")

    def _useless(self, account: _Account, why: str) -> None:
        lease = account.lease
        log.error("a session ends because of its account", session=lease.session, target=lease.target, why=why)
        self._shared.end_session(lease.session, "account-lost", f"the account of this session is of no use: {why}")

    def _lease(self, need: Need) -> Lease:
        now = self._shared.clock.now()
        lease_id = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        return Lease(
            id=lease_id,
            session=need.session.id,
            target=need.session.target.name,
            provider=self.provider.name,
            principal=self.provider.principal(lease_id),
            database=need.database,
            created_at=now,
            expires_at=now + _sign_in_seconds(need.spec),
            spec=need.spec,
        )


class _UnknownError(CredentialError):
    """Whether it was done cannot be told."""


def _sign_in_seconds(spec: TargetSpec) -> float:
    roles = spec.credential.session_roles
    try:
        return durations.seconds(roles.sign_in_within) if roles else _SIGN_IN_SECONDS
    except durations.DurationError as error:
        raise CredentialError(f"credential.session_roles.sign_in_within: {error}") from error


async def _unhurried(work: Coroutine[Any, Any, T], name: str) -> T:
    """Goes on to its end when whoever waits for it is cancelled. Raises CredentialError."""
    result = await asyncio.shield(spawn(_result(work), name))
    if isinstance(result, CredentialError):
        raise result
    return result


async def _result(work: Coroutine[Any, Any, T]) -> T | CredentialError:
    try:
        return await work
    except CredentialError as error:
        return error


async def _patiently(work: Coroutine[Any, Any, T], failed: str) -> T:
    """Raises CredentialError, whatever goes wrong."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await work
    except CredentialError:
        raise
    except TimeoutError as error:
        raise _UnknownError(f"{failed}: the target did not answer within {PATIENCE:.0f} s") from error
    except Exception as error:
        log.exception("a provider of accounts failed")
        raise _UnknownError(f"{failed}: {type(error).__name__}") from error
