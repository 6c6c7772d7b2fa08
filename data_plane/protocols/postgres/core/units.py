"""The unit of judgement, and the ordered queue of what the target must still answer.

A unit is one Query or one extended batch up to Sync or Flush. It lists its steps: one for every message that the
target answers, in order, with what the answer concerns. `Pipeline` holds the units that were sent and not yet
answered; every message of the target is attributed to the step at its head, and one that does not fit there is the
target's error.

After an error in the extended protocol the target discards everything up to the next Sync. `skip_to_sync` drops the
same steps; when that Sync is not sent yet, `skipping` says that whatever comes before it is not to be sent at all.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final, final

from data_plane.gate.interface import Parameter, Permit, Subject
from data_plane.protocols.postgres.core.names import Meaning, Name, Portal, Prepared
from data_plane.protocols.postgres.core.refusals import Refusal
from data_plane.protocols.postgres.core.states import Expected

_NOTHING: Final = Expected.NOTHING
Concern = Prepared | Portal | Meaning | Name | None
Step = tuple[Expected, Concern, str]  # where it begins, what it is about, and the name that the answer confirms


class Ending(enum.Enum):
    """What closes a unit."""

    QUERY = "it is one Query"
    SYNC = "Sync"
    FLUSH = "Flush, or a Query that came without Sync"


class Unit:
    """Built when the client has sent it, judged once, sent once, then answered step by step."""

    # how it is judged
    texts: Sequence[bytes] = ()  # of every statement that would run, complete
    parameters: Sequence[Parameter] = ()
    meanings: Sequence[Meaning] = ()  # of every statement that would run, in order
    operations = False  # False: nothing in it executes, so it needs no verdict
    subjects: Sequence[Subject] = ()
    gentle: Sequence[Subject] = ()  # in place of `subjects` if those are held only for what is prepared and not bound
    ground: object = None  # what it is judged on, see `Gate.ground`
    relied: Collection[Name] = ()
    defined: Collection[Name] = ()
    barrier = False  # nothing may be judged before it is answered
    alone = False  # it is judged only when everything before it is answered
    refusal: Refusal | None = None  # by the core itself
    plain = False  # of the fast lane (see `lane`)
    bind = b""  # of the fast lane: the Bind as it came, and the types of its parameters, for the recording
    types: Sequence[int] = ()

    # how it goes
    at = 0  # the step that is being answered
    number = 0  # of the operation; 0: it is none
    sequence = 0
    masks: tuple[str, ...] = ()
    place = 0  # of the statement of a Query that is being answered
    error = b""  # what the client gets for the target's error to a poison statement
    permit: Permit | None = None  # given by people
    failed = False
    status = ""  # of the last command: its tag, or the SQLSTATE of an error
    rows = 0
    kept = 0  # rows in the recording
    size = 0  # bytes that the client was sent
    recorded = 0  # bytes of them in the recording

    def __init__(self, raw: bytes, ending: Ending) -> None:
        self.raw = raw
        self.ending = ending
        self.steps: list[Step] = []

    @property
    def step(self) -> Step:
        """The one that is being answered."""
        return self.steps[self.at]

    @property
    def left(self) -> int:
        """How many steps are not answered."""
        return len(self.steps) - self.at

    @property
    def text(self) -> str:
        texts = self.texts
        return (texts[0] if len(texts) == 1 else b";\n".join(texts)).decode()

    @property
    def verbs(self) -> str:
        return ", ".join(dict.fromkeys(verb for subject in self.subjects for verb in subject.verbs))


@final
class PlainUnit(Unit):
    """Of the fast lane (see `lane`): one statement, alone. One that is answered is used again for the next execution of
    the same (see `Context.spare`)."""

    operations = True
    plain = True
    portal: Portal | None = None  # of an execution
    described = False  # the portal, by the client

    def __init__(self, raw: bytes, ending: Ending, meaning: Meaning) -> None:
        super().__init__(raw, ending)
        self.meaning = meaning
        self.meanings = (meaning,)
        self.told = ""  # `texts` as the recording is told of it

    def asks(self, text: bytes) -> None:
        self.texts, self.told = (text,), text.decode()

    def let_go(self) -> None:
        """Of what was asked for: nobody looks at it any more. The text of an execution is that of what was prepared."""
        self.raw = self.bind = b""
        self.masks = ()
        if self.portal is None:
            self.texts, self.told = (), ""


class Unheard(Unit):
    """Of our own: the client hears nothing of the answer, not even its error."""


class Pipeline:
    __slots__ = ("_barrier", "_behind", "_defined", "_sequence", "expected", "head", "settled", "skipping")

    def __init__(self) -> None:
        self.head: Unit | None = None  # the unit that is being answered
        self._behind: deque[Unit] = deque()  # in its order
        self._sequence = 0
        self._barrier = 0
        self._defined: dict[Name, int] = {}
        self.settled = 0  # the last unit that is answered in full
        self.expected = Expected.NOTHING
        self.skipping = False

    def __len__(self) -> int:
        return 0 if self.head is None else 1 + len(self._behind)

    def __iter__(self) -> Iterator[Unit]:
        return iter(() if self.head is None else (self.head, *self._behind))

    @property
    def busy(self) -> bool:
        """Whether something is unanswered, or the target skips up to the next Sync."""
        return self.head is not None or self.skipping

    def blocks_everything(self) -> bool:
        """Whether an unanswered unit may change what any text means."""
        return self._barrier > self.settled

    def blocks(self, unit: Unit) -> bool:
        """Whether an unanswered unit gives a new meaning to a name that this one uses."""
        if (head := self.head) is None:
            return False
        if unit.alone or (head.plain and any(name in head.defined for name in unit.relied)):
            return True
        defined = self._defined
        return bool(defined) and any(defined.get(name, 0) > self.settled for name in unit.relied)

    def sent(self, unit: Unit) -> None:
        self._sequence += 1
        unit.sequence = self._sequence
        if unit.barrier:
            self._barrier = self._sequence
        if not unit.plain:  # those of the fast lane are the head for as long as they are here: see `blocks`
            for name in unit.defined:
                self._defined[name] = self._sequence
        if self.head is None:
            self._begin(unit)
        else:
            self._behind.append(unit)

    def step_done(self, unit: Unit) -> Unit | None:
        """Goes to the next step of the head; returns it when it is now answered in full."""
        unit.at += 1
        if unit.left:
            self.expected = unit.step[0]
            return None
        self.settle(unit)
        return unit

    def skip_to_sync(self) -> list[Unit]:
        """After an error: drops what the target will not answer; returns the units that are over by it."""
        over: list[Unit] = []
        while (unit := self.head) is not None:
            unit.failed = True
            if unit.ending is Ending.SYNC and unit.left and unit.steps[-1][0] is Expected.READY:
                unit.at = len(unit.steps) - 1
                self.expected = Expected.READY
                return over
            self.settle(unit)
            over.append(unit)
        self.skipping = True
        return over

    def copy_begun(self, unit: Unit) -> None:
        """The target ignores the Sync that was sent along with an Execute that turned out to begin a COPY."""
        while unit.left and unit.steps[-1][0] is Expected.READY:
            unit.steps.pop()

    def settle(self, unit: Unit) -> None:
        """The head is answered in full."""
        self.settled = unit.sequence
        if self._behind:
            self._begin(self._behind.popleft())
        else:
            self.head, self.expected = None, _NOTHING
            if self._defined:
                self._defined.clear()

    def _begin(self, unit: Unit) -> None:
        """A unit without steps never gets here: what the target does not answer is not sent this way."""
        self.head = unit
        self.expected = unit.step[0]
