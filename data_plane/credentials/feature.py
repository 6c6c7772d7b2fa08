"""The accounts of sessions in one agent process: leases, removal and janitor put together. `assembly` makes one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from data_plane.credentials.janitor import Janitor
from data_plane.credentials.leases import Leases
from data_plane.credentials.owners import Owners
from data_plane.credentials.per_session import Accounts, PerSession
from data_plane.credentials.ports import AccountProvider, AccountReports, CredentialSource
from data_plane.credentials.removing import Remover
from data_plane.gate.ports import Clock
from data_plane.identifiers import SessionId, TargetName
from data_plane.policy.model import TargetSpec

log = structlog.get_logger(__name__)

_FIRST_SECONDS: Final = 5.0  # for what the last run has left, before clients are let in


class SessionAccounts:
    """`owner`: a name that no other run of any worker has. `spec`: a target as it is now; None: not known."""

    def __init__(
        self,
        state: Path,
        owner: str,
        *,
        reports: AccountReports,
        clock: Clock,
        end_session: Callable[[SessionId, str, str], object],
        spec: Callable[[TargetName], TargetSpec | None],
    ) -> None:
        self._owners = Owners(state / "owners", owner)
        self._leases = Leases(state / "leases.db", owner)
        self._remover = Remover(self._leases, reports)
        self._shared = Accounts(self._leases, self._remover, reports, clock, end_session)
        self._sources: dict[TargetName, PerSession] = {}
        self._janitor = Janitor(
            owners=self._owners,
            leases=self._leases,
            remover=self._remover,
            clock=clock,
            sources=self._sources,
            spec=spec,
        )

    @property
    def orphans(self) -> int:
        return self._remover.orphans

    def source(
        self,
        target: TargetName,
        fixed: CredentialSource,
        provider: AccountProvider,
        elsewhere: AccountProvider | None = None,
    ) -> PerSession:
        """The one source of this target's sessions, from now on swept by the janitor. `elsewhere`: something that makes
        accounts for all of them; without it the target itself makes them while its document names `session_roles`."""
        wanted = _names_session_roles if elsewhere is None else _always
        self._sources[target] = PerSession(fixed, elsewhere or provider, self._shared, wanted)
        return self._sources[target]

    async def begin(self) -> None:
        """Before clients are let in. What cannot be removed in time is gone on with."""
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                await self._janitor.sweep()
        except TimeoutError:
            log.warning("the accounts at the targets are not all looked through yet")
        await self._remover.tried(_FIRST_SECONDS)

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._janitor.run()

    async def ended(self, seconds: float) -> bool:
        """After the last session: whether every account was removed, or tried, by then."""
        deadline = asyncio.get_running_loop().time() + seconds
        begun = [await source.ended(seconds) for source in self._sources.values()]
        left = deadline - asyncio.get_running_loop().time()
        return all(begun) and await self._remover.tried(max(0.0, left))

    async def close(self) -> None:
        """Whatever is left is the business of the next process."""
        await self._remover.close()
        for source in self._sources.values():
            await source.provider.close()
        self._leases.close()
        self._owners.close()


def _names_session_roles(spec: TargetSpec) -> bool:
    return spec.credential.session_roles is not None


def _always(spec: TargetSpec) -> bool:
    del spec
    return True
