"""A row guard: what people approved for so many rows is undone when it touches more.

The rows are those of the target's own word, the tag of CommandComplete; what triggers and cascades touch besides is not
among them. Outside a transaction the statement runs between a BEGIN and a COMMIT of our own, and a ROLLBACK takes the
place of the COMMIT. Inside the client's transaction nothing is put around it: when it touches too much the transaction
is failed, as an error of the statement itself would fail it, so that nothing of it can be committed.

Nothing of the answer reaches the client before it is certain that the guard holds and what ran is committed: it is kept
back, within a bound, beyond which the statement is undone too. The client then gets what it would have got. What is not
one statement, counted and executed in full by one unit, is refused (`problem`), never run without its guard.

What is said of our own uses a name that the session does not, and never the unnamed statement, which is the client's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

from data_plane.gate.interface import Permit
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import encode_ready_for_query
from data_plane.protocols.postgres.core import refusals
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.names import Meaning
from data_plane.protocols.postgres.core.poison import poison
from data_plane.protocols.postgres.core.ports import Output
from data_plane.protocols.postgres.core.refusals import Refusal
from data_plane.protocols.postgres.core.relay import Relay
from data_plane.protocols.postgres.core.states import Expected
from data_plane.protocols.postgres.core.units import Ending, Pipeline, Unit
from data_plane.protocols.postgres.core.withheld import Withheld
from data_plane.protocols.postgres.framing import RemoteProtocolError, uint32_at
from data_plane.recording.interface import Recorder

_NAME: Final = "assentry_guard"
UNCERTAIN: Final = refusals.fatal("08006", "the session ended before it was certain that the row guard holds")
_ALL_ROWS: Final = bytes(4)  # the row limit of an Execute


class Stage(enum.Enum):
    BEGUN = "nothing is sent yet"
    OPENING = "a transaction is being opened"
    RUNNING = "the statement runs"
    COMMITTING = "what it did is within the guard"
    UNDOING = "what it did is being undone"
    OVER = "the client has its answer"


MOVES: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.BEGUN: frozenset({Stage.OPENING, Stage.RUNNING}),
    Stage.OPENING: frozenset({Stage.RUNNING}),
    Stage.RUNNING: frozenset({Stage.COMMITTING, Stage.UNDOING, Stage.OVER}),
    Stage.COMMITTING: frozenset({Stage.OVER}),
    Stage.UNDOING: frozenset({Stage.OVER}),
    Stage.OVER: frozenset(),
}


def problem(unit: Unit, context: Context) -> str:
    """Why this unit cannot be held to a row guard; empty: it can."""
    if context.unsynced:
        return "what was sent before it has not been ended with Sync: send Sync first"
    if unit.ending is Ending.FLUSH:
        return "it ends with Flush: send a simple query, or Sync in place of Flush"
    if len(unit.meanings) != 1:
        return "only one statement at a time can be counted"
    statement = unit.meanings[0].statement
    if statement is None or not statement.counted:
        return (
            "only an INSERT, UPDATE, DELETE or MERGE that is written out, without another change in it, can be counted"
        )
    return (
        "" if unit.ending is Ending.QUERY else _batch_problem(unit, returns=bool(statement.subject.facts["returning"]))
    )


def _batch_problem(unit: Unit, *, returns: bool) -> str:
    """A limit of rows only ends the rows that are returned: the statement itself runs to its end."""
    bound = [step[1] for step in unit.steps if step[0] is Expected.BIND]
    run = [step[1].portal for step in unit.steps if isinstance(step[1], Meaning)]
    if len(bound) != 1 or len(run) != 1 or bound[0] is not run[0]:
        return "it must be bound and executed once, in one batch"
    at = 0
    while returns and at < len(unit.raw):
        stop = at + 1 + uint32_at(unit.raw, at + 1)
        if unit.raw[at] == m.Execute and unit.raw[stop - 4 : stop] != _ALL_ROWS:
            return "what it returns must be fetched without a limit of rows"
        at = stop
    return ""


class Guard:
    """One guarded unit, from its permit to its answer. The client is not heard meanwhile."""

    def __init__(
        self, unit: Unit, permit: Permit, context: Context, pipeline: Pipeline, relay: Relay, recorder: Recorder,
        output: Output,
    ) -> None:  # fmt: skip
        self.unit = unit
        self.stage = Stage.BEGUN
        self._permit = permit
        self._context = context
        self._pipeline = pipeline
        self._relay = relay
        self._recorder = recorder
        self._output = output
        self._outside = context.status == m.IDLE
        self._own: Unit | None = None  # the last one that was sent of our own
        self._answer = Withheld(context.limits.withheld_bytes)
        self._rest = Withheld(context.limits.withheld_bytes)  # what came after: notices, the error of a COMMIT
        self._refusal: Refusal | None = None

    def begin(self) -> None:
        if self._outside:
            self._say(Stage.OPENING, "BEGIN")
        else:
            self._run()

    def advance(self) -> bool:
        """Everything is answered: goes on. True: it is over. Raises RemoteProtocolError, which undoes it too."""
        if self.stage is Stage.OPENING:
            self._opened()
        elif self.stage is Stage.RUNNING:
            self._ran()
        else:
            self._ended()
        return self.stage is Stage.OVER

    def left(self) -> Iterable[Unit]:
        """What is unanswered or uncertain when the session ends now."""
        return (self.unit, *(unit for unit in self._pipeline if unit is not self.unit))

    def _enter(self, stage: Stage) -> None:
        if stage not in MOVES[self.stage]:
            raise RemoteProtocolError(f"a guarded statement that is {self.stage.name} cannot become {stage.name}")
        self.stage = stage

    # -------------------------------------------------------------- the steps

    def _opened(self) -> None:
        if self._context.status != m.IN_TRANSACTION:
            raise RemoteProtocolError("it opens no transaction around a statement with a row guard")
        self._run()

    def _run(self) -> None:
        self._enter(Stage.RUNNING)
        self._relay.divert(self._answer.keep, self._answer.record)
        self._output.to_target(self._permit)
        self._pipeline.sent(self.unit)

    def _ran(self) -> None:
        unit = self.unit
        if (self._answer.overflowed or not unit.failed) and (refusal := self._objection()) is not None:
            self._refuse(refusal)
        if not self._outside and self._refusal is None:
            self._finish()
            return
        self._relay.divert(self._rest.keep, self._rest.record)
        if not unit.failed:
            self._say(Stage.COMMITTING, "COMMIT")
        elif self._outside:
            self._say(Stage.UNDOING, "ROLLBACK")
        else:
            self._fail_transaction()

    def _objection(self) -> Refusal | None:
        limits, most = self._context.limits, self._permit.most_rows or 0
        if self._answer.overflowed:
            return refusals.kept_too_much(limits.withheld_bytes)
        rows = self.unit.status.rpartition(" ")[2]
        if not rows.isdecimal() or not rows.isascii():
            return refusals.UNCOUNTED
        return refusals.beyond_guard(int(rows), most, inside=not self._outside) if int(rows) > most else None

    def _refuse(self, refusal: Refusal) -> None:
        unit = self.unit
        self._refusal = refusal
        self._answer.drop()
        unit.failed, unit.status = True, f"row guard: {refusal.message}"
        unit.rows = unit.kept = 0

    def _fail_transaction(self) -> None:
        self._enter(Stage.UNDOING)
        own = self._own = Unit(b"", Ending.SYNC)
        self._output.control_to_target(poison(own, self._refusal.encode() if self._refusal else b""))
        self._pipeline.sent(own)

    def _ended(self) -> None:
        status, own, unit = self._context.status, self._own, self.unit
        if own is None or status != (m.IDLE if self._outside else m.FAILED_TRANSACTION):
            raise RemoteProtocolError("it does not end the transaction around a statement with a row guard")
        if self.stage is Stage.COMMITTING and own.failed:
            unit.failed, unit.status = True, own.status
        elif self.stage is Stage.COMMITTING and own.status != "COMMIT":
            raise RemoteProtocolError("it does not commit a statement with a row guard, and gives no reason")
        self._finish()

    # -------------------------------------------------------------- the answer

    def _finish(self) -> None:
        """The error of a COMMIT comes where the server's own would: in a Query in place of CommandComplete."""
        unit = self.unit
        uncommitted = self.stage is Stage.COMMITTING and unit.failed
        told, recorded = self._answer.take(completed=not (uncommitted and unit.ending is Ending.QUERY))
        rest, _ = self._rest.take()
        if self._refusal is not None and self._outside:
            rest += self._refusal.encode()
        rest += encode_ready_for_query(self._context.status)
        self._relay.restore()
        self._enter(Stage.OVER)
        self._recorder.output(unit.number, recorded + rest)
        unit.size = len(told) + len(rest)
        self._output.to_client(told + rest)

    def _say(self, stage: Stage, text: str) -> None:
        self._enter(stage)
        name = self._name()
        raw = (
            m.encode_close(b"S", name)  # an earlier one that failed may have left it
            + m.encode_parse(name, text)
            + m.encode_bind("", name)
            + m.encode_execute("")
            + m.encode_close(b"S", name)
            + m.SYNC
        )
        own = self._own = Unit(raw, Ending.SYNC)
        own.steps.append((Expected.OWN, None, ""))
        own.masks = self.unit.masks
        self._output.control_to_target(raw)
        self._pipeline.sent(own)

    def _name(self) -> str:
        names, name = self._context.tables.statements, _NAME
        while name in names:
            name += "_"
        return name
