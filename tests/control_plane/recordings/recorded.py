"""Recordings made with the agent's own writer, and PostgreSQL messages as a server sends them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from data_plane.recording import model
from data_plane.recording.format import RecordingEnd
from data_plane.recording.writer import Compressor, RecordingWriter

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

OPENED = model.Opened(0, "ses_1", "postgres", "orders", "bot", "idn_bot", "crd_1", "10.0.0.9:1", "psql", 1000, 7, {})


def recording(
    *segments: Sequence[model.AnyEvent], session_id: str = "ses_1", signed: bool = True
) -> tuple[list[bytes], RecordingEnd]:
    writer, compressor, sealed = RecordingWriter(session_id), Compressor(), []
    for events in segments:
        data = writer.chunk(compressor.pack(events))
        writer.written(data)
        footer = writer.footer()
        writer.sealed(footer)
        sealed.append(data + footer)
    return sealed, writer.end(KEY.sign if signed else None)


def message(kind: str, payload: bytes) -> bytes:
    return kind.encode() + struct.pack(">i", len(payload) + 4) + payload


def row_description(*columns: tuple[str, int, int]) -> bytes:
    """Names, type OIDs and formats."""
    fields = [
        name.encode() + b"\0" + struct.pack(">ihihih", 0, 0, oid, -1, -1, format_code)
        for name, oid, format_code in columns
    ]
    return message("T", struct.pack(">h", len(columns)) + b"".join(fields))


def data_row(*values: bytes | None) -> bytes:
    cells = [struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values]
    return message("D", struct.pack(">h", len(values)) + b"".join(cells))


def command_complete(tag: str) -> bytes:
    return message("C", tag.encode() + b"\0")


def error(code: str, text: str) -> bytes:
    return message("E", f"SERROR\0VERROR\0C{code}\0M{text}\0".encode() + b"\0")
