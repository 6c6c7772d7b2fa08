"""What people do with the audit log: look, export, and have it signed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import msgspec

from control_plane.audit import repository
from control_plane.audit.chain import CHECKPOINT_CONTEXT, Checkpoint, Entry, checkpoint_bytes
from control_plane.audit.repository import Filter
from control_plane.audit.sealed import Decision, Unreadable, opened
from control_plane.audit.tables import AuditRow, CheckpointRow
from control_plane.audit.verification import FORMAT, CheckpointLine, EntryLine, ExportLine, Line
from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import NotFoundError
from control_plane.kit.keys import PublicKey, SigningKeys
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.unit_of_work import AuditEvent, UnitOfWork, Units

_CHUNK = 500
_DECISIONS_OF_A_PAGE = 10_000  # about; the page ends with the entry that reaches it
_CHECKPOINT_SECONDS = 60.0


class Shown(msgspec.Struct, frozen=True):
    """An entry as it is read: a batch opened. `unreadable`: why it cannot be; its bytes are in the export."""

    entry: Entry
    decisions: tuple[Decision, ...] = ()
    unreadable: str = ""


class AuditService:
    def __init__(self, units: Units, keys: SigningKeys, deployment: str) -> None:
        self._units = units
        self._keys = keys
        self._deployment = deployment

    async def entries(self, uow: UnitOfWork, wanted: Filter, paging: Paging) -> tuple[list[Shown], str | None]:
        """Newest first. Fewer than asked for when their batches hold very many decisions."""
        before = single_key(paging, int)
        rows = await repository.newest(uow.session, wanted, before, paging.limit + 1)
        shown: list[Shown] = []
        decisions = 0
        for row in rows[: paging.limit]:
            shown.append(_shown(repository.entry_of(row)))
            decisions += len(shown[-1].decisions)
            if decisions >= _DECISIONS_OF_A_PAGE:
                break
        _, cursor = Paging(len(shown)).page(rows, lambda row: (row.sequence,)) if shown else ([], None)
        return shown, cursor

    async def checkpoint(self, uow: UnitOfWork) -> CheckpointLine | None:
        """Signs the end of the chain; None: the log is empty. Signing the same end again changes nothing."""
        await repository.lock_end(uow.session)
        sequence, last_hash = await repository.end(uow.session)
        newest = await repository.last_checkpoint(uow.session)
        if newest is not None and newest.sequence == sequence:
            return _line_of(newest)
        if sequence == 0:
            return None
        row = self._sign(Checkpoint(self._deployment, sequence, last_hash.hex(), milliseconds(uow.now)))
        uow.session.add(row)
        return _line_of(row)

    def _sign(self, checkpoint: Checkpoint) -> CheckpointRow:
        signed = self._keys.sign(CHECKPOINT_CONTEXT, checkpoint_bytes(checkpoint))
        return CheckpointRow(
            **msgspec.structs.asdict(checkpoint),
            key_id=signed.key_id,
            signature=base64.b64encode(signed.signature).decode(),
        )

    def public_keys(self) -> tuple[PublicKey, ...]:
        return self._keys.public_keys()

    async def export(self, by: Principal, first_sequence: int = 1) -> AsyncIterator[bytes]:
        """The whole log from `first_sequence` on, signed at its end. The export itself is its last entry."""
        async with self._units() as uow:
            uow.audit(AuditEvent("audit.exported", by.actor, "audit", {"first_sequence": first_sequence}))
        async with self._units() as uow:
            last = await self.checkpoint(uow)
            previous = await repository.hash_at(uow.session, first_sequence - 1)
        if last is None or not previous:
            raise NotFoundError(f"there is no audit entry {first_sequence}")
        head = ExportLine(FORMAT, self._deployment, first_sequence, previous)
        return self._lines(head, last.sequence)

    async def _lines(self, head: ExportLine, through: int) -> AsyncIterator[bytes]:
        yield _ndjson(head)
        after = head.first_sequence - 1
        while after < through:
            async with self._units.reading() as uow:
                rows = await repository.following(uow.session, after, through, _CHUNK)
                if not rows:
                    return
                signed = await repository.checkpoints(uow.session, after, rows[-1].sequence)
            checkpoints = {row.sequence: row for row in signed}
            for row in rows:
                yield _ndjson(_entry_line(row))
                if row.sequence in checkpoints:
                    yield _ndjson(_line_of(checkpoints[row.sequence]))
            after = rows[-1].sequence

    async def sign_at_intervals(self) -> None:
        """Runs until cancelled. Entries that nobody exported are signed within a minute all the same."""
        while True:
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            async with self._units() as uow:
                await self.checkpoint(uow)


def _shown(entry: Entry) -> Shown:
    found = opened(entry.sealed, entry.data) if entry.sealed else ()
    return Shown(entry, unreadable=found.reason) if isinstance(found, Unreadable) else Shown(entry, found)


def _entry_line(row: AuditRow) -> EntryLine:
    entry = repository.entry_of(row)
    fields = {name: getattr(entry, name) for name in ("sequence", "at_ms", "kind", "actor", "subject", "data")}
    return EntryLine(**fields, hash=row.hash, sealed=row.sealed)


def _line_of(row: CheckpointRow) -> CheckpointLine:
    return CheckpointLine(row.deployment, row.sequence, row.hash, row.at_ms, row.key_id, row.signature)


def _ndjson(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
