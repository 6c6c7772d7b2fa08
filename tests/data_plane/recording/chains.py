"""A whole recording, made by the writer alone."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import msgspec
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_plane.recording.format import RecordingEnd
from data_plane.recording.model import (
    AnyEvent,
    Closed,
    Completed,
    Decided,
    HeldForApproval,
    HoldEnded,
    Input,
    Opened,
    Output,
)
from data_plane.recording.writer import Compressor, RecordingWriter

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()
SESSION = "ses_1"

OPENED = Opened(0, SESSION, "postgres", "orders", "robot", "idn_1", "crd_1", "::1", "psql", 1_700_000_000_000, 7, {})
EVENTS: list[list[AnyEvent]] = [
    [
        OPENED,
        Input(1, 1, "SELECT 1", (("$1", "int4", "5"),)),
        Decided(2, 1, "allow", "read", ("p/reads",)),
        Output(3, 1, b"\x00\xff" * 40),
        Completed(4, 1, "SELECT 1", 1, 1, 80),
    ],
    [
        Input(5, 2, "DELETE FROM a"),
        Decided(6, 2, "hold", "write", ("p/writes",)),
        HeldForApproval(7, 2, "apr_1", b"d" * 32, "K7F3", "1 of group dba"),
        HoldEnded(8, 2, "apr_1", "approved", "", ("ada",)),
    ],
    [Closed(9, "client-closed", 2)],
]


def recording() -> tuple[list[bytes], RecordingEnd]:
    """Three segments, the first of two chunks."""
    writer, compressor, segments = RecordingWriter(SESSION), Compressor(), []
    for events in EVENTS:
        data = b""
        for part in (events[:2], events[2:]):
            if part:
                chunk = writer.chunk(compressor.pack(part))
                writer.written(chunk)
                data += chunk
        footer = writer.footer()
        writer.sealed(footer)
        segments.append(data + footer)
    return segments, writer.end(KEY.sign)


def unpacked(entries: bytes) -> list[list[Any]]:
    """The decisions of a batch, as link.proto's DecisionBatch says: [operation, at_ms, effect, action, rules, code]."""
    found = []
    for operation, began, *same, later in msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(entries)):
        times = accumulate(later, initial=began)
        found += [[operation + number, at_ms, *same] for number, at_ms in enumerate(times)]
    return found
