"""How a session is recorded: the port that protocols and the gate write to, and where decisions go.

Every call appends to memory and returns; what was appended is encoded a few times a second, and one thread a process
compresses, chains and writes it. Strict: when nothing can be written any more, the next call raises RecordingError and
the session ends.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec
from mypy_extensions import mypyc_attr

from data_plane.recording.model import Opened


class RecordingError(Exception):
    """The session can no longer be recorded and must end; `args[0]` says why."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Recorder:
    """The recording of one session. Stamps each event with its own clock.

    A class and not a Protocol: it is called several times for each statement, and a compiled caller finds the method
    of a class without looking for its name."""

    __slots__ = ()

    @abstractmethod
    def input(
        self, number: int, text: str, parameters: Sequence[tuple[str, str, str]] = (), bind: bytes = b"",
        types: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """`bind` and `types` in place of parameters: as `model.Input` says."""

    @abstractmethod
    def asked(self, number: int, text: str, bind: bytes, types: Sequence[int]) -> None:
        """`input` of an operation that is judged at once: it is recorded together with what is decided of it."""

    @abstractmethod
    def decided(
        self, number: int, effect: str, action: str, rules: Sequence[str], code: str = "", message: str = ""
    ) -> None:
        """Also goes to the control plane's audit log, batched. Called by the gate only."""

    @abstractmethod
    def held(self, number: int, approval_id: str, digest: bytes, short_code: str, reviewers: str) -> None: ...

    @abstractmethod
    def hold_ended(
        self, number: int, approval_id: str, outcome: str, reason: str, approvers: Sequence[str] = ()
    ) -> None: ...

    @abstractmethod
    def output(self, number: int, data: bytes) -> None:
        """What the client was sent, masked, in the session's protocol; the caller keeps to the target's row limit."""

    @abstractmethod
    def completed(self, number: int, status: str, rows: int, rows_kept: int, size: int) -> None: ...

    @abstractmethod
    def answered(self, number: int, data: bytes, status: str, rows: int) -> None:
        """`output` and `completed` of an operation whose whole answer is `data`, with all of its rows."""

    @abstractmethod
    def closed(self, reason: str) -> None: ...

    @abstractmethod
    async def durable(self) -> None:
        """Returns when everything appended so far is on disk; awaited before a held operation runs."""


class Decisions(msgspec.Struct, frozen=True):
    """Some decisions of one session in order, packed: `entries` as link.proto's DecisionBatch says."""

    session_id: str
    first_operation: int
    last_operation: int
    count: int
    allowed: int
    held: int
    denied: int
    entries: bytes


class DecisionReports(Protocol):
    """Where batches of decisions go on their way to the control plane. Called from the recording thread."""

    def decisions(self, batch: Decisions) -> None:
        """Raises RecordingError when it cannot be kept."""

    def closed(self, session_id: str, reason: str, operations: int, recording_hash: bytes) -> None:
        """The session's recording has ended and is sealed; an empty hash: nothing could be sealed."""


class Reported(msgspec.Struct, frozen=True):
    """What the journal knows of a session of an earlier run."""

    decisions: int  # how many of it have been reported, from the first on
    closed: bool


class SalvageReports(DecisionReports, Protocol):
    """What is told of recordings that an earlier run of the agent left. Their order is that of the events."""

    def reported(self, session_id: str) -> Reported | None:
        """None: not even that it opened."""

    def opened_before(self, opened: Opened) -> None: ...

    def forget_reported(self, but: Collection[str]) -> None:
        """These alone are still in the spool."""
