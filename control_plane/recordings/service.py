"""Recordings: taken in segment by segment, verified as they come, ended with the agent's signature, read again.

Bytes go to the store first and outside of any transaction; the row that says that a segment is part of the
recording comes after them, so what is acknowledged is durable and a slow disk holds nobody up.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.recordings import repository
from control_plane.recordings.domain import TRANSITIONS, Status, Taken, checked, finish, take
from control_plane.recordings.ports import RecordingStore, SegmentMissingError
from control_plane.recordings.schemas import EventOut
from control_plane.recordings.tables import RecordingRow, SegmentRow
from control_plane.recordings.timeline import Timeline
from control_plane.sessions import service as sessions
from data_plane.recording.format import NO_HASH, RecordingEnd
from data_plane.recording.reader import Broken, ChainReader, Verified

TOPIC: Final = "recording"  # the key is the session's id


class Kept(msgspec.Struct, frozen=True):
    """A segment that is durable in the store, and not yet part of a recording."""

    index: int
    name: str
    data: bytes


class NotTaken(msgspec.Struct, frozen=True):
    """DATA_LOSS on the link: the recording is broken, or is not this agent's."""

    reason: str


class Ended(msgspec.Struct, frozen=True):
    status: Status


class Whole(msgspec.Struct, frozen=True):
    """A recording as it can be read now."""

    row: RecordingRow
    segments: Sequence[SegmentRow]


