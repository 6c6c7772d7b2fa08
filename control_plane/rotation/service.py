"""A rotation from the asking to its end: one at a time for each target, audited, and told when it fails.

`begin` is a part of the caller's transaction; `run` asks the agent and opens transactions of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError

from control_plane.agents.errors import AgentLeftError
from control_plane.kit.clock import from_milliseconds, milliseconds
from control_plane.kit.errors import NotFoundError, ProblemError
from control_plane.kit.ids import new_id
from control_plane.kit.pagination import Paging, newest_key
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import SYSTEM, Actor, AuditEvent, UnitOfWork, Units
from control_plane.rotation import repository
from control_plane.rotation.domain import Cause, State
from control_plane.rotation.errors import NotRotatedError, RotationNotFoundError, RotationRunningError
from control_plane.rotation.ports import Errands
from control_plane.rotation.tables import RotationRow, TargetAccountRow
from control_plane.targets.service import Target, TargetService

_log = structlog.get_logger(__name__)

ROTATE: Final = "rotate-credential"
LOOK: Final = "show-credential"
_ROTATE_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 30.0
_TRIES: Final = 3
ABANDONED_AFTER: Final = timedelta(seconds=(_TRIES + 1) * _ROTATE_SECONDS)
_STOPPED: Final = "the control plane was stopped before it heard of the end"


class Outcome(msgspec.Struct, frozen=True):
    """What the agent tells of a rotation."""

    account: str
    previous: str
    resumed: bool = False
    disabled: str = ""
    remaining: int = 0
    problem: str = ""


class Told(msgspec.Struct, frozen=True):
    """What the agent tells of the account that it uses."""

    account: str
    kept: str
    writable: bool = False
    unfinished: bool = False
    problem: str = ""


class RotationService:
    comes_back_seconds = 5.0  # an agent connects again within so many

    def __init__(self, units: Units, targets: TargetService, errands: Errands) -> None:
        self._units = units
        self._targets = targets
        self._errands = errands
        self._under_way: set[asyncio.Task[None]] = set()

    def start(self, rotation_id: str, target: str) -> None:
        """Runs beside the caller what `begin` has begun and its transaction has committed."""
        task = spawn(self.run(rotation_id, target), f"rotation of {target}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """What is under way stays as it is, for whoever finds it abandoned."""
        for task in tuple(self._under_way):
            await stop(task)

    async def begin(self, uow: UnitOfWork, by: Actor, target: str, cause: Cause) -> RotationRow:
        """Raises NotFoundError, NotRotatedError, RotationRunningError."""
        await self._rotated(uow, target)
        row = RotationRow(
            id=new_id("rot"), target=target, running=target, state=State.RUNNING, cause=cause, asked_by=by.name,
            started_at=uow.now,
        )  # fmt: skip
        try:
            async with uow.session.begin_nested():
                uow.session.add(row)
                await uow.session.flush()
        except IntegrityError as error:
            raise RotationRunningError(target) from error
        uow.audit(AuditEvent("rotation.begun", by, target, {"rotation": row.id, "cause": cause.value}))
        return row

    async def _rotated(self, uow: UnitOfWork, name: str) -> Target:
        target = await self._targets.target(uow, name)
        if target is None:
            raise NotFoundError(f"there is no target named {name!r}")
        if target.spec.credential.rotate is None:
            raise NotRotatedError(name)
        return target

    async def run(self, rotation_id: str, target: str) -> None:
        """After `begin` was committed. Never raises for what the agent does."""
        try:
            answer = await self._answer(rotation_id, target)
            outcome = msgspec.convert(answer, Outcome, strict=False)
        except ProblemError as error:
            outcome = Outcome("", "", problem=error.detail)
        except msgspec.ValidationError:
            outcome = Outcome("", "", problem="the agent's answer cannot be read: update it")
        async with self._units() as uow:
            row = await repository.one(uow.session, rotation_id)
            if row is not None and row.running:
                await self._end(uow, row, outcome)

    async def _answer(self, rotation_id: str, target: str) -> Any:
        """An agent that went away is asked again: one that remembers this rotation only tells what became of it, any
        other goes on with it."""
        told = {"rotation": rotation_id}
        for _ in range(_TRIES - 1):
            try:
                return await self._errands.ask(target, ROTATE, told, _ROTATE_SECONDS)
            except AgentLeftError:
                await asyncio.sleep(self.comes_back_seconds)
        return await self._errands.ask(target, ROTATE, told, _ROTATE_SECONDS)

    async def _end(self, uow: UnitOfWork, row: RotationRow, outcome: Outcome) -> None:
        told = {name: getattr(outcome, name) for name in ("account", "previous", "disabled", "remaining", "problem")}
        for name, value in {**told, "resumed": outcome.resumed}.items():
            setattr(row, name, value)
        row.state = State.FAILED if outcome.problem else State.DONE
        row.running, row.ended_at = None, uow.now
        uow.session.add(row)
        kind = "rotation.failed" if outcome.problem else "rotation.done"
        uow.audit(AuditEvent(kind, SYSTEM, row.target, {"rotation": row.id, "cause": row.cause, **told}))
        uow.notice(kind, row.target, {"target": row.target, **{name: one for name, one in told.items() if one}})
        if outcome.account:
            known = await uow.session.get(TargetAccountRow, row.target)
            if known is not None:
                known.account, known.unfinished = outcome.account, bool(outcome.problem)
                uow.session.add(known)

    async def close_abandoned(self) -> None:
        async with self._units() as uow:
            for row in await repository.abandoned(uow.session, uow.now - ABANDONED_AFTER):
                await self._end(uow, row, Outcome("", "", problem=_STOPPED))

    async def look(self, target: str) -> None:
        """Asks the agent which account it uses. Never raises for what the agent does."""
        try:
            answer = msgspec.convert(await self._errands.ask(target, LOOK, {}, _LOOK_SECONDS), Told, strict=False)
        except (ProblemError, msgspec.ValidationError) as error:
            problem = error.detail if isinstance(error, ProblemError) else "the agent's answer cannot be read"
            async with self._units() as uow:
                await repository.account_not_known(uow.session, target, problem, uow.now)
            return
        async with self._units() as uow:
            told: Mapping[str, Any] = msgspec.structs.asdict(answer)
            await uow.session.merge(TargetAccountRow(target=target, told_at=uow.now, **told))

    # -------------------------------------------------------------- for people

    async def one(self, uow: UnitOfWork, rotation_id: str) -> RotationRow:
        row = await uow.session.get(RotationRow, rotation_id)
        if row is None:
            raise RotationNotFoundError(rotation_id)
        return row

    async def history(self, uow: UnitOfWork, target: str, paging: Paging) -> tuple[list[RotationRow], str | None]:
        """Newest first."""
        key = newest_key(paging)
        after = None if key is None else (from_milliseconds(key[0]), key[1])
        rows = await repository.newest(uow.session, target, after, paging.limit + 1)
        return paging.page(rows, lambda row: (milliseconds(row.started_at), row.id))
