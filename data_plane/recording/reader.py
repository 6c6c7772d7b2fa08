"""Reads and verifies recordings. Pure; the control plane replays and verifies with it, the spool recovers.

Any flipped byte, and any segment that is missing, cut or out of order, is `Broken`, with the segment and why.
What cannot be told from the bytes alone: segments taken from the end of a recording that was never ended.
The control plane compares with the hash that the agent reported when the session closed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import final

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from data_plane.recording.format import (
    FOOTER_BYTES,
    HASH_BYTES,
    LARGEST_CHUNK_BYTES,
    MAGIC,
    NO_HASH,
    SIGNATURE_CONTEXT,
    Header,
    RecordingEnd,
    length,
)
from data_plane.recording.model import (
    Answered,
    AnyEvent,
    Completed,
    Decided,
    Input,
    Judged,
    Output,
    Ran,
    RanAgain,
    RanAlike,
    Written,
)

_header = msgspec.msgpack.Decoder(Header)
_events = msgspec.msgpack.Decoder(list[Written])
_BEGIN = len(MAGIC)


class Segment(msgspec.Struct, frozen=True):
    """One whole segment whose hash is right."""

    header: Header
    chunks: tuple[bytes, ...]
    hash: bytes
    recovered: bool  # closed after a crash, at its last whole chunk


class Broken(msgspec.Struct, frozen=True):
    index: int  # of the segment
    reason: str


class Verified(msgspec.Struct, frozen=True):
    """The chain is whole. `signed`: to its end, by the key that was asked for; else it may go on elsewhere."""

    segments: int
    chain_hash: bytes
    signed: bool
    recovered: bool


class Salvaged(msgspec.Struct, frozen=True):
    """What is whole of a segment that was never sealed: keep `length` bytes."""

    header: Header
    length: int
    chunks: int
    events: tuple[AnyEvent, ...]


def read(data: bytes, index: int = 0) -> Segment | Broken:
    """One sealed segment. `index` is only for the report when its header cannot be read."""
    if len(data) < _BEGIN + 4 + FOOTER_BYTES or not data.startswith(MAGIC):
        return Broken(index, "not a recording segment, or cut short")
    if hashlib.sha256(data[:-HASH_BYTES]).digest() != data[-HASH_BYTES:]:
        return Broken(index, "its hash is wrong: it was changed or cut")
    header, at = _head(data)
    if header is None:
        return Broken(index, "its header cannot be read")
    chunks = []
    while at < len(data) - FOOTER_BYTES:
        size = length(data, at)
        chunks.append(data[at + 4 : at + 4 + size])
        at += 4 + size
        if size == 0 or at > len(data) - FOOTER_BYTES:
            return Broken(header.index, "its chunks do not fit")
    how = data[-HASH_BYTES - 1]
    if length(data, at) != 0 or how > 1:
        return Broken(header.index, "its end cannot be read")
    return Segment(header, tuple(chunks), data[-HASH_BYTES:], recovered=how == 1)


def events(segment: Segment) -> Iterator[AnyEvent]:
    """The events in order. Raises ValueError when a chunk is not what a writer wrote."""
    for chunk in segment.chunks:
        yield from _unpacked(chunk)


def sealed_events(data: bytes) -> list[AnyEvent]:
    """Of one sealed segment; none when it cannot be read."""
    segment = read(data)
    try:
        return [] if isinstance(segment, Broken) else list(events(segment))
    except ValueError:
        return []


def salvage(data: bytes) -> Salvaged | None:
    """The whole chunks of a segment that a crash left open; None: not even a header."""
    if not data.startswith(MAGIC):
        return None
    header, at = _head(data)
    if header is None:
        return None
    chunks, found = 0, list[AnyEvent]()
    while 0 < (size := length(data, at)) <= len(data) - at - 4:
        try:
            found += list(_unpacked(data[at + 4 : at + 4 + size]))  # all of a chunk or nothing
        except ValueError:
            break
        at += 4 + size
        chunks += 1
    return Salvaged(header, at, chunks, tuple(found))


@final
class ChainReader:
    """Follows a recording segment by segment; its state can be stored and taken up again."""

    def __init__(self, session_id: str, next_index: int = 0, previous: bytes = NO_HASH) -> None:
        self.session_id = session_id
        self.next_index = next_index
        self.previous = previous
        self.recovered = False

    def add(self, data: bytes) -> Segment | Broken:
        """The next segment, verified against what went before. After Broken the state is as before."""
        segment = read(data, self.next_index)
        if isinstance(segment, Broken):
            return segment
        if segment.header.session_id != self.session_id:
            return Broken(self.next_index, "it belongs to another session")
        if segment.header.index != self.next_index:
            return Broken(self.next_index, f"segment {segment.header.index} stands in its place")
        if segment.header.previous != self.previous:
            return Broken(self.next_index, "it does not continue the segment before")
        if self.recovered:
            return Broken(self.next_index, "it follows a segment that a crash ended")
        self.next_index += 1
        self.previous = segment.hash
        self.recovered = segment.recovered
        return segment

    def finish(self, end: RecordingEnd, public_keys: Sequence[bytes]) -> Verified | Broken:
        """Compares with the recording's end. `public_keys`: raw Ed25519 keys of the agent, any of which may sign."""
        if (end.segments, end.chain_hash) != (self.next_index, self.previous):
            return Broken(self.next_index, "the end names other segments than there are")
        if end.complete and not _signed(end, public_keys):
            return Broken(self.next_index, "the signature at the end is wrong")
        return Verified(self.next_index, self.previous, signed=end.complete, recovered=self.recovered)


