"""Sealed batches of decisions: kept as agents packed them, opened when somebody reads them. Pure and light.

A batch is one zstd frame over a MessagePack array of [operation number, Unix ms, effect, action, [policy/rule…],
code, later]. Each byte of `later` is one more decision like it, of the next operation, so many ms after the one before;
batches of earlier agents lack it. Taking a batch in costs nothing for each decision: the bytes go into the audit log as
they came, the entry's `data` says what the agent told about them (`first_operation last_operation count allowed held
denied`), and the hash chain covers both. Nothing in it is believed: what is too large, cannot be decoded or is not what
was told is Unreadable, a problem to be shown and never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
import zstandard

from control_plane.audit.chain import TOO_LARGE

LARGEST_SEALED_BYTES = 2 << 20  # agents stay below 1 MiB, packed but not compressed
_LARGEST_BYTES = 4 << 20
_MOST_DECISIONS = 20_000


class Decision(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    operation: int
    at_ms: int
    effect: Literal["allow", "hold", "deny"]
    action: str
    rules: tuple[str, ...]  # policy/rule
    code: str


class Unreadable(msgspec.Struct, frozen=True):
    reason: str


class _Run(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    operation: int
    at_ms: int
    effect: Literal["allow", "hold", "deny"]
    action: str
    rules: tuple[str, ...]
    code: str
    later: bytes = b""

    def decisions(self) -> Iterator[Decision]:
        operation, at_ms = self.operation, self.at_ms
        for after in (0, *self.later):
            at_ms += after
            yield Decision(operation, at_ms, self.effect, self.action, self.rules, self.code)
            operation += 1


_decoder = msgspec.msgpack.Decoder(tuple[_Run, ...])


def implausible(sealed: bytes, told: Mapping[str, object]) -> str:
    """What is wrong as far as can be seen without opening it; empty: nothing."""
    if len(sealed) > LARGEST_SEALED_BYTES:
        return "the batch is too large"
    count = told.get("count")
    if not isinstance(count, int) or not 0 < count <= _MOST_DECISIONS:
        return f"{count} is no number of decisions"
    first, last = _told(told, "first_operation", "last_operation")
    if not 0 <= first <= last < TOO_LARGE:
        return f"there are no operations {first} to {last}"
    if sum(_told(told, "allowed", "held", "denied")) != count:
        return f"the decisions told of are not {count} together"
    try:
        size = zstandard.frame_content_size(sealed)
    except zstandard.ZstdError as error:
        return str(error)
    return "" if 0 < size <= _LARGEST_BYTES else "it says no size, or is too large when opened"


def opened(sealed: bytes, told: Mapping[str, object]) -> tuple[Decision, ...] | Unreadable:
    """`told`: the `data` of the entry. Takes no more memory than the limits above allow, whatever the bytes are."""
    problem = implausible(sealed, told)
    if problem:
        return Unreadable(problem)
    try:
        packed = zstandard.ZstdDecompressor().decompress(sealed, max_output_size=_LARGEST_BYTES, allow_extra_data=False)
        runs = _decoder.decode(packed) if 0 < _length(packed) <= _MOST_DECISIONS else ()
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        return Unreadable(str(error))
    fits = sum(1 + len(run.later) for run in runs) == told["count"]
    decisions = tuple(decision for run in runs for decision in run.decisions()) if fits else ()
    return decisions if _is_what_was_told(decisions, told) else Unreadable("it does not hold what was told of it")


def _is_what_was_told(decisions: Sequence[Decision], told: Mapping[str, object]) -> bool:
    if not decisions:
        return False
    effects = Counter(decision.effect for decision in decisions)
    found = [decisions[0].operation, decisions[-1].operation, effects["allow"], effects["hold"], effects["deny"]]
    return found == _told(told, "first_operation", "last_operation", "allowed", "held", "denied")


def _told(told: Mapping[str, object], *names: str) -> list[int]:
    values = [told.get(name) for name in names]
    return [value if isinstance(value, int) else -1 for value in values]


def _length(packed: bytes) -> int:
    """Of the MessagePack array, by its head: known before anything is made of it. -1: not an array."""
    head = packed[:1]
    if b"\x90" <= head <= b"\x9f":
        return head[0] & 0x0F
    size = {b"\xdc": 2, b"\xdd": 4}.get(head)
    return -1 if size is None else int.from_bytes(packed[1 : 1 + size], "big")
