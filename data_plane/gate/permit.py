"""The gate of a session, the right to send bytes to its target, and the verdict that gives it.

Permits are made by `gate/` only (tests/architecture). A module of its own because it is compiled: all are needed for
every statement. See `interface`, which has the other verdicts and by whose name all are imported.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from data_plane.gate.interface import (
        Decision,
        Denied,
        Held,
        Hold,
        HoldListener,
        Operation,
        Preview,
        Subject,
        Verdict,
    )


@final
@mypyc_attr(free_list_len=1)  # one is made and dropped for every statement
class Permit:
    """The right to send exactly `raw` to the session's target, once."""

    __slots__ = ("decision", "most_rows", "raw")

    def __init__(self, raw: bytes, decision: Decision, most_rows: int | None = None) -> None:
        """`most_rows`: a row guard. The protocol undoes the operation when it touches more; None: there is none."""
        self.raw = raw
        self.decision = decision
        self.most_rows = most_rows


@final
@mypyc_attr(free_list_len=1)
class Allowed:
    """The verdict that lets an operation pass. `masks`: of the rule that allowed it."""

    __slots__ = ("masks", "permit")

    def __init__(self, permit: Permit, masks: tuple[str, ...] = ()) -> None:
        self.permit = permit
        self.masks = masks


@mypyc_attr(allow_interpreted_subclasses=True)
class Gate:
    """The gate of one session. A class and not a Protocol: see `recording.interface.Recorder`."""

    __slots__ = ()

    @abstractmethod
    def judge(self, number: int, subjects: Sequence[Subject], raw: bytes) -> Verdict:
        """Decides a whole batch: deny over hold over allow. Audits before it returns. Never raises.

        `number` counts the session's operations from 1; its Input has been recorded already.
        """

    @abstractmethod
    def decide(self, subjects: Sequence[Subject]) -> Decision:
        """What policy says now, without a record: nothing runs for it."""

    @abstractmethod
    def ground(self) -> object:
        """What judgements stand on: as long as this is the same object, what was judged would be judged alike."""

    @abstractmethod
    def hold(
        self, operation: Operation, held: Held, raw: bytes, listener: HoldListener, preview: Preview | None = None
    ) -> Hold:
        """Asks people, once the preview is there. `raw` is what the permit will carry."""

    @abstractmethod
    def stands(self, permit: Permit) -> Denied | None:
        """Why what people approved may not run any more; None: it may. For a protocol that could not send it at once:
        nothing is awaited between this and the bytes going out. Never raises."""

    @abstractmethod
    def executed(self, permit: Permit, outcome: str, detail: str) -> None:
        """What became of a permit that people gave: done, failed or outcome-unknown."""


@mypyc_attr(allow_interpreted_subclasses=True)
class SessionGate(Gate):
    """With what belongs to whoever opened the session."""

    __slots__ = ()

    @abstractmethod
    def close(self, reason: str) -> None:
        """The session is over: cancels what is held; approved work that never finished is `outcome-unknown`."""
