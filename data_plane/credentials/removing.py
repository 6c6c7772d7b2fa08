"""Takes accounts away, again and again until they are known to be gone.

Each account has one task, which waits longer between its tries; nothing waits for it, no client's end either. What it
does not finish before the process ends, the janitor of the next process begins anew from the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from data_plane.credentials.leases import Leases, LeaseState
from data_plane.credentials.ports import AccountProvider, AccountReports, CredentialError, Lease, StuckError
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

PATIENCE: Final = 60.0  # seconds for one try
AT_ONCE: Final = 16  # tries at one time, so that a thousand sessions that end together do not take the target down
ORPHANED: Final = "orphaned-account"  # the notice
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_TOLD_AFTER: Final = 3  # tries in vain: by then it is no passing trouble
_STUCK_AFTER: Final = 2  # and by then it is no passing lock
_ALARM_AFTER: Final = 8  # about a minute of them


class Remover:
    """One for the process."""

    def __init__(self, leases: Leases, reports: AccountReports, pause: Callable[[int], float] | None = None) -> None:
        self._leases = leases
        self._reports = reports
        self._pause = pause or (lambda tries: min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries, 16)))
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, asyncio.Event] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._orphans: set[str] = set()

    @property
    def working_on(self) -> Collection[str]:
        """The leases whose accounts are being removed."""
        return self._running.keys()

    @property
    def orphans(self) -> int:
        """Accounts that people should look at: they are still there and will not go."""
        return len(self._orphans)

    def start(self, provider: AccountProvider, lease: Lease) -> None:
        """Returns at once, harmless twice."""
        if lease.id in self._running:
            return
        self._tried[lease.id] = asyncio.Event()
        task = spawn(self._remove(provider, lease), f"removal of {lease.principal or lease.id}")
        self._running[lease.id] = task
        task.add_done_callback(lambda _: self._ended(lease.id))

    async def tried(self, seconds: float) -> bool:
        """Whether every account was tried at least once by then: what would not go then will not go soon."""
        waiting = [event.wait() for event in self._tried.values()]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*waiting)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def alarm(self, lease: Lease, why: str) -> None:
        """Tells people, once for as long as the account is there."""
        if lease.id not in self._orphans:
            self._orphans.add(lease.id)
            self._reports.alarm(ORPHANED, f"account {lease.principal or lease.id} at {lease.target}: {why}")

    # ------------------------------------------------------------ one account

    async def _remove(self, provider: AccountProvider, lease: Lease) -> None:
        tries = 0
        while not await self._try(provider, lease, tries):
            self._tried[lease.id].set()
            await asyncio.sleep(self._pause(tries))
            tries += 1

    async def _try(self, provider: AccountProvider, lease: Lease, tries: int) -> bool:
        """Whether the account is gone, and the lease with it."""
        try:
            _require_maker(provider, lease)
            async with self._places, asyncio.timeout(PATIENCE):
                await provider.remove(lease)
            await self._leases.gone(lease.id)
        except StuckError as error:
            await self._stuck(lease, error, tries)
        except CredentialError as error:
            await self._failed(lease, str(error), tries)
        except TimeoutError:
            await self._failed(lease, f"the target did not answer within {PATIENCE:.0f} s", tries)
        except Exception as error:
            log.exception("an account was not removed", principal=lease.principal, target=lease.target)
            await self._failed(lease, f"an error of the agent's own: {type(error).__name__}", tries)
        else:
            self._orphans.discard(lease.id)
            self._reports.ended(lease, "gone", "")
            return True
        return False

    async def _stuck(self, lease: Lease, error: StuckError, tries: int) -> None:
        """What somebody only held a lock on goes at one of the next tries, without a word to people."""
        log.warning("an account will not go", principal=lease.principal, target=lease.target, why=str(error))
        await self._keep(lease, LeaseState.STUCK, str(error))
        if error.disabled and tries < _STUCK_AFTER:
            return
        if lease.id not in self._orphans:
            self._reports.ended(lease, "disabled" if error.disabled else "failed", str(error))
        self.alarm(lease, f"{'nobody can sign in with it' if error.disabled else 'IT CAN BE USED'}: {error}")

    async def _failed(self, lease: Lease, why: str, tries: int) -> None:
        log.warning("an account is not removed yet", principal=lease.principal, target=lease.target, why=why)
        await self._keep(lease, LeaseState.ENDING, why)
        if tries == _TOLD_AFTER:
            self._reports.ended(lease, "failed", why)
        if tries >= _ALARM_AFTER:
            self.alarm(lease, why)

    async def _keep(self, lease: Lease, state: LeaseState, why: str) -> None:
        try:
            await self._leases.not_removed(lease.id, state, why)
        except CredentialError as error:
            log.warning("a lease is not up to date", lease=lease.id, error=str(error))

    def _ended(self, lease_id: str) -> None:
        self._running.pop(lease_id, None)
        self._orphans.discard(lease_id)
        event = self._tried.pop(lease_id, None)
        if event is not None:
            event.set()


def _require_maker(provider: AccountProvider, lease: Lease) -> None:
    """Another one would not know the account, and take that for gone."""
    if lease.provider != provider.name:
        raise CredentialError(f"{lease.provider} made it, and this agent is configured for {provider.name} by now")
