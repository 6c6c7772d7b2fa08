"""Bound values as a reviewer reads them; the expected texts are PostgreSQL's own."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.protocols.postgres.core.binding import read_bind
from data_plane.protocols.postgres.core.parameters import shown
from data_plane.protocols.postgres.framing import HEADER, RemoteProtocolError
from data_plane.protocols.postgres.messages import decode_bind, encode_bind


def numeric(weight: int, sign: int, scale: int, *digits: int) -> bytes:
    return struct.pack(f"!hhHh{len(digits)}h", len(digits), weight, sign, scale, *digits)


def array(oid: int, *values: bytes | None) -> bytes:
    items = b"".join(b"\xff\xff\xff\xff" if v is None else struct.pack("!i", len(v)) + v for v in values)
    return struct.pack("!iiIii", 1, 0, oid, len(values), 1) + items


@pytest.mark.parametrize(
    ("oid", "value", "text"),
    [
        (16, b"\1", "true"),
        (17, b"\1\xff", "\\x01ff"),
        (21, b"\xff\xfe", "-2"),
        (23, struct.pack("!i", -7), "-7"),
        (20, struct.pack("!q", 1 << 40), str(1 << 40)),
        (701, struct.pack("!d", 1.5), "1.5"),
        (25, "müller".encode(), "müller"),
        (1700, numeric(0, 0, 2, 12, 3400), "12.34"),
        (1700, numeric(1, 0x4000, 0, 1, 2), "-10002"),
        (1700, numeric(-1, 0, 4, 5), "0.0005"),
        (1700, numeric(-2, 0, 6, 1200), "0.000012"),
        (1700, numeric(2, 0, 0, 1), "100000000"),
        (1700, numeric(0, 0, 0), "0"),
        (1700, numeric(0, 0xC000, 0), "NaN"),
        (2950, uuid.UUID(int=5).bytes, "00000000-0000-0000-0000-000000000005"),
        (1082, struct.pack("!i", 366), "2001-01-01"),
        (1114, struct.pack("!q", 1_500_000), "2000-01-01 00:00:01.500000"),
        (1184, struct.pack("!q", 0), "2000-01-01 00:00:00+00"),
        (3802, b'\1{"a": 1}', '{"a": 1}'),
        (1007, array(23, struct.pack("!i", 1), None), "{1,NULL}"),
        (1009, array(25, b"a b", b'"'), '{"a b","\\""}'),
        (1007, struct.pack("!iiI", 0, 0, 23), "{}"),
    ],
)
def test_a_binary_value_is_read(oid: int, value: bytes, text: str) -> None:
    parameter = shown("$1", oid, 1, value)
    assert (parameter.value, parameter.decoded) == (text, True)


@pytest.mark.parametrize(
    ("oid", "format_", "value"),
    [(23, 1, b"\1"), (0, 1, b"\1\2"), (600, 1, b"x"), (25, 1, b"\xff"), (25, 0, b"\xff"), (3802, 1, b"\2{}"),
     (1082, 1, struct.pack("!i", 2**31 - 1)), (1007, 1, array(25, b"x")), (16, 1, b"\2")],
)  # fmt: skip
def test_what_cannot_be_read_is_shown_in_hexadecimal_and_says_so(oid: int, format_: int, value: bytes) -> None:
    """Invariant 2: never a guess."""
    parameter = shown("$1", oid, format_, value)
    assert (parameter.value, parameter.decoded) == (value.hex(), False)


def test_null_is_told_apart_from_the_empty_text() -> None:
    assert shown("$1", 25, 0, None).null
    assert not shown("$1", 25, 0, b"").null


@given(st.integers(0, 4000), st.integers(0, 1), st.binary(max_size=60))
def test_no_value_breaks_the_reading(oid: int, format_: int, value: bytes) -> None:
    shown("$1", oid, format_, value)


values = st.lists(st.none() | st.binary(max_size=8), max_size=4)


@given(
    st.text("abc", max_size=3),
    values,
    st.lists(st.integers(0, 1), max_size=3),
    st.binary(max_size=2),
    st.integers(0, 99),
)
def test_bind_is_read_as_the_codec_reads_it(
    name: str, values: list[bytes | None], formats: list[int], extra: bytes, cut: int
) -> None:
    """The quick reader of the hot path agrees with `messages` on good and on bad messages."""
    frame = encode_bind(name, name, values, formats, formats) + extra
    for candidate in (frame, frame[: max(HEADER, len(frame) - cut)]):
        try:
            expected = decode_bind(candidate[HEADER:])
        except RemoteProtocolError:
            with pytest.raises(RemoteProtocolError):
                read_bind(candidate)
        else:
            bind = read_bind(candidate)
            assert (bind[0].decode(), bind[1].decode()) == (expected.portal, expected.statement)
            assert (tuple(bind[2]), tuple(bind[3]), tuple(bind[4])) == (
                expected.parameter_formats, expected.parameters, expected.result_formats)  # fmt: skip
