"""Errands: what only an agent can do at a target, asked of one instance that serves it, and answered once.

The errand is a row from the asking to the answer, so that it does not matter which replica holds the agent's stream:
whoever asks writes it and tells, the first stream of the agent that hears takes it, and the answer comes back the same
way. When that stream ends first the errand has failed; how much of it was done is then not known, and whoever asks must
be able to ask again. No result holds a secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlmodel import col, delete, select, update

from control_plane.agents import repository
from control_plane.agents.domain import Errand, ErrandDone
from control_plane.agents.errors import AgentLeftError, ErrandFailedError, NoAgentError
from control_plane.agents.ports import Served
from control_plane.agents.tables import ErrandRow
from control_plane.kit.errors import NotFoundError
from control_plane.kit.events import Events, Subscription
from control_plane.kit.ids import new_id
from control_plane.kit.unit_of_work import Json, UnitOfWork, Units

ASKED: Final = "errand-asked"  # the key is "<errand id> <agent name>"
TOLD: Final = "errand-told"  # taken, or done; the key is the errand's id
FEATURE: Final = "credentials/1"  # of agents that know errands

_TAKING_SECONDS: Final = 5.0
_FORGOTTEN_AFTER: Final = timedelta(hours=1)  # rows that nobody reads any more: the control plane was killed
_WENT_AWAY: Final = "the agent went away before it was done; how much of it was done is not known"


class Errands:
    def __init__(self, units: Units, events: Events, served: Served, taking_seconds: float = _TAKING_SECONDS) -> None:
        self._units = units
        self._events = events
        self._served = served
        self._taking_seconds = taking_seconds

    async def ask(self, target: str, kind: str, arguments: Mapping[str, Json], timeout: float) -> Any:  # noqa: ASYNC109 - a parameter of the errand
        """The agent's answer, decoded. Raises NotFoundError for the target, NoAgentError when no agent is there for it,
        AgentLeftError when it went away meanwhile, and ErrandFailedError for what it could not do or has not answered
        in time. Opens transactions of its own: never call it inside one."""
        async with self._events.subscribe(TOLD) as told:  # before anybody can take it
            errand_id, agent = await self._put(target, kind, arguments)
            try:
                if not await self._until(told, errand_id, self._taking_seconds, taken=True):
                    raise await self._nobody(target, agent)
                row = await self._until(told, errand_id, timeout, taken=False)
            finally:
                await self._forget(errand_id)
        if row is None:
            raise ErrandFailedError(f"agent {agent!r} has not answered in {timeout:g} seconds; see its log")
        if row.problem == _WENT_AWAY:
            raise AgentLeftError(row.problem)
        if row.problem:
            raise ErrandFailedError(row.problem)
        return msgspec.json.decode(row.result or "null")

    async def _put(self, target: str, kind: str, arguments: Mapping[str, Json]) -> tuple[str, str]:
        async with self._units() as uow:
            agent = await self._served.agent_of(uow, target)
            if agent is None:
                raise NotFoundError(f"there is no target named {target!r}")
            await uow.session.exec(delete(ErrandRow).where(col(ErrandRow.asked_at) < uow.now - _FORGOTTEN_AFTER))
            errand_id = new_id("err")
            text = msgspec.json.encode(arguments).decode()
            row = ErrandRow(id=errand_id, agent=agent, kind=kind, target=target, arguments=text, asked_at=uow.now)
            uow.session.add(row)
            uow.notify(ASKED, f"{errand_id} {agent}")
        return errand_id, agent

    async def _until(self, told: Subscription, errand_id: str, seconds: float, *, taken: bool) -> ErrandRow | None:
        """The row once it is taken, or done. None: it was not, in this time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    row = await self._row(errand_id)
                    if row is not None and (row.done or (taken and row.taken_by)):
                        return row
                    await told.get()
        except TimeoutError:
            return None

    async def _row(self, errand_id: str) -> ErrandRow | None:
        async with self._units.reading() as uow:
            return await uow.session.get(ErrandRow, errand_id)

    async def _nobody(self, target: str, agent: str) -> NoAgentError:
        async with self._units.reading() as uow:
            found = await repository.agent_named(uow.session, agent)
            instances = await repository.instances_of(uow.session, [found.id]) if found else ()
        if any(one.connected and FEATURE not in one.features for one in instances):
            return NoAgentError(f"agent {agent!r}, which serves {target!r}, is too old for this: update it")
        return NoAgentError(f"agent {agent!r}, which serves {target!r}, is not connected: start it, or see its log")

    async def _forget(self, errand_id: str) -> None:
        async with self._units() as uow:
            await uow.session.exec(delete(ErrandRow).where(col(ErrandRow.id) == errand_id))

    # -------------------------------------------------------------- for the streams of agents

    async def open(self, agent: str) -> Sequence[str]:
        """Those that nobody has taken yet."""
        query = select(ErrandRow.id).where(ErrandRow.agent == agent, ErrandRow.taken_by == "")
        async with self._units.reading() as uow:
            return (await uow.session.exec(query)).all()

    async def take(self, errand_id: str, agent: str, instance_id: str) -> Errand | None:
        """None: another stream has it, or nobody waits for it any more."""
        async with self._units() as uow:
            free = (col(ErrandRow.id) == errand_id, col(ErrandRow.agent) == agent, col(ErrandRow.taken_by) == "")
            done = await uow.session.exec(update(ErrandRow).where(*free).values(taken_by=instance_id))
            row = await uow.session.get(ErrandRow, errand_id) if done.rowcount else None
            if row is None:
                return None
            uow.notify(TOLD, errand_id)
            return Errand(row.id, row.kind, row.target, row.arguments)

    async def done(self, uow: UnitOfWork, instance_id: str, answer: ErrandDone) -> None:
        values = {"done": True, "result": answer.result, "problem": answer.problem[:2000]}
        one = (col(ErrandRow.id) == answer.errand_id, col(ErrandRow.taken_by) == instance_id)
        await uow.session.exec(update(ErrandRow).where(*one, col(ErrandRow.done).is_(False)).values(**values))
        uow.notify(TOLD, answer.errand_id)

    async def left(self, uow: UnitOfWork, instance_id: str) -> None:
        """A stream of this instance has ended: whatever it had taken will not be answered."""
        query = select(ErrandRow.id).where(ErrandRow.taken_by == instance_id, col(ErrandRow.done).is_(False))
        for errand_id in (await uow.session.exec(query)).all():
            await self.done(uow, instance_id, ErrandDone(errand_id, "", _WENT_AWAY))
