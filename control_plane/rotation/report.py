"""How old what agents use at targets is, when it was used last, and what is wrong with it."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.rotation import repository
from control_plane.rotation.domain import Past, due_at
from control_plane.rotation.ports import Sealed, Uses
from control_plane.rotation.tables import TargetAccountRow
from control_plane.targets.service import Target, TargetService
from data_plane.policy import durations


class Line(msgspec.Struct, frozen=True):
    target: str
    agent: str
    account: str  # empty: the agent has not told
    kept: str
    sessions: str  # own-account: each session has one of its own; this-account: all use this one
    changed_at: datetime | None  # None: not known here
    rotated_at: datetime | None
    used_at: datetime | None
    rotates: bool
    every: str  # empty: on demand only
    next_at: datetime | None
    problems: tuple[str, ...]


class CredentialReport:
    def __init__(self, targets: TargetService, uses: Uses, sealed: Sealed) -> None:
        self._targets = targets
        self._uses = uses
        self._sealed = sealed

    async def lines(self, uow: UnitOfWork) -> list[Line]:
        """One for each target, in order of names."""
        told = await repository.accounts(uow.session)
        return [await self._line(uow, target, told.get(target.name)) for target in await self._targets.all(uow)]

    async def _line(self, uow: UnitOfWork, target: Target, told: TargetAccountRow | None) -> Line:
        credential = target.spec.credential
        past = await repository.past(uow.session, target.name)
        every = credential.rotate.every if credential.rotate else ""
        sealed_at = await self._sealed.changed_at(uow, credential.secret) if credential.secret else None
        next_at = due_at(past, cadence(every), uow.now) if credential.rotate else None
        kept = f"sealed: {credential.secret}" if credential.secret else (told.kept if told else "")
        return Line(
            target=target.name,
            agent=target.spec.agent,
            account=told.account if told else "",
            kept=kept,
            sessions="own-account" if credential.session_roles else "this-account",
            changed_at=max((at for at in (sealed_at, past.done_at) if at), default=None),
            rotated_at=past.done_at,
            used_at=await self._uses.last_used(uow, target.name),
            rotates=credential.rotate is not None,
            every=every,
            next_at=next_at,
            problems=tuple(await self._problems(uow, target, told, past)),
        )

    async def _problems(self, uow: UnitOfWork, target: Target, told: TargetAccountRow | None, past: Past) -> list[str]:
        credential, found = target.spec.credential, []
        if past.failures:
            (last,) = await repository.newest(uow.session, target.name, None, 1)
            found.append(f"the last rotation failed: {last.problem}")
        if credential.rotate is None and credential.session_roles is None:
            found.append("all sessions use one account, which is never rotated")
        if credential.rotate is not None and told is not None and told.kept and not told.writable:
            found.append("its secret is kept where the agent cannot write it, so that it cannot be rotated")
        if told is not None and told.unfinished:
            found.append("a rotation was broken off: the next one goes on with it")
        if told is not None and told.problem:
            found.append(told.problem)
        return found


def cadence(every: str) -> timedelta | None:
    return timedelta(seconds=durations.seconds(every)) if every else None
