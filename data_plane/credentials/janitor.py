"""Reconciles the accounts that exist with those that should: before the agent listens, then every minute.

Three things can be left behind. A lease of a process that is dead: taken over, its account removed. A lease of this
process that no session stands behind: removed. An account of ours at a target without a lease (the state directory was
lost, or a commit came through after its connection broke): removed once nobody can be using it; until then it may be
another agent's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from data_plane.credentials.leases import Kept, Leases
from data_plane.credentials.owners import Owners
from data_plane.credentials.per_session import PerSession
from data_plane.credentials.ports import CredentialError, Found, Lease
from data_plane.credentials.removing import Remover
from data_plane.gate.ports import Clock
from data_plane.identifiers import SessionId, TargetName
from data_plane.policy.model import TargetSpec
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 60.0
SECOND_LOOK_SECONDS: Final = 3.0
_PATIENCE: Final = 20.0  # seconds for one target's answer
_HOMELESS: Final = (
    "this agent's configuration does not name the target any more, so it is not removed: bring the target back until "
    "the account is gone, or remove it yourself"
)


class Janitor:
    """`sources`: by target. `spec`: the target as it is now; None when there is no snapshot that has it."""

    def __init__(
        self,
        *,
        owners: Owners,
        leases: Leases,
        remover: Remover,
        clock: Clock,
        sources: Mapping[TargetName, PerSession],
        spec: Callable[[TargetName], TargetSpec | None],
    ) -> None:
        self._owners, self._leases, self._remover, self._clock = owners, leases, remover, clock
        self._sources = sources
        self._spec = spec

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.sweep()

    async def sweep(self) -> None:
        """Starts what is to be removed; the remover goes on with it. Never raises."""
        try:
            await self._sweep()
        except Exception:
            log.exception("the accounts cannot be looked through")

    async def _sweep(self) -> None:
        kept = await self._leases.all()
        for one in kept:
            await self._look_at(one)
        self._owners.forget_dead(but=frozenset(one.owner for one in kept))
        if self._owners.leads:
            targets = [(source, spec) for name, source in self._sources.items() if (spec := self._wanted(name, source))]
            searches = [spawn(self._search(source, spec), f"search at {spec.address}") for source, spec in targets]
            if searches:
                await asyncio.wait(searches)

    def _wanted(self, name: TargetName, source: PerSession) -> TargetSpec | None:
        spec = self._spec(name)
        return spec if spec is not None and source.wanted(spec) else None

    # ------------------------------------------------------------ leases

    async def _look_at(self, kept: Kept) -> None:
        """Its account is removed when nobody living needs it."""
        source = self._sources.get(TargetName(kept.lease.target))
        if source is None:
            self._remover.alarm(kept.lease, _HOMELESS)
            return
        if kept.owner == self._owners.own:
            if kept.lease.id not in source.living:
                self._remover.start(source.provider, kept.lease)
        elif not self._owners.alive(kept.owner) and await self._leases.take_over(kept):
            log.info("removing what a process has left", principal=kept.lease.principal, target=kept.lease.target)
            self._remover.start(source.provider, kept.lease)

    # ------------------------------------------------------------ accounts without a lease

    async def _search(self, source: PerSession, spec: TargetSpec) -> None:
        """Looks twice: an account that another agent of this name is just removing is gone at the second look."""
        try:
            before = await self._without_lease(source, spec)
            if not before:
                return
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            for principal, account in (await self._without_lease(source, spec)).items():
                if principal in before:
                    log.info("removing an account that has no lease", principal=principal, address=spec.address)
                    self._remover.start(source.provider, self._as_if_leased(source, spec, account))
        except (CredentialError, TimeoutError) as error:
            log.warning("the accounts of a target cannot be listed", target=spec.address, error=str(error))

    async def _without_lease(self, source: PerSession, spec: TargetSpec) -> Mapping[str, Found]:
        """Those that nobody can be using. The leases are read after the accounts were: each had its lease before it
        was made."""
        async with asyncio.timeout(_PATIENCE):
            found = await source.provider.existing(spec)
        known = await self._leases.all() if found else ()
        names = {one.lease.id for one in known} | {one.lease.principal for one in known if one.lease.principal}
        return {
            account.principal: account
            for account in found
            if not (account.lease in names or account.principal in names or account.can_sign_in or account.in_use)
        }

    def _as_if_leased(self, source: PerSession, spec: TargetSpec, account: Found) -> Lease:
        target = next(name for name, one in self._sources.items() if one is source)
        return Lease(
            id=account.lease or account.principal,
            session=SessionId(""),
            target=target,
            provider=source.provider.name,
            principal=account.principal,
            database="",
            created_at=self._clock.now(),
            expires_at=self._clock.now(),
            spec=spec,
        )
