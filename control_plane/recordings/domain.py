"""What a recording may become, and how a segment is taken in. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from data_plane.recording.format import RecordingEnd
from data_plane.recording.reader import Broken, ChainReader, events


class Status(enum.StrEnum):
    RECEIVING = "receiving"
    COMPLETE = "complete"  # whole, and signed by the agent to its end
    TRUNCATED = "truncated"  # valid to its last sealed segment; the agent crashed and nothing signs the end
    BROKEN = "broken"  # a segment or the end does not fit what came before


TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.RECEIVING: frozenset({Status.COMPLETE, Status.TRUNCATED, Status.BROKEN}),
    Status.COMPLETE: frozenset({Status.BROKEN}),
    Status.TRUNCATED: frozenset({Status.BROKEN}),
    Status.BROKEN: frozenset(),
}


class Place(msgspec.Struct, frozen=True):
    """How far a recording has come."""

    session_id: str
    next_segment: int
    chain_hash: bytes
    recovered: bool

    def reader(self) -> ChainReader:
        chain = ChainReader(self.session_id, self.next_segment, self.chain_hash)
        chain.recovered = self.recovered
        return chain


class Taken(msgspec.Struct, frozen=True):
    """The segment continues the chain; `place` is the new one."""

    hash: bytes
    place: Place


def take(place: Place, data: bytes) -> Taken | Broken:
    """Gaps, repetitions and changes are all Broken: a chain has one next segment."""
    chain = place.reader()
    segment = chain.add(data)
    if isinstance(segment, Broken):
        return segment
    return Taken(segment.hash, Place(place.session_id, chain.next_index, chain.previous, chain.recovered))


def finish(place: Place, end: RecordingEnd, public_keys: Sequence[bytes], reported_hash: bytes) -> Status | Broken:
    """`reported_hash`: what the agent said when the session closed; empty: nothing yet."""
    verified = place.reader().finish(end, public_keys)
    if isinstance(verified, Broken):
        return verified
    if reported_hash and reported_hash != place.chain_hash:
        return Broken(place.next_segment, "its hash is not the one that was reported when the session closed")
    return Status.COMPLETE if verified.signed else Status.TRUNCATED


def checked(chain: ChainReader, data: bytes) -> Broken | None:
    """One segment read again, with every event in it. None: it is whole and in its place."""
    segment = chain.add(data)
    if isinstance(segment, Broken):
        return segment
    try:
        for _ in events(segment):
            pass
    except ValueError as error:
        return Broken(segment.header.index, f"its events cannot be read: {error}")
    return None
