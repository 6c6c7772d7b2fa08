"""Framing and codecs: round trips, every cut, and what is malformed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.protocols.postgres import answers as a
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import (
    HEADER,
    FrameReader,
    LocalProtocolError,
    RemoteProtocolError,
    encode,
    frame_length,
)

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
BYTES = st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"x"))
VALUES = st.lists(st.none() | st.binary(max_size=20), max_size=5).map(tuple)
FORMATS = st.lists(st.sampled_from([0, 1]), max_size=1).map(tuple)
OIDS = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)


@given(NAMES, BYTES, OIDS)
def test_parse_round_trips(statement: str, query: bytes, types: tuple[int, ...]) -> None:
    frame = m.encode_parse(statement, query, types)
    assert frame[0] == m.Parse
    assert m.decode_parse(frame[HEADER:]) == m.ParseFields(statement, query, types)


@given(NAMES, NAMES, VALUES, FORMATS, FORMATS)
def test_bind_round_trips(portal: str, statement: str, values, formats, results) -> None:
    frame = m.encode_bind(portal, statement, values, formats, results)
    assert m.decode_bind(frame[HEADER:]) == m.BindFields(portal, statement, formats, values, results)


@given(BYTES)
def test_a_query_round_trips(text: bytes) -> None:
    assert m.decode_query(m.encode_query(text)[HEADER:]) == text


@given(st.dictionaries(st.sampled_from("SVCMDHPpqWFLR"), NAMES))
def test_error_fields_round_trip(fields: dict[str, str]) -> None:
    assert a.decode_notice(a.encode_notice_fields(m.ErrorResponse, fields)[HEADER:]) == fields


COLUMNS = st.builds(
    a.Column,
    NAMES,
    st.integers(0, 2**32 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([0, 1]),
)


@given(st.lists(COLUMNS, max_size=5).map(tuple))
def test_row_descriptions_round_trip(columns) -> None:
    assert a.decode_row_description(a.encode_row_description(columns)[HEADER:]) == columns


@given(VALUES)
def test_data_rows_round_trip(values) -> None:
    assert a.decode_data_row(a.encode_data_row(values)[HEADER:]) == values


def test_the_other_messages_round_trip() -> None:
    assert m.decode_named(m.encode_describe(b"S", "x")[HEADER:]) == m.Named(b"S", "x")
    assert m.decode_named(m.encode_close(b"P", "")[HEADER:]) == m.Named(b"P", "")
    assert m.decode_execute(m.encode_execute("c", 50)[HEADER:]) == m.ExecuteFields("c", 50)
    assert m.decode_string(m.encode_password("päss")[HEADER:]) == "päss"
    assert a.decode_parameter_status(a.encode_parameter_status("a", "b")[HEADER:]) == ("a", "b")
    assert a.decode_ready_for_query(a.encode_ready_for_query(m.IN_TRANSACTION)[HEADER:]) == m.IN_TRANSACTION
    assert a.decode_parameter_description(a.encode_parameter_description((23, 25))[HEADER:]) == (23, 25)
    copy = a.CopyFormat(1, (1, 1))
    assert a.decode_copy_response(a.encode_copy_response(m.CopyOutResponse, copy)[HEADER:]) == copy
    for secret in (b"1234", b"x" * 32, b"x" * 256):
        key = a.CancelKey(-5, secret)
        assert a.decode_key(a.encode_key(key)[HEADER:]) == key
    negotiation = a.Negotiation(m.PROTOCOL_3_2, ("_pq_.a",))
    assert a.decode_negotiation(a.encode_negotiation(negotiation)[HEADER:]) == negotiation
    assert a.decode_mechanisms(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0") == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")


def test_bytes_that_are_no_utf8_survive_a_round_trip() -> None:
    payload = b"SERROR\0M\xff\xfe\0\0"
    assert a.encode_notice_fields(m.ErrorResponse, a.decode_notice(payload))[HEADER:] == payload


def test_an_error_says_what_it_must() -> None:
    fields = a.decode_notice(a.encode_error("42501", "no\0", detail="d", hint="h", severity="FATAL")[HEADER:])
    assert fields == {"S": "FATAL", "V": "FATAL", "C": "42501", "M": "no\ufffd", "D": "d", "H": "h"}


def test_a_cancel_key_does_not_show_its_secret() -> None:
    assert "abcd" not in repr(a.CancelKey(1, b"abcd"))


DECODERS = [
    m.decode_query,
    m.decode_parse,
    m.decode_bind,
    m.decode_named,
    m.decode_execute,
    m.decode_string,
    a.decode_notice,
    a.decode_row_description,
    a.decode_data_row,
    a.decode_parameter_description,
    a.decode_parameter_status,
    a.decode_key,
    a.decode_copy_response,
    a.decode_negotiation,
    a.decode_notification,
    a.decode_mechanisms,
    a.decode_ready_for_query,
    a.decode_authentication,
]


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
@given(payload=st.binary(max_size=60))
def test_a_decoder_gives_a_value_or_blames_the_peer(decode, payload: bytes) -> None:
    """Invariant: no other exception whatever comes, and nothing is left over unseen."""
    try:
        decode(payload)
    except RemoteProtocolError:
        return
    if decode not in (a.decode_authentication, a.decode_key):
        with pytest.raises(RemoteProtocolError):
            decode(payload + b"\0")


@pytest.mark.parametrize("payload", [b"", b"select 1", b"select 1\0\0", b"select\0 1\0", b"\0x"])
def test_a_query_is_one_string(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        m.decode_query(payload)


def test_what_we_must_not_send_is_our_error() -> None:
    with pytest.raises(LocalProtocolError):
        m.encode_query("a\0b")
    with pytest.raises(LocalProtocolError):
        a.encode_key(a.CancelKey(1, b"x" * 257))


# ------------------------------------------------------------------ framing

FRAMES = st.lists(
    st.sampled_from([m.SYNC, m.FLUSH, m.encode_query("select 1"), m.encode_bind("", "s", [b"x" * 300]), m.COPY_DONE]),
    max_size=8,
)


@given(FRAMES, st.data())
def test_frames_come_out_however_they_are_cut(frames: list[bytes], data: st.DataObject) -> None:
    reader, stream, got = FrameReader(m.client_caps()), b"".join(frames), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += list(reader.feed(stream[:size]))
        stream = stream[size:]
    assert got == frames
    assert reader.buffered == 0


@given(FRAMES, st.binary(max_size=4))
def test_what_is_incomplete_waits(frames: list[bytes], start: bytes) -> None:
    reader = FrameReader(m.client_caps())
    assert list(reader.feed(b"".join(frames) + start)) == frames
    assert reader.buffered == len(start)


@pytest.mark.parametrize("whole", [True, False])
def test_a_malformed_header_is_reported_behind_the_frames_before_it(whole: bool) -> None:
    reader, got = FrameReader(m.client_caps()), []
    stream = m.SYNC + m.encode_query("x") + b"Q\0\0\0\x03"
    with pytest.raises(RemoteProtocolError):
        for piece in [stream] if whole else [stream[at : at + 1] for at in range(len(stream))]:
            got.extend([])
            for frame in reader.feed(piece):
                got.append(frame)
    assert got == [m.SYNC, m.encode_query("x")]


@pytest.mark.parametrize(
    "header",
    [
        b"Q\0\0\0\0",
        b"Q\0\0\0\3",
        b"Q\xff\xff\xff\xff",
        b"S\0\0\0\5",
        b"X\0\0\0\5",
        b"p\0\0\0\5",
        b"Z\0\0\0\5",
        b"\0\0\0\0\4",
    ],
)
def test_wrong_lengths_and_types_from_a_client_are_refused_at_once(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        frame_length(header, 0, m.client_caps())


def test_the_largest_message_can_be_set() -> None:
    caps = m.client_caps(100)
    assert frame_length(struct.pack("!BI", m.Query, 100), 0, caps) == 101
    with pytest.raises(RemoteProtocolError):
        frame_length(struct.pack("!BI", m.Query, 101), 0, caps)


def test_every_message_of_the_specification_has_a_cap_in_its_direction() -> None:
    client = {m.Bind, m.Close, m.CopyData, m.CopyDone, m.CopyFail, m.Describe, m.Execute, m.Flush, m.FunctionCall,
              m.Parse, m.Query, m.Sync, m.Terminate}  # fmt: skip
    target = {m.BindComplete, m.CloseComplete, m.CommandComplete, m.CopyData, m.CopyDone, m.CopyInResponse, m.DataRow,
              m.CopyOutResponse, m.CopyBothResponse, m.EmptyQueryResponse, m.ErrorResponse, m.FunctionCallResponse,
              m.NoData, m.NoticeResponse, m.NotificationResponse, m.ParameterDescription, m.ParameterStatus,
              m.ParseComplete, m.PortalSuspended, m.ReadyForQuery, m.RowDescription}  # fmt: skip
    assert {type_ for type_, cap in enumerate(m.client_caps()) if cap} == client
    assert {type_ for type_, cap in enumerate(m.target_caps()) if cap} == target


def test_a_bare_frame_is_its_type_and_length() -> None:
    assert encode(m.Sync) == b"S\0\0\0\4"