def verify(
    session_id: str, segments: Iterable[bytes], end: RecordingEnd | None, public_keys: Sequence[bytes]
) -> Verified | Broken:
    """A whole recording. `end` None: it has not ended, or its end was never sent."""
    chain = ChainReader(session_id)
    for data in segments:
        segment = chain.add(data)
        if isinstance(segment, Broken):
            return segment
        try:
            for _ in events(segment):
                pass
        except ValueError as error:
            return Broken(segment.header.index, f"its events cannot be read: {error}")
    if end is None:
        return Verified(chain.next_index, chain.previous, signed=False, recovered=chain.recovered)
    return chain.finish(end, public_keys)


def _head(data: bytes) -> tuple[Header | None, int]:
    size = length(data, _BEGIN)
    at = _BEGIN + 4
    try:
        return _header.decode(data[at : at + size]), at + size
    except msgspec.DecodeError:
        return None, 0


def _unpacked(chunk: bytes) -> Iterator[AnyEvent]:
    try:
        if zstandard.frame_content_size(chunk) > LARGEST_CHUNK_BYTES:
            raise ValueError("a chunk is too large")
        written = _events.decode(zstandard.ZstdDecompressor().decompress(chunk))
    except (zstandard.ZstdError, msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    yield from _apart(written)


def _signed(end: RecordingEnd, public_keys: Sequence[bytes]) -> bool:
    for key in public_keys:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(end.signature, SIGNATURE_CONTEXT + end.chain_hash)
        except (InvalidSignature, ValueError):
            continue
        return True
    return False


def _apart(written: Iterable[Written]) -> Iterator[AnyEvent]:
    last: Ran | None = None
    for one in written:
        if isinstance(one, Ran):
            last = one
            yield from _ran(one)
        elif isinstance(one, RanAlike | RanAgain):
            for ran in _alike(one, last):
                last = ran
                yield from _ran(ran)
        elif isinstance(one, Judged):
            yield Input(one.at_ms, one.operation, one.text, (), one.bind, one.types)
            yield Decided(one.at_ms, one.operation, one.effect, one.action, one.rules, one.code, one.message)
        elif isinstance(one, Answered):
            yield Output(one.at_ms, one.operation, one.data)
            yield Completed(one.at_ms, one.operation, one.status, one.rows, one.rows, len(one.data))
        else:
            yield one


def _ran(one: Ran) -> Iterator[AnyEvent]:
    yield Input(one.at_ms, one.operation, one.text, (), one.bind, one.types)
    yield Decided(one.at_ms, one.operation, one.effect, one.action, one.rules)
    yield Output(one.answered_at_ms, one.operation, one.data)
    yield Completed(one.answered_at_ms, one.operation, one.status, one.rows, one.rows, len(one.data))


def _alike(run: RanAlike | RanAgain, last: Ran | None) -> Iterator[Ran]:
    """The operations of the run. Raises ValueError."""
    if last is None:
        raise ValueError("an operation ran like one that is not in its chunk")
    if isinstance(run, RanAgain):
        times = (0, run.answered_at_ms - run.at_ms)
        one = ((run.text,), (run.bind,), times, (run.data,), (run.status,), (run.rows,))
        run = RanAlike(run.at_ms, run.operation, *one)
    decided, text = (last.effect, last.action, last.rules), last.text
    try:
        columns = zip(
            run.texts, run.binds, run.times[::2], run.times[1::2], run.data, run.statuses, run.rows, strict=True
        )
        for number, (told, bind, judged, answered, data, status, rows) in enumerate(columns, run.operation):
            text = told or text
            answer = (run.at_ms + answered, data, status, rows)
            yield Ran(run.at_ms + judged, number, *decided, text, bind, last.types, *answer)
    except ValueError as error:
        raise ValueError(f"the columns of a run do not fit each other: {error}") from error
