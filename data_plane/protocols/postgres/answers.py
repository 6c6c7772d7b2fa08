"""The messages that a PostgreSQL target sends: encoders and decoders. Pure; conventions as in `messages`.

Follows "Message Formats" (chapter 55.7) and "Error and Notice Message Fields" (55.8).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from data_plane.protocols.postgres.framing import (
    Fields,
    LocalProtocolError,
    RemoteProtocolError,
    cstring,
    encode,
    int16s,
    length_prefixed,
)
from data_plane.protocols.postgres.messages import (
    Authentication,
    BackendKeyData,
    CommandComplete,
    DataRow,
    ErrorResponse,
    NegotiateProtocolVersion,
    NoticeResponse,
    ParameterDescription,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
)

# ------------------------------------------------------------------ errors and notices

SEVERITY: Final = "S"
SEVERITY_UNTRANSLATED: Final = "V"
SQLSTATE: Final = "C"
MESSAGE: Final = "M"
DETAIL: Final = "D"
HINT: Final = "H"
POSITION: Final = "P"


def decode_notice(payload: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their one-letter code, in order."""
    fields, found = Fields(payload), {}
    while (code := fields.take(1)) != b"\0":
        found[code.decode("latin-1")] = fields.string()
    fields.end()
    return found


def encode_notice_fields(type_: int, fields: Mapping[str, str]) -> bytes:
    """An ErrorResponse or NoticeResponse of exactly these fields."""
    return encode(type_, b"".join(code.encode("latin-1") + cstring(text) for code, text in fields.items()) + b"\0")


def _notice(type_: int, severity: str, sqlstate: str, message: str, detail: str, hint: str, position: int = 0) -> bytes:
    fields = {SEVERITY: severity, SEVERITY_UNTRANSLATED: severity, SQLSTATE: sqlstate, MESSAGE: message}
    if detail:
        fields[DETAIL] = detail
    if hint:
        fields[HINT] = hint
    if position:
        fields[POSITION] = str(position)
    return encode_notice_fields(type_, {code: text.replace("\0", "\ufffd") for code, text in fields.items()})


def encode_error(
    sqlstate: str, message: str, *, detail: str = "", hint: str = "", severity: str = "ERROR", position: int = 0
) -> bytes:
    """An ErrorResponse; severity ERROR, FATAL (the connection ends) or PANIC. `position` counts characters from 1."""
    return _notice(ErrorResponse, severity, sqlstate, message, detail, hint, position)


def encode_notice(
    message: str, *, detail: str = "", hint: str = "", sqlstate: str = "00000", severity: str = "NOTICE"
) -> bytes:
    return _notice(NoticeResponse, severity, sqlstate, message, detail, hint)


# ------------------------------------------------------------------ results


class Column(msgspec.Struct, frozen=True):
    """One field of a RowDescription; table and attribute are 0 when it is not a plain column."""

    name: str
    table_oid: int
    attribute_number: int
    type_oid: int
    type_size: int
    type_modifier: int
    format: int


_column = struct.Struct("!IhIhih")


def decode_row_description(payload: bytes) -> tuple[Column, ...]:
    fields = Fields(payload)
    columns = tuple(Column(fields.string(), *_column.unpack(fields.take(_column.size))) for _ in range(fields.uint16()))
    fields.end()
    return columns


def encode_row_description(columns: Sequence[Column]) -> bytes:
    parts = [struct.pack("!H", len(columns))]
    for name, *numbers in map(msgspec.structs.astuple, columns):
        parts += [cstring(name), _column.pack(*numbers)]
    return encode(RowDescription, b"".join(parts))


def decode_parameter_description(payload: bytes) -> tuple[int, ...]:
    fields = Fields(payload)
    types: tuple[int, ...] = struct.unpack(f"!{(count := fields.uint16())}I", fields.take(4 * count))
    fields.end()
    return types


def encode_parameter_description(types: Sequence[int]) -> bytes:
    return encode(ParameterDescription, struct.pack(f"!H{len(types)}I", len(types), *types))


def decode_data_row(payload: bytes) -> tuple[bytes | None, ...]:
    fields = Fields(payload)
    values = tuple(fields.value() for _ in range(fields.uint16()))
    fields.end()
    return values


