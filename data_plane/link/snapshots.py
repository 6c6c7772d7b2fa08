"""The last good snapshot on disk, signed as it came: at the next start it is verified like one from the wire."""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from data_plane.link.files import write_atomically
from data_plane.policy.snapshot import SignedSnapshot

log = structlog.get_logger(__name__)


class SnapshotStore:
    def __init__(self, file: Path) -> None:
        self._file = file

    def keep(self, signed: SignedSnapshot) -> None:
        """Raises OSError; then none is kept, since a restart must not go back to what is no longer in force."""
        try:
            write_atomically(self._file, msgspec.msgpack.encode(signed))
        except OSError:
            self._file.unlink(missing_ok=True)
            raise

    def load(self) -> SignedSnapshot | None:
        """None when there is none or the file is damaged: the control plane sends it again."""
        try:
            return msgspec.msgpack.decode(self._file.read_bytes(), type=SignedSnapshot)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError) as error:
            log.warning("the snapshot on disk cannot be read; waiting for a new one", error=str(error))
            return None
