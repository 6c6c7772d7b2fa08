"""The messages of the PostgreSQL protocol 3.0 and 3.2: types, caps, encoders and decoders. Pure, no state of a session.

Follows "Message Formats" (chapter 55.7); names are those of the specification. `decode_…` takes a payload (the frame
without its five header bytes) and uses it up exactly; `encode_…` gives a whole frame. Names of statements and portals
and texts of errors are `str` in which bytes that are not UTF-8 survive a round trip (surrogateescape); query texts and
values stay bytes. What the messages mean is the business of `startup`, `target_startup` and `core`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from data_plane.protocols.postgres.framing import (
    Caps,
    Fields,
    RemoteProtocolError,
    cstring,
    encode,
    int16s,
    length_prefixed,
)

# ------------------------------------------------------------------ message types, as they are found in frame[0]

# from the client
Bind: Final[int] = ord("B")
Close: Final[int] = ord("C")
Describe: Final[int] = ord("D")
Execute: Final[int] = ord("E")
Flush: Final[int] = ord("H")
FunctionCall: Final[int] = ord("F")
Parse: Final[int] = ord("P")
Query: Final[int] = ord("Q")
Sync: Final[int] = ord("S")
Terminate: Final[int] = ord("X")
CopyFail: Final[int] = ord("f")
PasswordMessage: Final[int] = ord("p")  # also SASLInitialResponse, SASLResponse, GSSResponse

# both ways
CopyData: Final[int] = ord("d")
CopyDone: Final[int] = ord("c")

# from the target
Authentication: Final[int] = ord("R")
BackendKeyData: Final[int] = ord("K")
BindComplete: Final[int] = ord("2")
CloseComplete: Final[int] = ord("3")
CommandComplete: Final[int] = ord("C")
CopyInResponse: Final[int] = ord("G")
CopyOutResponse: Final[int] = ord("H")
CopyBothResponse: Final[int] = ord("W")
DataRow: Final[int] = ord("D")
EmptyQueryResponse: Final[int] = ord("I")
ErrorResponse: Final[int] = ord("E")
FunctionCallResponse: Final[int] = ord("V")
NegotiateProtocolVersion: Final[int] = ord("v")
NoData: Final[int] = ord("n")
NoticeResponse: Final[int] = ord("N")
NotificationResponse: Final[int] = ord("A")
ParameterDescription: Final[int] = ord("t")
ParameterStatus: Final[int] = ord("S")
ParseComplete: Final[int] = ord("1")
PortalSuspended: Final[int] = ord("s")
ReadyForQuery: Final[int] = ord("Z")
RowDescription: Final[int] = ord("T")

# the first word of an Authentication message
AuthenticationOk: Final = 0
AuthenticationKerberosV5: Final = 2
AuthenticationCleartextPassword: Final = 3
AuthenticationMD5Password: Final = 5
AuthenticationGSS: Final = 7
AuthenticationSSPI: Final = 9
AuthenticationSASL: Final = 10
AuthenticationSASLContinue: Final = 11
AuthenticationSASLFinal: Final = 12

# the first word of a packet without a type
PROTOCOL_3_0: Final = 3 << 16
PROTOCOL_3_2: Final = 3 << 16 | 2
CancelRequest: Final = 80877102
SSLRequest: Final = 80877103
GSSENCRequest: Final = 80877104

# transaction status in ReadyForQuery
IDLE: Final[int] = ord("I")
IN_TRANSACTION: Final[int] = ord("T")
FAILED_TRANSACTION: Final[int] = ord("E")

# ------------------------------------------------------------------ caps

LARGEST_MESSAGE: Final = 256 * 1024 * 1024
_NAMES: Final = 64 * 1024
_LARGEST_KEY: Final = 256
_COPY_RESPONSE: Final = 4 + 3 + 2 * 65535


def _caps(table: Mapping[bytes, int]) -> Caps:
    caps = [0] * 256
    for types, cap in table.items():
        for type_ in types:
            caps[type_] = cap
    return tuple(caps)


def client_caps(largest: int = LARGEST_MESSAGE) -> Caps:
    """What a client may send once it is authenticated. `p` belongs to the handshake and is refused here."""
    return _caps({b"QPBFd": largest, b"CDEf": _NAMES, b"HScX": 4})


def target_caps(largest: int = LARGEST_MESSAGE) -> Caps:
    """What a target may send once the session is open."""
    return _caps({b"DdENATVt": largest, b"CS": _NAMES, b"GHW": _COPY_RESPONSE, b"123nsIc": 4, b"Z": 5})


def target_startup_caps() -> Caps:
    """What a target may send before its first ReadyForQuery: little, and nothing else."""
    return _caps({b"RESNTDC": _NAMES, b"K": 8 + _LARGEST_KEY, b"Z": 5})


# ------------------------------------------------------------------ from the client


class ParseFields(msgspec.Struct, frozen=True):
    statement: str
    query: bytes
    parameter_types: tuple[int, ...] = ()


class BindFields(msgspec.Struct, frozen=True):
    portal: str
    statement: str
    parameter_formats: tuple[int, ...] = ()
    parameters: tuple[bytes | None, ...] = ()
    result_formats: tuple[int, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """The subject of Describe and Close: `kind` is b"S" (statement) or b"P" (portal)."""

    kind: bytes
    name: str


class ExecuteFields(msgspec.Struct, frozen=True):
    portal: str
    row_limit: int = 0  # 0: all rows


def decode_query(payload: bytes) -> bytes:
    """The text; the payload must be one string that ends at the only zero byte."""
    if payload.find(0) != len(payload) - 1 or not payload:
        raise RemoteProtocolError("a query is one string that ends with its only zero byte")
    return payload[:-1]


def encode_query(text: str | bytes) -> bytes:
    return encode(Query, cstring(text))


def decode_parse(payload: bytes) -> ParseFields:
    fields = Fields(payload)
    statement, query = fields.string(), fields.raw_string()
    types = struct.unpack(f"!{(count := fields.uint16())}I", fields.take(4 * count))
    fields.end()
    return ParseFields(statement, query, types)


def encode_parse(statement: str, query: str | bytes, parameter_types: Sequence[int] = ()) -> bytes:
    types = struct.pack(f"!H{len(parameter_types)}I", len(parameter_types), *parameter_types)
    return encode(Parse, cstring(statement) + cstring(query) + types)


def _formats(fields: Fields) -> tuple[int, ...]:
    formats: tuple[int, ...] = struct.unpack(f"!{(count := fields.uint16())}h", fields.take(2 * count))
    if any(format_ not in (0, 1) for format_ in formats):
        raise RemoteProtocolError("a format code is 0 (text) or 1 (binary)")
    return formats


def decode_bind(payload: bytes) -> BindFields:
    fields = Fields(payload)
    portal, statement, formats = fields.string(), fields.string(), _formats(fields)
    parameters = tuple(fields.value() for _ in range(fields.uint16()))
    if len(formats) > 1 and len(formats) != len(parameters):
        raise RemoteProtocolError(f"{len(formats)} parameter formats for {len(parameters)} parameters")
    results = _formats(fields)
    fields.end()
    return BindFields(portal, statement, formats, parameters, results)


def encode_bind(
    portal: str,
    statement: str,
    parameters: Sequence[bytes | None] = (),
    parameter_formats: Sequence[int] = (),
    result_formats: Sequence[int] = (),
) -> bytes:
    values = struct.pack("!H", len(parameters)) + b"".join(map(length_prefixed, parameters))
    return encode(
        Bind, cstring(portal) + cstring(statement) + int16s(parameter_formats) + values + int16s(result_formats)
    )


def decode_named(payload: bytes) -> Named:
    """Of Describe and Close."""
    fields = Fields(payload)
    kind, name = fields.take(1), fields.string()
    fields.end()
    if kind not in (b"S", b"P"):
        raise RemoteProtocolError("neither a statement (S) nor a portal (P)")
    return Named(kind, name)


def encode_describe(kind: bytes, name: str) -> bytes:
    return encode(Describe, kind + cstring(name))


def encode_close(kind: bytes, name: str) -> bytes:
    return encode(Close, kind + cstring(name))


def decode_execute(payload: bytes) -> ExecuteFields:
    fields = Fields(payload)
    execute = ExecuteFields(fields.string(), fields.int32())
    fields.end()
    return execute


def encode_execute(portal: str, row_limit: int = 0) -> bytes:
    return encode(Execute, cstring(portal) + struct.pack("!i", row_limit))


def decode_string(payload: bytes) -> str:
    """The payload of CopyFail, PasswordMessage and CommandComplete: one string."""
    fields = Fields(payload)
    text = fields.string()
    fields.end()
    return text


def encode_copy_fail(reason: str) -> bytes:
    return encode(CopyFail, cstring(reason))


def encode_password(password: str | bytes) -> bytes:
    return encode(PasswordMessage, cstring(password))


def encode_copy_data(data: bytes) -> bytes:
    return encode(CopyData, data)


SYNC: Final = encode(Sync)
FLUSH: Final = encode(Flush)
TERMINATE: Final = encode(Terminate)
COPY_DONE: Final = encode(CopyDone)
