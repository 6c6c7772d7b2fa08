"""Marks: made so that nobody takes them for a value, recognised wherever a client may put them."""

from __future__ import annotations

import base64
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.masking import marks
from data_plane.masking.marks import MARK, Marks, carries_mark, partial, session_key

KEYED = Marks(b"a session's key of thirty-two by")


def every_mark() -> list[bytes]:
    return [MARK, KEYED.hashed(b"078-05-1120"), partial(b"4111111111111111")]


@pytest.mark.parametrize("mark", every_mark())
def test_a_mark_is_recognised_in_every_way_it_may_come_back(mark: bytes) -> None:
    text = mark.decode()
    escaped = json.dumps({"ssn": text}).encode()
    assert "\\u2039" in escaped.decode()
    ways = [
        b"update t set a = '" + mark + b"'",
        escaped,
        json.dumps(escaped.decode()).encode(),
        escaped.replace(b"\\u2039", b"\\U2039"),
        b"\\x" + mark.hex().encode(),
        b"\\x" + mark.hex().upper().encode(),
        rb"U&'\2039masked\203a'",
        rb"U&'\+002039masked'",
        rb"E'\xe2\x80\xb9masked'",
        rb"E'\342\200\271masked'",
        b"<v>&#8249;masked&#8250;</v>",
        b"\x00\x00\x00\x0bB\x00" + mark + b"\x00",
    ]
    for way in ways:
        assert carries_mark(way), way


def test_a_marked_uuid_is_recognised_in_both_formats() -> None:
    for mark in (marks.UUID_MARK, KEYED.hashed_uuid(b"7e2b")):
        assert len(mark) == 16
        text = str(uuid.UUID(bytes=mark))
        assert uuid.UUID(text).version == 4
        assert carries_mark(mark)
        assert carries_mark(text.encode())
        assert carries_mark(text.replace("-", "").upper().encode())


@given(st.binary())
def test_ordinary_bytes_carry_no_mark(data: bytes) -> None:
    assert not carries_mark(data.replace(b"masked", b"").replace(b"61736", b""))


def test_the_key_of_a_session_is_its_own() -> None:
    keys = {session_key(b"deployment" * 4, "s1"), session_key(b"deployment" * 4, "s2"), session_key(b"other" * 8, "s1")}
    assert len(keys) == 3
    assert all(Marks(key).hashed(b"a") for key in keys)


@pytest.mark.parametrize("data", [b"select masked from t", b"'the masked man'", b"x < masked", b"masked@example.com"])
def test_the_word_alone_is_no_mark(data: bytes) -> None:
    assert not carries_mark(data)


def test_equal_values_have_equal_hashes_within_a_key_only() -> None:
    other = Marks(b"another session's key, long enou")
    assert KEYED.hashed(b"a") == KEYED.hashed(b"a")
    assert KEYED.hashed(b"a") != KEYED.hashed(b"b")
    assert KEYED.hashed(b"a") != other.hashed(b"a")
    assert not any(byte in b"0123456789" for byte in KEYED.hashed(b"a"))


def test_a_uuid_hashes_alike_in_text_and_binary() -> None:
    value = uuid.uuid4()
    assert KEYED.hashed_uuid(value.bytes) == KEYED.hashed_uuid(str(value).encode())


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Marks(b"short")


def test_partial_keeps_four_characters_of_eight_and_nothing_of_fewer() -> None:
    assert partial(b"4111111111111111") == "‹masked:…1111›".encode()
    assert partial("Größenwahn".encode()) == "‹masked:…wahn›".encode()
    assert partial(b"abcdefg") == MARK
    assert partial(b"abcdefgh\xff\xfe") == MARK


@given(st.text(min_size=8))
def test_partial_never_breaks_out_of_its_mark(value: str) -> None:
    made = partial(value.encode(errors="replace")).decode()
    assert made.count("›") == 1
    assert made.endswith("›")
    assert not any(character in made for character in '"\\\n\t\0,{}()')
    assert base64.b64encode(made.encode())
