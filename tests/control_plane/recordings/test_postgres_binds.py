"""A Bind that was recorded as it came, read again as parameters."""

from __future__ import annotations

import struct

import pytest

from control_plane.recordings.postgres_binds import Bound, read_bind


def bind(values: list[bytes | None], formats: list[int]) -> bytes:
    payload = b"\0stmt\0" + struct.pack(f">H{len(formats)}H", len(formats), *formats) + struct.pack(">H", len(values))
    for value in values:
        payload += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    payload += b"\0\0"
    return b"B" + struct.pack(">I", len(payload) + 4) + payload


def test_each_value_is_read_by_its_type_and_format() -> None:
    message = bind([b"12", struct.pack(">i", 7), None], [0, 1, 1])
    assert read_bind(message, (25, 23, 23)) == [
        Bound("$1", "text", "12"),
        Bound("$2", "integer", "7"),
        Bound("$3", "integer", ""),
    ]


def test_one_format_is_that_of_all_values_and_none_is_text() -> None:
    assert [one.value for one in read_bind(bind([struct.pack(">i", 7)] * 2, [1]), (23, 23))] == ["7", "7"]
    assert [one.value for one in read_bind(bind([b"7"], []), ())] == ["7"]


def test_a_value_without_a_known_type_is_shown_all_the_same() -> None:
    assert read_bind(bind([b"\x00\x01"], [1]), ()) == [Bound("$1", "unknown", "\\x0001")]


@pytest.mark.parametrize("cut", [6, 12, 14, 18, 20])
def test_what_makes_no_sense_is_shown_as_bytes(cut: int) -> None:
    message = bind([b"12"], [0])[:cut]
    assert read_bind(message, (25,)) == [Bound("bind", "unreadable", "\\x" + message.hex())]
