"""Reads Bind and Execute without building anything around their fields: they are in every prepared execution.

Agrees with `messages.decode_bind` and `decode_execute`, which is tested.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from data_plane.protocols.postgres.framing import HEADER, RemoteProtocolError

_uint16 = struct.Struct("!H").unpack_from
_int32 = struct.Struct("!i").unpack_from

Values = list[bytes | None]


def read_bind(frame: bytes) -> tuple[bytes, bytes, Sequence[int], Values, Sequence[int]]:
    """Portal, statement, parameter formats, parameters, result formats. Raises RemoteProtocolError."""
    try:
        end_of_portal = frame.index(0, HEADER)
        end_of_statement = frame.index(0, end_of_portal + 1)
        formats, at = _formats(frame, end_of_statement + 1)
        values, at = _values(frame, at)
        results, at = _formats(frame, at)
    except (ValueError, struct.error):
        raise RemoteProtocolError("Bind ends before its last field") from None
    if at != len(frame):
        raise RemoteProtocolError("Bind does not end with its last field")
    if len(formats) > 1 and len(formats) != len(values):
        raise RemoteProtocolError(f"{len(formats)} parameter formats for {len(values)} parameters")
    return frame[HEADER:end_of_portal], frame[end_of_portal + 1 : end_of_statement], formats, values, results


def _formats(frame: bytes, at: int) -> tuple[Sequence[int], int]:
    (count,) = _uint16(frame, at)
    if not count:
        return (), at + 2
    formats = struct.unpack_from(f"!{count}h", frame, at + 2)
    for format_ in formats:
        if format_ not in (0, 1):
            raise RemoteProtocolError("a format code is 0 (text) or 1 (binary)")
    return formats, at + 2 + 2 * count


def _values(frame: bytes, at: int) -> tuple[Values, int]:
    (count,) = _uint16(frame, at)
    at += 2
    values: Values = []
    for _ in range(count):
        (size,) = _int32(frame, at)
        at += 4
        if size < 0:
            if size != -1:
                raise RemoteProtocolError("a value of negative length")
            values.append(None)
            continue
        values.append(frame[at : at + size])
        at += size
    return values, at


def read_execute(frame: bytes) -> bytes:
    """The portal. Raises RemoteProtocolError."""
    end = frame.find(0, HEADER)
    if end < 0 or len(frame) != end + 1 + 4:
        raise RemoteProtocolError("Execute is a name and a number of rows")
    return frame[HEADER:end]
