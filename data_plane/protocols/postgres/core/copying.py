"""COPY FROM STDIN: the client's data streams to the target, under the verdict on the COPY that it belongs to.

Pieces are passed on as they come. Two things are seen in them: a masked value that comes back (the COPY is failed at
the target, which undoes it), and their size and SHA-256, which the recording keeps in place of the data.
"""

from __future__ import annotations

import hashlib
from typing import Final

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core import refusals
from data_plane.protocols.postgres.core.judging import Judge
from data_plane.protocols.postgres.core.outcomes import Outcomes
from data_plane.protocols.postgres.core.ports import Output
from data_plane.protocols.postgres.core.states import Phase
from data_plane.protocols.postgres.core.units import Ending, Pipeline, Unit
from data_plane.protocols.postgres.framing import HEADER, RemoteProtocolError
from data_plane.protocols.postgres.interface import Masking
from data_plane.recording.interface import Recorder

_LONGEST_MARK: Final = 64  # a mark may be cut by the border of two pieces


class CopyIn:
    """One COPY FROM STDIN of the unit at the head of the pipeline."""

    def __init__(self, unit: Unit, masking: Masking, judge: Judge, recorder: Recorder, output: Output) -> None:
        self._unit = unit
        self._masking = masking
        self._judge = judge
        self._recorder = recorder
        self._output = output
        self._before = b""
        self._size = 0
        self._digest = hashlib.sha256()
        self._refused = False

    def client_sent(self, frame: bytes) -> bool:
        """A CopyData, CopyDone or CopyFail; True when the client's data is at its end."""
        if frame[0] == m.CopyData:
            if not self._refused:
                self._data(frame)
            return False
        summary = f"COPY data: {self._size} bytes, SHA-256 {self._digest.hexdigest()}"
        self._recorder.input(self._unit.number, summary)
        if not self._refused:
            # In the extended protocol the target says how it went only when it is asked to.
            asks = m.FLUSH if self._unit.ending is not Ending.QUERY else b""
            self._output.control_to_target(frame + asks)
        return True

    def _data(self, frame: bytes) -> None:
        data = frame[HEADER:]
        if self._masking.carries_mark(self._before + data):
            self._refused = True
            self._unit.error = self._judge.refused(self._unit, refusals.MARKED).encode()
            asks = m.FLUSH if self._unit.ending is not Ending.QUERY else b""
            self._output.control_to_target(m.encode_copy_fail(refusals.MARKED.message) + asks)
            return
        self._before = (self._before + data)[-_LONGEST_MARK:]
        self._size += len(data)
        self._digest.update(data)
        self._output.control_to_target(frame)


class Copies:
    """Whether a session is in a COPY FROM STDIN, and the one that it is in."""

    def __init__(
        self, pipeline: Pipeline, outcomes: Outcomes, masking: Masking, judge: Judge, recorder: Recorder,
        output: Output,
    ) -> None:  # fmt: skip
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._masking = masking
        self._judge = judge
        self._recorder = recorder
        self._output = output
        self._copy: CopyIn | None = None

    def client_sent(self, frame: bytes) -> bool:
        """A message of the COPY; True: it is over."""
        if self._copy is not None and not self._copy.client_sent(frame):
            return False
        self._copy = None
        self._outcomes.copying_in = False
        return True

    def follow(self, *, waits: bool) -> Phase | None:
        """After an answer of the target: what the session does from now on; None: what it does already. `waits`:
        a statement does."""
        if self._outcomes.copying_in and self._copy is None:
            if waits:
                raise RemoteProtocolError("a statement while the data of a COPY is expected")
            if (unit := self._pipeline.head) is None:
                raise RemoteProtocolError("a COPY that nobody asked for")
            self._copy = CopyIn(unit, self._masking, self._judge, self._recorder, self._output)
            return Phase.COPYING
        if self._copy is not None and not self._outcomes.copying_in:
            self._copy = None
            return Phase.READY
        return None
