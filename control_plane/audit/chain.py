"""The hash chain of the audit log: what an entry is, its canonical bytes, its hash. Pure and light.

Canonical bytes: the JSON object of the entry's fields `sequence at_ms kind actor subject data sealed`, keys
sorted, no white space, everything outside ASCII escaped (`json.dumps(sort_keys, separators=(",", ":"))`),
numbers integers of 64 bits only. `sealed` is null, or the SHA-256 in lower-case hex of the bytes that the entry
carries beside its fields: a batch of decisions, see `sealed`. The hash of an entry:

    SHA-256("assentry-audit-entry-v1\\0" + hash of the entry before, 32 bytes + canonical bytes)

The first entry follows 32 zero bytes. A checkpoint is signed with Ed25519 over "assentry-audit-v1\\0" and the
canonical bytes of its fields `deployment sequence hash at_ms`. It covers every entry up to its sequence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

GENESIS = bytes(32)
CHECKPOINT_CONTEXT = b"assentry-audit-v1\0"
TOO_LARGE = 2**63
_ENTRY_CONTEXT = b"assentry-audit-entry-v1\0"


class Entry(msgspec.Struct, frozen=True):
    sequence: int  # counts from 1 without gaps
    at_ms: int  # Unix time
    kind: str
    actor: Mapping[str, str]  # id, name, kind
    subject: str
    data: Mapping[str, Any]
    sealed: bytes = b""  # a batch of decisions, as the agent packed it; empty: none


class Checkpoint(msgspec.Struct, frozen=True):
    deployment: str
    sequence: int
    hash: str  # hex
    at_ms: int


def canonical(value: object) -> bytes:
    """Raises TypeError for a number that is not an integer and for what JSON cannot say."""
    _only_exact_numbers(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def entry_bytes(entry: Entry) -> bytes:
    sealed = hashlib.sha256(entry.sealed).hexdigest() if entry.sealed else None
    return canonical({**msgspec.structs.asdict(entry), "sealed": sealed})


def entry_hash(previous: bytes, entry: Entry) -> bytes:
    return hashlib.sha256(_ENTRY_CONTEXT + previous + entry_bytes(entry)).digest()


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    return canonical(msgspec.structs.asdict(checkpoint))


def _only_exact_numbers(value: object) -> None:
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= TOO_LARGE):
        raise TypeError("only integers of 64 bits have one text everywhere")
    if isinstance(value, Mapping):
        for inner in value.values():
            _only_exact_numbers(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _only_exact_numbers(inner)
