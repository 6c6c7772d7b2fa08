"""The files of the spool: one folder for each session, sealed segments, the open one, and the recording's end.

    <session>/00000000.segment   sealed, ready to be uploaded
    <session>/00000001.open      being written
    <session>/end                RecordingEnd: nothing follows

Called from the recording thread for writing and from any thread for listing, reading and forgetting.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import final

import msgspec

from data_plane.recording import reader
from data_plane.recording.descriptors import Descriptors
from data_plane.recording.format import NO_HASH, Header, RecordingEnd
from data_plane.recording.model import AGENT_CRASHED, AnyEvent, Closed
from data_plane.recording.writer import RECOVERED, Compressor, RecordingWriter

_SESSION = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SEALED, _OPEN, _END = ".segment", ".open", "end"
_FORGOTTEN = ".forgotten-"


class Spooled(msgspec.Struct, frozen=True):
    """One recording in the spool. `end` None: the session goes on."""

    session_id: str
    segments: int  # sealed, from 0
    end: RecordingEnd | None

    @property
    def ready(self) -> bool:
        """There is something to upload."""
        return self.segments > 0 or self.end is not None


@final
class Shelf:
    """`limit_bytes`: of everything together; beyond it nothing more can be written until uploads make room."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._spooled: dict[str, Spooled] = {}
        self._bytes = 0
        self._open = Descriptors()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._bytes

    def listing(self) -> Sequence[Spooled]:
        """Every recording that has something to upload."""
        with self._lock:
            return [item for item in self._spooled.values() if item.ready]

    def ready(self, session_id: str) -> Spooled | None:
        """This recording, if it has something to upload."""
        with self._lock:
            item = self._spooled.get(session_id)
            return item if item is not None and item.ready else None

    def segment(self, session_id: str, index: int) -> bytes:
        """A sealed segment, exactly as it was sealed. Raises OSError."""
        return self._file(session_id, index, _SEALED).read_bytes()

    def forget(self, session_id: str) -> None:
        """The recording is stored elsewhere. One that has not ended is not forgotten. Raises OSError: then it is still
        listed, what is left of it counts, and it is to be forgotten again."""
        with self._lock:
            item = self._spooled.get(session_id)
            if item is None or item.end is None:
                return
        folder, grave = self._folder / session_id, self._folder / f"{_FORGOTTEN}{session_id}"
        if not grave.exists():  # else it was begun before
            folder.rename(grave)  # at once, so that a crash does not leave half a recording
        for file in list(grave.iterdir()):
            size = file.stat().st_size
            file.unlink()
            with self._lock:
                self._bytes -= size
        grave.rmdir()
        with self._lock:
            self._spooled.pop(session_id, None)

    # ------------------------------------------------------------ writing, from the recording thread

    def begin(self, session_id: str) -> None:
        """Raises OSError; FileExistsError when the session was recorded before."""
        if _SESSION.fullmatch(session_id) is None:
            raise ValueError(f"{session_id!r} cannot be the name of a folder")
        (self._folder / session_id).mkdir(mode=0o700)
        with self._lock:
            self._spooled[session_id] = Spooled(session_id, 0, None)

    def abandon(self, writer: RecordingWriter) -> None:
        """It never opened: nothing of it is sealed. Never raises."""
        with self._lock:
            self._spooled.pop(writer.session_id, None)
        with contextlib.suppress(OSError):
            self._open.close(self._file(writer.session_id, 0, _OPEN))
            self._file(writer.session_id, 0, _OPEN).unlink(missing_ok=True)
            with self._lock:
                self._bytes -= writer.size
            (self._folder / writer.session_id).rmdir()

    def append(self, writer: RecordingWriter, data: bytes) -> None:
        """Adds to the open segment. Raises OSError; then the file is as before."""
        if self._bytes + len(data) > self._limit:
            raise OSError(errno.ENOSPC, "the spool is full: recordings wait for the control plane to take them")
        path = self._path(writer.session_id, writer.index, _OPEN)
        _write_whole(self._open.open(path, new=not writer.size), data, writer.size)
        with self._lock:
            self._bytes += len(data)

    def sync(self, writer: RecordingWriter) -> None:
        """Everything appended so far is on the disk when it returns, also over a loss of power. Raises OSError."""
        for path in (self._file(writer.session_id, writer.index, _OPEN), self._folder / writer.session_id):
            with contextlib.suppress(FileNotFoundError):
                _sync(path)

    def seal(self, writer: RecordingWriter, how: int = 0) -> None:
        """Closes the open segment, if there is one. Raises OSError."""
        if writer.size == 0:
            return
        footer = writer.footer(how)
        file = self._file(writer.session_id, writer.index, _OPEN)
        descriptor = self._open.open(str(file), new=False)
        try:
            os.ftruncate(descriptor, writer.size)  # a try that failed may have left its footer
            _write_whole(descriptor, footer, writer.size)
            os.fdatasync(descriptor)
        finally:
            self._open.close(file)
        file.rename(self._file(writer.session_id, writer.index, _SEALED))
        writer.sealed(footer)
        with self._lock:
            self._bytes += len(footer)
            self._spooled[writer.session_id] = Spooled(writer.session_id, writer.index, None)
        _sync(file.parent)  # it is uploaded next, so a loss of power must not open it again

    def end(self, session_id: str, end: RecordingEnd) -> None:
        """Nothing follows. Raises OSError."""
        file = self._folder / session_id / _END
        draft = file.with_suffix(".draft")
        data = msgspec.msgpack.encode(end)
        draft.write_bytes(data)
        _sync(draft)
        draft.rename(file)
        _sync(file.parent)
        with self._lock:
            self._bytes += len(data)
            self._spooled[session_id] = Spooled(session_id, end.segments, end)

    # ------------------------------------------------------------ after a crash

    def recover(self) -> Sequence[Spooled]:
        """Takes up what an earlier process left; returns the recordings that it did not end, now ended as incomplete.

        Called once, before anything is written. Of an open segment the whole chunks are kept and sealed as recovered,
        with a last event that says so.
        """
        for grave in self._folder.glob(f"{_FORGOTTEN}*"):
            shutil.rmtree(grave)
        crashed = []
        for folder in sorted(path for path in self._folder.iterdir() if path.is_dir()):
            ended = self._take_up(folder)
            if ended is not None:
                crashed.append(ended)
        return crashed

    def _take_up(self, folder: Path) -> Spooled | None:
        session_id = folder.name
        self._bytes += sum(file.stat().st_size for file in folder.iterdir())
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            end = msgspec.msgpack.decode((folder / _END).read_bytes(), type=RecordingEnd)
            self._spooled[session_id] = Spooled(session_id, end.segments, end)
            return None
        chain = self._sealed_chain(session_id)
        writer = RecordingWriter(session_id, chain.next_index, chain.previous)
        found = self._salvage(writer)
        if not chain.recovered:
            self._say_crashed(writer, found)
        self.seal(writer, RECOVERED)
        self.end(session_id, writer.end(sign=None))
        return self._spooled[session_id]

    def _sealed_chain(self, session_id: str) -> reader.ChainReader:
        """Follows the sealed segments as far as they hold; a torn one, by loss of power, ends the chain before it."""
        chain = reader.ChainReader(session_id, 0, NO_HASH)
        with contextlib.suppress(FileNotFoundError):
            while not isinstance(chain.add(self.segment(session_id, chain.next_index)), reader.Broken):
                pass
        return chain

    def _salvage(self, writer: RecordingWriter) -> Sequence[AnyEvent]:
        """What is whole of the open segment; its file holds that and nothing else."""
        file = self._file(writer.session_id, writer.index, _OPEN)
        data = file.read_bytes() if file.exists() else b""
        whole = reader.salvage(data)
        expected = Header(writer.session_id, writer.index, writer.previous)
        if whole is None or whole.chunks == 0 or whole.header != expected:
            file.unlink(missing_ok=True)
            self._bytes -= len(data)
            return ()
        os.truncate(file, whole.length)
        self._bytes -= len(data) - whole.length
        writer.written(data[: whole.length])
        return whole.events

    def _say_crashed(self, writer: RecordingWriter, found: Sequence[AnyEvent]) -> None:
        """The recording's last event, so that its reader sees where it stops. On a full disk there is none."""
        for index in range(writer.index - 1, -1, -1):
            if any(getattr(event, "operation", 0) for event in found):
                break
            found = [*reader.sealed_events(self.segment(writer.session_id, index)), *found]
        if not found or isinstance(found[-1], Closed):
            return
        last = max(getattr(event, "operation", 0) for event in found)
        data = writer.chunk(Compressor().pack([Closed(found[-1].at_ms, AGENT_CRASHED, last)]))
        with contextlib.suppress(OSError):
            self.append(writer, data)
            writer.written(data)

    def _file(self, session_id: str, index: int, suffix: str) -> Path:
        return Path(self._path(session_id, index, suffix))

    def _path(self, session_id: str, index: int, suffix: str) -> str:
        return f"{self._folder}/{session_id}/{index:08d}{suffix}"


def _write_whole(descriptor: int, data: bytes, size_before: int) -> None:
    """All of it or, with an OSError, nothing."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size_before)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
