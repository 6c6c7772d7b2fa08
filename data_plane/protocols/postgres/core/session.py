"""One PostgreSQL session between a client and its target, after both have been authenticated. Sans-io.

What the client sends becomes units (`batch`), each gets a verdict (`judging`), what is allowed is sent in exchange for
its permit and waits in the `pipeline`, what is refused is replaced by a statement that fails (`refusals`), what is held
waits, with all behind it unjudged. What the target sends is attributed to its unit (`relay`, `outcomes`).

Without a permit the target gets, from here and from `copying`, only: Sync and Flush, batches of only Describe and
Close, poison statements, data of an allowed COPY, and Terminate; from `guarding` BEGIN, COMMIT and ROLLBACK.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from data_plane.gate.interface import Allowed, Denied, Gate, Held, Pending, Permit, SessionFacts, Verdict
from data_plane.identifiers import OperationId
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core import ending, refusals
from data_plane.protocols.postgres.core.accounts import Accounts
from data_plane.protocols.postgres.core.backlog import Backlog
from data_plane.protocols.postgres.core.batch import Batch
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.copying import Copies
from data_plane.protocols.postgres.core.guarding import UNCERTAIN, Guard, Stage, problem
from data_plane.protocols.postgres.core.judging import Judge, refusal_of
from data_plane.protocols.postgres.core.lane import plan_plain
from data_plane.protocols.postgres.core.loading import Loads
from data_plane.protocols.postgres.core.outcomes import Outcomes, PinBrokenError
from data_plane.protocols.postgres.core.planning import plan
from data_plane.protocols.postgres.core.poison import poison
from data_plane.protocols.postgres.core.ports import Limits, Output
from data_plane.protocols.postgres.core.previewing import question
from data_plane.protocols.postgres.core.refusals import Refusal, fatal
from data_plane.protocols.postgres.core.relay import Relay
from data_plane.protocols.postgres.core.settings import Settings
from data_plane.protocols.postgres.core.states import Phase, Treatment
from data_plane.protocols.postgres.core.units import Ending, Pipeline, Unit
from data_plane.protocols.postgres.core.widening import Widening
from data_plane.protocols.postgres.framing import FrameReader, RemoteProtocolError
from data_plane.protocols.postgres.interface import Classifier, Masking, Names
from data_plane.protocols.postgres.preview.question import Previews
from data_plane.recording.interface import Recorder, RecordingError

_READY: Final = Phase.READY  # members of an Enum cost a look-up by name each time
_ENDED: Final = Phase.ENDED
_Request: TypeAlias = tuple[Batch | None, bytes]  # a batch and what closes it, or None and a Query or FunctionCall


class SessionCore:
    """See `Output` for what it asks of its driver, and `HoldListener` for what the gate calls."""

    def __init__(
        self, *, facts: SessionFacts, gate: Gate, classifier: Classifier, names: Names, masking: Masking,
        recorder: Recorder, output: Output, limits: Limits, masks: tuple[str, ...], row_limit: int,
        parameters: Mapping[str, str], new_operation_id: Callable[[], OperationId], previews: Previews | None = None,
    ) -> None:  # fmt: skip
        self._previews, self._recorder = previews, recorder
        self._accounts, self._output = Accounts(gate, recorder), output
        self._to_target: Callable[[Permit], None] = output.to_target  # looked up once: every statement goes there
        self._context = Context(classifier, names, masking, masks, limits, Settings(parameters), gate.ground)
        self._judge = Judge(facts, gate, recorder, self._context, new_operation_id)
        self._pipeline = Pipeline()
        self._outcomes = Outcomes(self._context)
        self._relay = Relay(self._pipeline, self._outcomes, recorder, limits, row_limit, output.to_client)
        self._frames, self._batch = FrameReader(m.client_caps(limits.batch_bytes)), Batch()
        self._phase, self._actions = Phase.READY, _ACTIONS[Phase.READY]
        self._backlog: Backlog = Backlog(limits, output)
        self._request: _Request | None = None  # WAITING: to be planned again
        self._to_hold: tuple[Unit, Held] | None = None  # WAITING: to be held when everything before it is answered
        self._held: Unit | None = None
        self._pending: Pending | None = None
        self._guard: Guard | None = None
        self._copies = Copies(self._pipeline, self._outcomes, masking, self._judge, recorder, output)
        parts = (self._context, self._pipeline, self._accounts, self._judge, output)
        self._widening = Widening(*parts, self._allowed, self._refuse, self._enter, self._end)
        self._leaving, self._loads = False, Loads(self._context, self._pipeline, gate, output)

    @property
    def held(self) -> bool:
        return self._phase is Phase.HELD

    @property
    def idle(self) -> bool:
        begun = self._pipeline.busy or self._batch.size or self._frames.buffered
        return self._phase is _READY and not self._context.in_transaction and not begun

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._actions = _ACTIONS[phase]

    # -------------------------------------------------------------- the client

    def client_sent(self, data: bytes) -> None:
        try:
            if self._phase is _READY and self._batch.size == 0 and self._taken_plain(data):
                return
            for frame in self._frames.feed(data):
                self._actions[frame[0]](self, frame)
        except (RemoteProtocolError, RecordingError) as error:
            self._end(*ending.of_client(error))

    def client_closed(self) -> None:
        """It may have stopped writing only, so what it has asked for is still answered; a hold is over at once."""
        self._leaving = True
        self._backlog.clear()
        if not len(self._pipeline) or self._held is not None:
            self._end("client-closed", b"")

    def _refused(self, frame: bytes) -> None:
        raise RemoteProtocolError(f"message type 0x{frame[0]:02x} is not allowed here ({self._phase.value})")

    def _ignored(self, frame: bytes) -> None:
        """What the server would ignore; but data that may belong to a COPY that is about to begin waits."""
        if self._phase is Phase.READY and self._pipeline.blocks_everything():
            self._enter(Phase.WAITING)
            self._backlog.put_back(frame)  # it is the first of what waits

    def _close_batch(self, closing: bytes) -> None:
        batch, self._batch = self._batch, Batch()
        self._take(batch, closing)

    def _alone(self, frame: bytes) -> None:
        """A Query or FunctionCall. Messages before it that no Sync or Flush has closed are a batch of their own."""
        if self._batch.size:
            self._close_batch(m.FLUSH)
            if self._phase is not Phase.READY:
                self._backlog.put_back(frame)
                return
        self._take(None, frame)

    def _stream(self, frame: bytes) -> None:
        if self._copies.client_sent(frame):
            self._enter(self._widening.resting)

    # -------------------------------------------------------------- one unit

    def _take(self, batch: Batch | None, closing: bytes) -> None:
        pipeline = self._pipeline
        if pipeline.skipping:
            self._skip(closing)
            return
        if pipeline.blocks_everything() or len(pipeline) >= self._context.limits.in_flight:
            self._wait(batch, closing)
            return
        unit = plan(batch, closing, self._context)
        if pipeline.blocks(unit) or self._loads.needed(unit):
            self._wait(batch, closing)
        elif unit.operations:
            self._judged(unit, batch, closing, self._judge.judge(unit))
        else:
            self._control(unit)

    def _taken_plain(self, data: bytes) -> bool:
        """The fast lane (see `lane`). What is not simply allowed is planned in full then."""
        if self._pipeline.busy or self._frames.buffered or (unit := plan_plain(data, self._context)) is None:
            return False
        verdict = self._judge.judge_plain(unit)
        if type(verdict) is Allowed and verdict.permit.raw is data and (self._context.describes or not verdict.masks):
            unit.masks = verdict.masks
            self._to_target(verdict.permit)
            self._pipeline.sent(unit)
            return True
        *frames, closing = self._frames.feed(data)
        batch = Batch(frames) if frames else None
        planned = plan(batch, closing, self._context)
        self._judged(planned, batch, closing, self._judge.planned_after(planned, unit.number, verdict))
        return True

    def _judged(self, unit: Unit, batch: Batch | None, closing: bytes, verdict: Verdict | Refusal) -> None:
        if batch is not None and self._context.must_describe(verdict):
            number, unit = unit.number, plan(batch, closing, self._context)
            verdict = self._judge.judge_again(unit, number)
        self._ruled(unit, verdict)

    def _wait(self, batch: Batch | None, closing: bytes) -> None:
        self._request = (batch, closing)
        self._enter(Phase.WAITING)

    def _skip(self, closing: bytes) -> None:
        """The target discards everything up to Sync, so nothing else is sent."""
        if closing[0] == m.Sync:
            self._pipeline.skipping = False
            self._control(plan(Batch(), closing, self._context))

    def _control(self, unit: Unit) -> None:
        """Sync, Flush, or a batch in which nothing executes."""
        self._output.control_to_target(unit.raw)
        if unit.steps:
            self._pipeline.sent(unit)

    def _ruled(self, unit: Unit, verdict: Verdict | Refusal) -> None:
        if isinstance(verdict, Held) and (refusal := self._widening.hopeless(unit)) is not None:
            verdict = self._judge.refused(unit, refusal)
        if isinstance(verdict, Allowed):
            self._allowed(unit, verdict)
        elif isinstance(verdict, Held):
            self._to_hold = (unit, verdict)
            self._enter(Phase.WAITING)
            self._begin_hold(unit, verdict)
        else:
            self._refuse(unit, refusal_of(verdict))

    def _allowed(self, unit: Unit, verdict: Allowed) -> None:
        refusal = self._judge.unfit(unit, verdict)
        if refusal is None and self._widening.unseen:
            refusal = self._widening.mends(unit)
        if refusal is not None:
            self._refuse(unit, self._judge.refused(unit, refusal))
            return
        if verdict.permit.most_rows is not None:
            self._run_guarded(unit, verdict.permit)
            return
        self._outcomes.changes.sent(unit)
        self._to_target(verdict.permit)
        self._pipeline.sent(unit)

    def _run_guarded(self, unit: Unit, permit: Permit) -> None:
        if why := problem(unit, self._context):
            self._refuse(unit, self._judge.refused(unit, refusals.unguarded(why)))
            return
        self._guard = Guard(unit, permit, self._context, self._pipeline, self._relay, self._recorder, self._output)
        self._enter(Phase.GUARDED)
        self._guard.begin()

    def _refuse(self, unit: Unit, refusal: Refusal) -> None:
        """A statement that must fail takes the unit's place; its error will be ours."""
        self._output.control_to_target(poison(unit, refusal.encode()))
        self._pipeline.sent(unit)

    def _resume(self) -> None:
        """Goes on with what waits, as far as the answers that have come allow."""
        if self._phase is Phase.WAITING and not self._loads.waits:
            if self._to_hold is not None:
                self._begin_hold(*self._to_hold)
            elif self._request is not None:
                request, self._request = self._request, None
                self._enter(Phase.READY)
                self._take(*request)
            elif not self._pipeline.blocks_everything():
                self._enter(self._widening.resting)
        while self._backlog and (self._phase is Phase.READY or self._phase is Phase.COPYING):
            frame = self._backlog.take()
            self._actions[frame[0]](self, frame)

    # -------------------------------------------------------------- a hold

    def _begin_hold(self, unit: Unit, held: Held) -> None:
        """Only on a pipeline that is answered in full: the transaction and the settings are then certain."""
        if len(self._pipeline):
            return
        self._to_hold = None
        if self._pipeline.skipping or self._backlog.says_goodbye:
            self._enter(Phase.READY)
            self._recorder.completed(unit.number, "skipped", 0, 0, 0)
            if self._backlog.says_goodbye:
                self._end("client-closed", b"")
            else:
                self._skip(m.SYNC if unit.ending is Ending.SYNC else m.FLUSH)
            return
        self._held = unit
        self._enter(Phase.HELD)
        wanted = held.decision.preview
        preview = self._previews(question(unit, wanted, self._context)) if self._previews and wanted else None
        timeout = self._context.settings.statement_timeout
        self._output.hold(self._judge.operation(unit), held, unit.raw, timeout, preview)

    def hold_pending(self, pending: Pending) -> None:
        self._pending = pending.within(self._context.settings.statement_timeout)
        self.remind(refusals.holding_notice)

    def remind(self, notice: Callable[[Pending, str], bytes] = refusals.reminder) -> None:
        if self._held is not None and self._pending is not None and not self._relay.amid_message:
            self._output.to_client(notice(self._pending, self._held.verbs))

    def hold_decided(self, verdict: Allowed | Denied) -> None:
        if (unit := self._leave_hold("")) is not None:
            self._advance(partial(self._widening.decided, unit, verdict))

    def cancel_requested(self) -> bool:
        """True: something runs at the target, which should be told. False: a hold was cancelled, or nothing runs."""
        if self._loads.waits:
            self._advance(self._loads.cancelled)
            return False
        if (unit := self._leave_hold("client-cancelled")) is None:
            return not self._widening.cancel() and len(self._pipeline) > 0
        self._advance(partial(self._refuse, unit, refusals.CANCELLED))
        return False

    def hold_overdue(self) -> None:
        if (unit := self._leave_hold("statement-timeout")) is not None:
            self._advance(partial(self._refuse, unit, refusals.OVERDUE))

    def _leave_hold(self, cancelled: str) -> Unit | None:
        unit, self._held, self._pending = self._held, None, None
        if unit is not None:
            self._enter(Phase.READY)
            self._output.hold_ended(cancelled)
        return unit

    def account_changed(self, problem: str) -> None:
        if self._phase is not Phase.ENDED:
            self._advance(partial(self._widening.changed, problem))

    def told(self, number: int) -> None:
        self._advance(partial(self._loads.told, number))

    # -------------------------------------------------------------- the target

    def target_sent(self, data: bytes) -> None:
        if self._phase is _ENDED:
            return
        try:
            try:
                self._relay.target_sent(data)
                if self._guard is not None and not len(self._pipeline):
                    self._follow_guard(self._guard)
            finally:
                if self._guard is None:
                    self._accounts.answered(self._relay.over)
        except (RemoteProtocolError, PinBrokenError, RecordingError) as error:
            self._end(*ending.of_target(error))
        else:
            self._answered()

    def target_closed(self) -> None:
        self._end("target-closed", fatal("08006", "the target closed the connection"), target_is_there=False)

    def _answered(self) -> None:
        if self._outcomes.dying:
            self._end("target-closed", b"")
        elif self._leaving:
            if not len(self._pipeline):
                self._end("client-closed", b"")
        elif self._phase is not _READY or self._outcomes.copying_in:
            self._advance(self._follow_copy)

    def _advance(self, step: Callable[[], None]) -> None:
        try:
            step()
            self._resume()
        except (RemoteProtocolError, RecordingError) as error:
            self._end(*ending.of_client(error))

    def _follow_copy(self) -> None:
        batch = self._request[0] if self._request is not None else self._batch
        phase = self._copies.follow(waits=batch is None or batch.size > 0)
        if phase is Phase.COPYING:
            self._request = None
        if phase is not None:
            self._enter(self._widening.resting if phase is _READY else phase)
        if not len(self._pipeline) and self._guard is None:
            self._widening.follow()

    def _follow_guard(self, guard: Guard) -> None:
        if self._leaving and guard.stage is Stage.OPENING:  # nobody waits for it any more
            self._end("client-closed", b"")
        elif guard.advance():
            self._guard = None
            self._enter(Phase.WAITING)

    def terminate(self, reason: str, message: str) -> None:
        self._end(reason, fatal("57P01", message))

    def over(self) -> None:
        """The target is not heard any more. May be called more than once."""
        self._outcomes.changes.abandoned(self._pipeline)

    def _end(self, reason: str, last_words: bytes, *, target_is_there: bool = True) -> None:
        if self._phase is Phase.ENDED:
            return
        self._leave_hold("client-disconnected" if reason == "client-closed" else reason)
        self._enter(Phase.ENDED)
        self._backlog.clear()
        self._batch = Batch()
        if (last_words or self._guard) and (self._guard or not self._relay.amid_message):
            self._output.to_client(last_words or UNCERTAIN)
        with contextlib.suppress(RecordingError):  # what is recorded is valid up to here, and the session ends anyway
            left = self._guard.left() if self._guard else self._pipeline
            self._accounts.unanswered(self._widening.left(left), reason)
        self.over()
        if target_is_there:
            self._output.control_to_target(m.TERMINATE)
        self._output.end(reason)


_HANDLERS: Final[Mapping[Treatment, Callable[[SessionCore, bytes], None]]] = {
    Treatment.GATED: SessionCore._alone,  # noqa: SLF001  # its own methods, by what the table says
    Treatment.DENIED: SessionCore._alone,  # noqa: SLF001
    Treatment.COLLECTED: lambda core, frame: core._batch.add(frame, core._context.limits),  # noqa: SLF001
    Treatment.CLOSES_BATCH: SessionCore._close_batch,  # noqa: SLF001
    Treatment.STREAMED: SessionCore._stream,  # noqa: SLF001
    Treatment.IGNORED: SessionCore._ignored,  # noqa: SLF001
    Treatment.QUEUED: lambda core, frame: core._backlog.add(frame),  # noqa: SLF001
    Treatment.GOODBYE: lambda core, _: core._end("client-closed", b""),  # noqa: SLF001
    Treatment.REFUSED: SessionCore._refused,  # noqa: SLF001
}
_ACTIONS: Final = {phase: tuple(_HANDLERS[treatment] for treatment in phase.treatments) for phase in Phase}