def encode_data_row(values: Sequence[bytes | None]) -> bytes:
    return encode(DataRow, struct.pack("!H", len(values)) + b"".join(map(length_prefixed, values)))


def encode_command_complete(tag: str) -> bytes:
    return encode(CommandComplete, cstring(tag))


class CopyFormat(msgspec.Struct, frozen=True):
    """Of CopyInResponse, CopyOutResponse and CopyBothResponse: 0 text, 1 binary."""

    overall: int
    columns: tuple[int, ...]


def decode_copy_response(payload: bytes) -> CopyFormat:
    fields = Fields(payload)
    overall = fields.take(1)[0]
    columns = struct.unpack(f"!{(count := fields.uint16())}h", fields.take(2 * count))
    fields.end()
    return CopyFormat(overall, columns)


def encode_copy_response(type_: int, format_: CopyFormat) -> bytes:
    return encode(type_, bytes([format_.overall]) + int16s(format_.columns))


# ------------------------------------------------------------------ the state of the session


def decode_ready_for_query(payload: bytes) -> int:
    """The transaction status: IDLE, IN_TRANSACTION or FAILED_TRANSACTION."""
    if payload not in (b"I", b"T", b"E"):
        raise RemoteProtocolError("ReadyForQuery with an unknown transaction status")
    return payload[0]


def encode_ready_for_query(status: int) -> bytes:
    return encode(ReadyForQuery, bytes([status]))


def decode_parameter_status(payload: bytes) -> tuple[str, str]:
    fields = Fields(payload)
    name, value = fields.string(), fields.string()
    fields.end()
    return name, value


def encode_parameter_status(name: str, value: str) -> bytes:
    return encode(ParameterStatus, cstring(name) + cstring(value))


class Notification(msgspec.Struct, frozen=True):
    process_id: int
    channel: str
    payload: str


def decode_notification(payload: bytes) -> Notification:
    fields = Fields(payload)
    notification = Notification(fields.int32(), fields.string(), fields.string())
    fields.end()
    return notification


class CancelKey(msgspec.Struct, frozen=True):
    """What BackendKeyData carries and a CancelRequest repeats. The secret has 4 bytes in 3.0, up to 256 in 3.2."""

    process_id: int
    secret: bytes

    def __repr__(self) -> str:
        return f"CancelKey(process_id={self.process_id}, secret=***)"


def decode_key(payload: bytes) -> CancelKey:
    fields = Fields(payload)
    key = CancelKey(fields.int32(), fields.rest())
    if not 4 <= len(key.secret) <= 256:
        raise RemoteProtocolError("a cancel key has 4 to 256 bytes")
    return key


def encode_key(key: CancelKey) -> bytes:
    if not 4 <= len(key.secret) <= 256:
        raise LocalProtocolError("a cancel key has 4 to 256 bytes")
    return encode(BackendKeyData, struct.pack("!i", key.process_id) + key.secret)


class Negotiation(msgspec.Struct, frozen=True):
    """NegotiateProtocolVersion: the newest version that is spoken, and the options that are not known."""

    version: int
    unknown_options: tuple[str, ...]


def decode_negotiation(payload: bytes) -> Negotiation:
    fields = Fields(payload)
    version, count = fields.int32(), fields.uint32()
    if count > len(payload):
        raise RemoteProtocolError("more options than bytes")
    negotiation = Negotiation(version, tuple(fields.string() for _ in range(count)))
    fields.end()
    return negotiation


def encode_negotiation(negotiation: Negotiation) -> bytes:
    options = negotiation.unknown_options
    head = struct.pack("!iI", negotiation.version, len(options))
    return encode(NegotiateProtocolVersion, head + b"".join(map(cstring, options)))


# ------------------------------------------------------------------ authentication


def decode_authentication(payload: bytes) -> tuple[int, bytes]:
    """The kind (AuthenticationOk, …) and what follows it."""
    fields = Fields(payload)
    return fields.int32(), fields.rest()


def encode_authentication(kind: int, data: bytes = b"") -> bytes:
    return encode(Authentication, struct.pack("!i", kind) + data)


def decode_mechanisms(data: bytes) -> tuple[str, ...]:
    """The SASL mechanisms that AuthenticationSASL offers."""
    fields, mechanisms = Fields(data), []
    while mechanism := fields.string():
        mechanisms.append(mechanism)
    fields.end()
    return tuple(mechanisms)
