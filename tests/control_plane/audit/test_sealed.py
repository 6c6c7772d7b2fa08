"""Batches come from agents: whatever is in them, opening one gives decisions or says why not (DESIGN invariant 11)."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.sealed import Decision, Unreadable, opened
from tests.control_plane.audit.batches import AT_MS, batch, sealed

TOLD: dict[str, Any] = dict(batch(2).data)
ALLOWED = (1, AT_MS, "allow", "read", ["p/r"], "")
TWO = sealed(ALLOWED, (2, *ALLOWED[1:]))


def test_a_batch_is_what_was_told_of_it() -> None:
    found = opened(TWO, TOLD)
    assert found == (
        Decision(1, AT_MS, "allow", "read", ("p/r",), ""),
        Decision(2, AT_MS, "allow", "read", ("p/r",), ""),
    )


def test_a_run_is_its_decisions() -> None:
    run = sealed((*ALLOWED, b"\x07"))
    assert opened(run, TOLD) == (
        Decision(1, AT_MS, "allow", "read", ("p/r",), ""),
        Decision(2, AT_MS + 7, "allow", "read", ("p/r",), ""),
    )


@pytest.mark.parametrize("name", ["first_operation", "last_operation", "count", "allowed", "held", "denied"])
@pytest.mark.parametrize("value", [7, -1, "2", None, 2**64])
def test_every_number_that_was_told_is_compared(name: str, value: object) -> None:
    assert isinstance(opened(TWO, {**TOLD, name: value}), Unreadable)
    assert isinstance(opened(TWO, {key: told for key, told in TOLD.items() if key != name}), Unreadable)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"not zstd",
        TWO[:-1],
        TWO + b"more",
        TWO + TWO,
        zstandard.compress(b""),
        zstandard.compress(b"\xc1"),
        zstandard.compress(b"\xdd\xff\xff\xff\xff"),
        zstandard.ZstdCompressor(write_content_size=False).compress(zstandard.decompress(TWO)),
        sealed(ALLOWED, (2, AT_MS, "permit", "read", [], "")),
        sealed(ALLOWED, (2, AT_MS, "allow", "read", [])),
        sealed(ALLOWED, (2, *ALLOWED[1:], "more")),
        sealed(ALLOWED, (2, *ALLOWED[1:], b"", "more")),
        sealed((*ALLOWED, b"")),
        sealed((*ALLOWED, bytes(2))),
        sealed((*ALLOWED, bytes(1 << 20))),
        zstandard.compress(msgspec.msgpack.encode({"a": 1})),
    ],
)
def test_what_is_no_batch_is_unreadable(bytes_: bytes) -> None:
    found = opened(bytes_, TOLD)
    assert isinstance(found, Unreadable)
    assert found.reason


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_raise(data: bytes, packed: bool) -> None:
    assert isinstance(opened(zstandard.compress(data) if packed else data, TOLD), Unreadable)


@pytest.mark.parametrize(
    "bomb",
    [
        zstandard.compress(bytes(1 << 30)),
        zstandard.compress(b"\xdd\x00\xff\xff\xff" + b"\x90" * (4 << 20)),
        zstandard.compress(b"\xdd\x00\x0f\xff\xff" + b"\x96\x01\x01\xa0\xa0\x90\xa0" * 500_000),
    ],
    ids=["zeroes", "arrays", "decisions"],
)
def test_a_bomb_takes_little_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        assert isinstance(opened(bomb, {**TOLD, "count": 20_000, "allowed": 20_000}), Unreadable)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
