"""One wrapping key takes the place of another, while everything goes on.

1. Add the new key to ASSENTRY_WRAPPING_KEYS of every replica, behind the old one; restart them one by one.
2. Put it first; restart them one by one. From now on it seals what is new, and either opens what there is.
3. Ask for the exchange (`assentry secrets rewrap`). Only data keys are wrapped anew, row by row, each if nobody has
   changed it meanwhile; values are not opened. A control plane that ends in the middle goes on where it was.
4. When `assentry secrets status` shows nothing under the old key, take it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from control_plane.kit.events import Events, Subscription
from control_plane.kit.sealing import SealError
from control_plane.kit.unit_of_work import SYSTEM, Actor, AuditEvent, UnitOfWork, Units
from control_plane.secrets import repository
from control_plane.secrets.envelope import Envelope, Sealed
from control_plane.secrets.ports import WrapperUnavailableError, WrappingError
from control_plane.secrets.sealed_files import SealedFiles
from control_plane.secrets.service import SecretService
from control_plane.secrets.tables import RewrapRow, SecretRow

_log = structlog.get_logger(__name__)

TOPIC: Final = "secret-rewrap"
_AT_ONCE: Final = 50
_AGAIN_SECONDS: Final = 30.0


class UnderKey(msgspec.Struct, frozen=True):
    wrapping_key: str
    configured: bool
    wraps: bool  # what is sealed from now on
    beside: bool  # it lies in the state directory
    secrets: int
    files: int  # of this replica


class Status(msgspec.Struct, frozen=True):
    keys: tuple[UnderKey, ...]
    asked: RewrapRow | None


class Rewrapping:
    def __init__(
        self, units: Units, events: Events, envelope: Envelope, service: SecretService, files: SealedFiles
    ) -> None:
        self._units = units
        self._events = events
        self._envelope = envelope
        self._service = service
        self._files = files

    async def ask(self, uow: UnitOfWork, by: Actor) -> None:
        """It begins when this has committed."""
        first = self._envelope.wraps_with
        row = await repository.asked_rewrap(uow.session, lock=True)
        row = row or repository.new_rewrap(wrapping_key=first, asked_at=uow.now, asked_by=by.name)
        row.wrapping_key, row.asked_at, row.asked_by = first, uow.now, by.name
        row.done_at, row.problem = None, ""
        uow.session.add(row)
        uow.audit(AuditEvent("secrets.rewrap-asked", by, "secrets", {"wrapping_key": first}))
        uow.notify(TOPIC)

    async def status(self, uow: UnitOfWork) -> Status:
        secrets = await repository.by_wrapping_key(uow.session)
        return Status(tuple(self._under_keys(secrets)), await repository.asked_rewrap(uow.session))

    def _under_keys(self, secrets: Mapping[str, int]) -> list[UnderKey]:
        files, configured = self._files.by_wrapping_key(), self._envelope.configured
        others = sorted({*secrets, *files} - set(configured))
        return [
            UnderKey(
                wrapping_key=key,
                configured=key in configured,
                wraps=key == configured[0],
                beside=key == self._envelope.beside,
                secrets=secrets.get(key, 0),
                files=files.get(key, 0),
            )
            for key in (*configured, *others)
        ]

    # -------------------------------------------------------------- in the background

    async def run(self) -> None:
        """For ever; `assembly` spawns it."""
        looked = False
        async with self._events.subscribe(TOPIC) as news:
            while True:
                try:
                    looked = looked or await self._looked()
                    done = await self.go_on()
                except Exception:  # noqa: BLE001 - a database that fails for a while delays it, nothing more
                    _log.exception("data keys could not be wrapped anew; trying again")
                    done = False
                await _woken(news, None if done else _AGAIN_SECONDS)

    async def _looked(self) -> bool:
        """At the start, before an agent asks for what cannot be opened."""
        async with self._units.reading() as uow:
            status = await self.status(uow)
        for one in status.keys:
            if one.secrets and not one.configured:
                _log.critical(
                    "what is sealed with a wrapping key that is not configured cannot be opened",
                    wrapping_key=one.wrapping_key,
                    sealed=one.secrets,
                    advice="add it to ASSENTRY_WRAPPING_KEYS again, behind the first",
                )
        return True

    async def go_on(self) -> bool:
        """With what was asked for and is not done, if this replica's first wrapping key is the one that was meant.
        False: there is something left to try again."""
        async with self._units.reading() as uow:
            asked = await repository.asked_rewrap(uow.session)
        if asked is None or asked.wrapping_key != self._envelope.wraps_with:
            return True
        problem = await self._files_rewrapped()
        if asked.done_at is not None:
            return not problem
        problem = await self._rows_rewrapped() or problem
        return await self._finished(problem)

    async def _files_rewrapped(self) -> str:
        """Why some are not; empty: all are."""
        try:
            await self._files.rewrap()
        except (SealError, OSError) as error:
            _log.error("a file cannot be sealed with the first wrapping key", why=str(error))
            return str(error)
        return ""

    async def _rows_rewrapped(self) -> str:
        """Each is tried once; what cannot be done keeps nothing else from being done."""
        after, problem = "", ""
        while True:
            async with self._units.reading() as uow:
                rows = await repository.under_other_keys(uow.session, self._envelope.wraps_with, after, _AT_ONCE)
            if not rows:
                return problem
            for row in rows:
                after = row.name
                try:
                    await self._row_rewrapped(row)
                except WrapperUnavailableError as error:
                    return str(error)  # the others would fail in the same way
                except WrappingError as error:
                    problem = f"{row.name}: {error}"
                    _log.error("a secret cannot be wrapped anew", name=row.name, why=str(error))

    async def _row_rewrapped(self, row: SecretRow) -> None:
        before = Sealed(row.sealed, row.wrapped_key, row.wrapping_key)
        fresh = await self._envelope.rewrapped(self._service.context(row.name, row.version), before)
        async with self._units() as uow:
            await repository.rewrap(uow.session, row, fresh)

    async def _finished(self, problem: str) -> bool:
        first = self._envelope.wraps_with
        async with self._units() as uow:
            row = await repository.asked_rewrap(uow.session, lock=True)
            if row is None or row.done_at is not None or row.wrapping_key != first:
                return True
            left = await repository.under_other_keys(uow.session, first, "", 1)
            if left and not problem:
                return False  # somebody wrote with the old key meanwhile
            row.problem = problem
            if not problem:
                row.done_at = uow.now
                uow.audit(AuditEvent("secrets.rewrapped", SYSTEM, "secrets", {"wrapping_key": first}))
            uow.session.add(row)
            return not problem


async def _woken(news: Subscription, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.get()
    except TimeoutError:
        return