class RecordingService:
    def __init__(self, store: RecordingStore) -> None:
        self._store = store

    # -------------------------------------------------------------- taken in

    async def begin(self, uow: UnitOfWork, instance_id: str, session_id: str) -> int | NotTaken | None:
        """From which segment to go on. None: the session is not known yet."""
        session = await sessions.find(uow, session_id)
        if session is None:
            return None
        if session.instance_id != instance_id:
            return NotTaken("the session is not one of this agent's")
        row = await repository.locked(uow.session, session_id)
        if row is None:
            now = milliseconds(uow.now)
            row = RecordingRow(
                session_id=session_id,
                instance_id=instance_id,
                status=Status.RECEIVING,
                chain_hash=NO_HASH,
                started_at_ms=now,
            )
            uow.session.add(row)
            await uow.session.flush()
        return NotTaken(row.problem) if row.status == Status.BROKEN else row.next_segment

    async def keep(self, session_id: str, index: int, data: bytes) -> Kept:
        """First step of a segment, outside of a transaction: durable in the store."""
        name = f"{index:08d}-{hashlib.sha256(data).hexdigest()}"
        await self._store.put(session_id, name, data)
        return Kept(index, name, data)

    async def segment(self, uow: UnitOfWork, instance_id: str, session_id: str, kept: Kept) -> int | NotTaken:
        """Second step: it continues the chain, and which one comes next is told. One sent again is not taken twice."""
        row = await repository.locked(uow.session, session_id)
        if row is None or row.instance_id != instance_id:
            return NotTaken("the recording has not begun, or is not this agent's")
        if row.status == Status.BROKEN:
            return NotTaken(row.problem)
        if kept.index < row.next_segment and await self._has(uow, session_id, kept):
            return row.next_segment
        if row.status != Status.RECEIVING:
            return NotTaken("the recording has ended")
        taken = take(repository.place_of(row), kept.data) if kept.index == row.next_segment else _gap(row, kept)
        if isinstance(taken, Broken):
            self._break(uow, row, taken)
            return NotTaken(row.problem)
        self._append(uow, row, taken, kept)
        return row.next_segment

    async def _has(self, uow: UnitOfWork, session_id: str, kept: Kept) -> bool:
        known = await repository.segment(uow.session, session_id, kept.index)
        return known is not None and known.name == kept.name

    def _append(self, uow: UnitOfWork, row: RecordingRow, taken: Taken, kept: Kept) -> None:
        size = len(kept.data)
        uow.session.add(
            SegmentRow(session_id=row.session_id, number=kept.index, name=kept.name, hash=taken.hash, size=size)
        )
        row.next_segment = taken.place.next_segment
        row.chain_hash = taken.place.chain_hash
        row.recovered = taken.place.recovered
        row.size += size
        uow.session.add(row)
        uow.notify(TOPIC, row.session_id)

    async def end(
        self, uow: UnitOfWork, instance_id: str, session_id: str, end: RecordingEnd, public_keys: Sequence[bytes]
    ) -> Ended | NotTaken:
        """The agent's last word. `public_keys`: those of its Hello."""
        row = await repository.locked(uow.session, session_id)
        if row is None or row.instance_id != instance_id:
            return NotTaken("the recording has not begun, or is not this agent's")
        if row.status == Status.BROKEN:
            return NotTaken(row.problem)
        session = await sessions.find(uow, session_id)
        verdict = finish(repository.place_of(row), end, public_keys, session.recording_hash if session else b"")
        if isinstance(verdict, Broken):
            self._break(uow, row, verdict)
            return NotTaken(row.problem)
        if row.status == Status.RECEIVING:
            self._finish(uow, row, verdict, end, public_keys)
        return Ended(Status(row.status))

    def _finish(
        self, uow: UnitOfWork, row: RecordingRow, status: Status, end: RecordingEnd, keys: Sequence[bytes]
    ) -> None:
        row.signature = end.signature
        row.public_keys = [base64.b64encode(key).decode() for key in keys]
        data: dict[str, Json] = {"segments": row.next_segment, "chain_hash": row.chain_hash.hex(), "bytes": row.size}
        self._become(uow, row, status, data)

    def _break(self, uow: UnitOfWork, row: RecordingRow, broken: Broken) -> None:
        row.problem = f"segment {broken.index}: {broken.reason}"
        self._become(uow, row, Status.BROKEN, {"problem": row.problem})

    def _become(self, uow: UnitOfWork, row: RecordingRow, status: Status, data: dict[str, Json]) -> None:
        if status not in TRANSITIONS[Status(row.status)]:
            return
        row.status = status
        row.ended_at_ms = milliseconds(uow.now)
        uow.session.add(row)
        actor = Actor(row.instance_id, row.instance_id, "agent")
        uow.audit(AuditEvent(f"recording.{status}", actor, row.session_id, data))
        uow.notify(TOPIC, row.session_id)

    # -------------------------------------------------------------- read again

    async def whole(self, uow: UnitOfWork, session_id: str) -> Whole | None:
        row = await repository.one(uow.session, session_id)
        return None if row is None else Whole(row, await repository.segments(uow.session, session_id))

    async def data(self, whole: Whole) -> AsyncIterator[bytes]:
        """The segments as the agent sealed them. Raises SegmentMissingError."""
        for segment in whole.segments:
            yield await self._store.get(segment.session_id, segment.name)

    async def timeline(self, whole: Whole, after: int, limit: int) -> tuple[list[EventOut], int | None]:
        """Events after the first `after` ones, and where to go on. None: that is all there is now.

        Reads from the first segment every time: an event is shown only when the chain up to it is whole.
        """
        timeline = Timeline(whole.row.session_id)
        wanted: list[EventOut] = []
        seen = 0
        async for shown in self._shown(whole, timeline):
            seen += len(shown)
            wanted += shown[max(0, len(shown) - (seen - after)) :] if seen > after else []
            if len(wanted) > limit or timeline.broken:
                break
        return wanted[:limit], after + limit if len(wanted) > limit else None

    async def _shown(self, whole: Whole, timeline: Timeline) -> AsyncIterator[list[EventOut]]:
        try:
            async for data in self.data(whole):
                yield await asyncio.to_thread(timeline.segment, data)
        except SegmentMissingError as error:
            yield [timeline.missing(str(error))]

    async def verified(self, whole: Whole, reported_hash: bytes) -> Verified | Broken:
        """Reads everything again: what is in the store now, against the chain, the signature and the report."""
        row = whole.row
        if row.status == Status.BROKEN:
            return Broken(row.next_segment, row.problem)
        found = await self._read_again(whole)
        if isinstance(found, Verified) and reported_hash and row.status != Status.RECEIVING:
            same = found.chain_hash == reported_hash
            return found if same else Broken(found.segments, "not the hash that was reported when the session closed")
        return found

    async def _read_again(self, whole: Whole) -> Verified | Broken:
        row, end = whole.row, ending(whole.row)
        chain = ChainReader(row.session_id)
        try:
            async for data in self.data(whole):
                broken = await asyncio.to_thread(checked, chain, data)
                if broken:
                    return broken
        except SegmentMissingError as error:
            return Broken(chain.next_index, f"a stored segment cannot be read: {error}")
        if end is None:
            return Verified(chain.next_index, chain.previous, signed=False, recovered=chain.recovered)
        return chain.finish(end, [base64.b64decode(key) for key in row.public_keys])

    async def downloaded(self, uow: UnitOfWork, principal: Principal, whole: Whole) -> None:
        self._watched(uow, principal, whole, "downloaded")

    async def examined(self, uow: UnitOfWork, principal: Principal, whole: Whole) -> None:
        self._watched(uow, principal, whole, "verified")

    def _watched(self, uow: UnitOfWork, principal: Principal, whole: Whole, what: str) -> None:
        data: dict[str, Json] = {"segments": whole.row.next_segment, "sign_in": principal.credential_id}
        uow.audit(AuditEvent(f"recording.{what}", principal.actor, whole.row.session_id, data))


def ending(row: RecordingRow) -> RecordingEnd | None:
    """None: it has not ended."""
    if row.ended_at_ms is None:
        return None
    return RecordingEnd(row.next_segment, row.chain_hash, row.signature, row.status == Status.COMPLETE)


def _gap(row: RecordingRow, kept: Kept) -> Broken:
    if kept.index < row.next_segment:
        return Broken(kept.index, "sent again with other content")
    return Broken(row.next_segment, f"segment {kept.index} came in its place")
