"""One held operation, from the request to the permit.

Only a grant that people gave, verified here, spent on disk and recorded there, makes a permit; everything else, and
any exception, is a denial that says which of the ways it ended. After `cancel` nothing is called back, and a grant
that arrives then is void: an approval never runs a statement that nobody waits for any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

import msgspec
import structlog

from data_plane.gate.grants import Expected, Rejected, Verified, in_time, verify
from data_plane.gate.impact import looked_up
from data_plane.gate.interface import Allowed, Code, Decision, Denied, Effect, HoldListener, Operation, Pending, Preview
from data_plane.gate.ports import Answer, Answered, ApprovalRequest, SignedGrant
from data_plane.gate.tickets import Ticket
from data_plane.gate.windows import Window
from data_plane.recording.interface import RecordingError
from data_plane.runtime.tasks import spawn

if TYPE_CHECKING:
    from data_plane.gate.policy_gate import PolicyGate

log = structlog.get_logger(__name__)


class State(enum.Enum):
    ASKED = "waiting for people"
    CLAIMING = "a grant came; it is verified, spent and recorded"
    OVER = "decided or cancelled"


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.ASKED: frozenset({State.CLAIMING, State.OVER}),
    State.CLAIMING: frozenset({State.OVER}),
    State.OVER: frozenset(),
}

_NOT_UNTIL_MENDED: Final = (
    "Send it again only when that has changed. An approval chain or its group must be changed by an administrator."
)
_UNANSWERED: Final[Mapping[Answer, tuple[Code, str, str]]] = {
    Answer.DENIED: (Code.DENIED, "denied by a reviewer", ""),
    Answer.EXPIRED: (Code.EXPIRED, "nobody decided in time", "send it again to ask once more"),
    Answer.CANCELLED: (Code.WITHDRAWN, "the request was withdrawn", "send it again to ask once more"),
    Answer.REFUSED: (Code.UNAVAILABLE, "nobody could be asked", _NOT_UNTIL_MENDED),
    Answer.UNAVAILABLE: (Code.UNAVAILABLE, "nobody could be asked: the control plane is out of reach", "try later"),
}


@final
class HeldOperation:
    """Implements `interface.Hold`."""

    def __init__(
        self, gate: PolicyGate, operation: Operation, decision: Decision, raw: bytes, listener: HoldListener,
        preview: Preview | None = None,
    ) -> None:  # fmt: skip
        self._gate = gate
        self._operation = operation
        self._decision = decision
        self._raw = raw
        self._listener = listener
        self._preview = preview
        self._looking: asyncio.Task[None] | None = None  # the preview, while it is being made
        self._asking = True  # nobody has been asked yet
        self._services = gate.services
        self._state = State.ASKED
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ticket: Ticket | None = None
        self._issued = False  # the client has been told to come back with the ticket
        self._id = self._services.new_approval_id()
        self._digest = operation.digest
        self._policy_version = gate.snapshot.version
        self._spent = False
        self._short_code = ""
        self._window: Window | None = None  # that this operation is the first use of
        inside = operation.in_transaction
        self._wait = decision.wait_in_transaction_seconds if inside else decision.wait_seconds

    def start(self) -> None:
        objection = self._gate.objection() or self._mismatch()
        if objection is not None:
            self._loop.call_soon(self._decide, objection, objection.message)
            return
        self._timer = self._loop.call_later(self._wait, self._waited)
        if self._decision.ticket:
            spawn(self._with_ticket(), name=f"ticket {self._id}")
            return
        if self._preview is not None:
            self._looking = spawn(self._with_preview(), name=f"preview {self._id}")
        else:
            self._ask("")

    def cancel(self, reason: str) -> None:
        if self._state is State.OVER:
            return
        claimed = self._state is State.CLAIMING
        self._enter(State.OVER)
        if self._ticket is not None and self._issued:
            self._services.tickets.leave(self._ticket)
        elif not (claimed and self._spent):
            self._withdraw(reason)
        self._note_end("cancelled", reason)

    @property
    def _left(self) -> float:
        """How long the client goes on waiting."""
        return self._wait if self._timer is None else max(0.1, round(self._timer.when() - self._loop.time(), 1))

    # ------------------------------------------------------------ from the Approvals port or the ticket

    def pending(self, pending: Pending) -> None:
        self._loop.call_soon(self._pending, pending.within(self._left))

    def answered(self, answered: Answered) -> None:
        self._loop.call_soon(self._answered, answered)

    def _pending(self, pending: Pending) -> None:
        if self._state is not State.ASKED:
            return
        if self._short_code != pending.short_code and not self._recorded(pending):
            return
        self._short_code = pending.short_code
        self._listener.hold_pending(pending)

    def _recorded(self, pending: Pending) -> bool:
        """Once: that others are asked as the chain goes on is in the control plane's audit log."""
        number, asked = self._operation.number, pending.reviewers
        try:
            self._gate.recorder.held(number, self._id, self._digest, pending.short_code, asked)
        except RecordingError as error:
            self._withdraw("recording-failed")
            self._decide(Denied(Code.ENDED, str(error)), str(error))
            return False
        return True

    def _answered(self, answered: Answered) -> None:
        if self._state is not State.ASKED:
            return
        if answered.answer is Answer.APPROVED and answered.grant is not None:
            self._enter(State.CLAIMING)
            spawn(self._claim(answered.grant), name=f"claim {self._id}")
            return
        self._drop_ticket()
        code, message, hint = _UNANSWERED.get(answered.answer, _UNANSWERED[Answer.REFUSED])
        text = message if answered.reason in ("", message) else f"{message}: {answered.reason}"
        self._decide(Denied(code, text, hint=hint, rules=self._decision.rules), answered.reason)

    def _waited(self) -> None:
        """Nobody decided while the client waited."""
        if self._state is not State.ASKED:
            return
        if self._ticket is not None:
            self._services.tickets.leave(self._ticket)
            name = self._ticket.short_code or self._id
            message = f"still waiting for approval {name}: send the same statement again later"
            self._decide(Denied(Code.PENDING, message, rules=self._decision.rules, ticket=self._id), "wait-ended")
            return
        self._withdraw("wait-ended")
        code, message, hint = _UNANSWERED[Answer.EXPIRED]
        self._decide(Denied(code, message, hint=hint, rules=self._decision.rules), "wait-ended")

    # ------------------------------------------------------------ a grant

    async def _claim(self, grant: SignedGrant) -> None:
        verdict: Allowed | Denied
        approvers: tuple[str, ...] = ()
        try:
            verdict, approvers = await self._claimed(grant)
        except Exception as error:
            log.exception("a grant could not be claimed", approval=self._id)
            verdict = Denied(Code.UNAVAILABLE, f"the approval could not be recorded here: {type(error).__name__}")
        if self._spent or self._state is not State.OVER:
            self._drop_ticket()
        if self._state is State.OVER:
            self._void(verdict)
        elif isinstance(verdict, Allowed):
            self._enter(State.OVER)
            self._listener.hold_decided(verdict)
        else:
            self._void(verdict)
            self._decide(verdict, verdict.message, approvers)

    async def _claimed(self, grant: SignedGrant) -> tuple[Allowed | Denied, tuple[str, ...]]:
        """Verified, then spent, then on disk; and then everything is looked at once more."""
        verified = self._verified(grant)
        if isinstance(verified, Rejected):
            log.error("a grant was rejected", approval=self._id, reason=verified.reason)
            return Denied(Code.INVALID_GRANT, f"the approval is not valid here: {verified.reason}"), ()
        stale = self._stale()
        if stale is not None:
            return stale, verified.approvers
        use = 1 if verified.window is not None else 0
        if not await self._services.nonces.spend(verified.nonce, self._id, use):
            return Denied(Code.INVALID_GRANT, "the approval has been used before"), verified.approvers
        self._spent = True
        self._services.approvals.consumed(self._id, verified.nonce, use, self._digest if use else b"")
        if verified.window is not None:
            asked, held = (self._id, self._short_code), (self._decision, self._operation)
            on = (self._gate.snapshot, self._services.clock)
            self._window = Window(*asked, verified, verified.window, *held, *on)
            self._gate.windows.open(self._window)
        if self._state is State.CLAIMING:
            self._note_end("approved", "", verified.approvers)
            await self._gate.recorder.durable()
        return self._permitted(verified), verified.approvers

    def _permitted(self, verified: Verified) -> Allowed | Denied:
        """Nothing is awaited between this and the bytes going out, or `Gate.stands` is asked again."""

        def changed() -> Denied | None:
            return self._changed() or self._too_late(verified)

        stale = self._stale() or changed()
        if stale is not None:
            return stale
        masks = {*self._decision.masks, *self._gate.decide(self._operation.subjects).masks}
        permit = self._gate.permit(self._raw, self._decision, self._id, changed, verified.most_rows, self._use)
        return Allowed(permit, tuple(sorted(masks)))

    def _too_late(self, verified: Verified) -> Denied | None:
        if not in_time(verified, self._services.clock.now()):
            return Denied(Code.EXPIRED, "the approval came too late to be used")
        over = self._window.over(self._gate) if self._window else ""
        return Denied(Code.WITHDRAWN, f"the approval stands no more: {over}", hint="send it again") if over else None

    def _verified(self, grant: SignedGrant) -> Verified | Rejected:
        state, snapshot = self._services.state, self._services.state.current
        expected = Expected(
            deployment=state.deployment,
            agent_instance=self._ticket.kept.owner if self._ticket else self._services.agent_instance,
            session=self._gate.facts,
            approval_id=self._id,
            digest=self._digest,
            ticket=self._decision.ticket,
            oldest_policy_version=self._policy_version,
            newest_policy_version=state.version,
            guardable=self._operation.guardable,
            shape=self._operation.shape,
        )
        return verify(
            grant,
            expected,
            keys=state.keys,
            identities=snapshot.identities if snapshot is not None else {},
            decode=self._services.decode_grant,
            now=self._services.clock.now(),
        )

    def _stale(self) -> Denied | None:
        """Why what was approved may not run any more: nobody waits, the session may not, or policy changed."""
        if self._state is not State.CLAIMING:
            return Denied(Code.CANCELLED, "nobody waits for it any more")
        return self._changed()

    def _changed(self) -> Denied | None:
        objection = self._gate.objection()
        if objection is not None:
            return objection
        now = self._gate.decide(self._operation.subjects)
        if now.effect is Effect.DENY or (now.effect is Effect.HOLD and now.chain != self._decision.chain):
            return Denied(Code.WITHDRAWN, "policy changed while it waited", hint="send it again", rules=now.rules)
        return None

    # ------------------------------------------------------------ the end

    def _decide(self, verdict: Denied, reason: str, approvers: tuple[str, ...] = ()) -> None:
        if self._state is State.OVER:
            return
        self._enter(State.OVER)
        self._note_end(verdict.code.value, reason, approvers)
        self._listener.hold_decided(verdict)

    def _void(self, verdict: Allowed | Denied) -> None:
        """A grant that nothing will run with."""
        if isinstance(verdict, Allowed):
            self._gate.executed(verdict.permit, "failed", "not run: nobody waited any more")
        elif self._spent:
            self._services.approvals.finished(self._id, "failed", f"not run: {verdict.message}", self._use)
            if self._window is not None:
                self._window.ended = self._window.ended or verdict.message
                self._gate.windows.finished(self._id)
        elif self._state is not State.OVER:
            self._services.approvals.cancel(self._id, verdict.code.value)

    def _withdraw(self, reason: str) -> None:
        if self._asking:
            return  # nobody has been asked yet, and nobody will be
        self._drop_ticket()
        self._services.approvals.cancel(self._id, reason)

    def _note_end(self, outcome: str, reason: str, approvers: tuple[str, ...] = ()) -> None:
        """A denial stands even when it cannot be recorded; an approval does not, which `durable` finds."""
        with contextlib.suppress(RecordingError):
            self._gate.recorder.hold_ended(self._operation.number, self._id, outcome, reason, approvers)

    def _enter(self, state: State) -> None:
        if state not in MOVES[self._state]:
            raise RuntimeError(f"a held operation that is {self._state.name} cannot become {state.name}")
        self._state = state
        if self._timer is not None:
            self._timer.cancel()
        if state is State.OVER:
            if self._looking is not None:
                self._looking.cancel()
            self._gate.ended(self)

    # ------------------------------------------------------------ asking

    def _mismatch(self) -> Denied | None:
        """What is shown, what was judged and what would be sent must be one (invariant 2)."""
        operation, facts = self._operation, self._gate.facts
        if operation.parts[-1:] != (self._raw,) or (operation.session, operation.target) != (
            facts.id,
            facts.target.name,
        ):
            return Denied(Code.NOT_UNDERSTOOD, "what would be sent is not what people would see")
        now = self._gate.decide(operation.subjects)
        if (now.effect, now.chain) != (Effect.HOLD, self._decision.chain):
            return Denied(Code.POLICY, now.message or "policy changed meanwhile", hint="send it again", rules=now.rules)
        return None

    def _request(self, wait_seconds: float) -> ApprovalRequest:
        return ApprovalRequest(
            id=self._id,
            session=self._gate.facts,
            operation=self._operation,
            decision=self._decision,
            policy_version=self._policy_version,
            wait_seconds=wait_seconds,
        )

    async def _with_preview(self) -> None:
        impact = await looked_up(self._preview)
        if self._state is State.ASKED:
            self._ask(impact)

    def _ask(self, impact: str) -> None:
        self._asking = False
        request = msgspec.structs.replace(self._request(self._wait), impact=impact)
        self._services.approvals.request(request, self.pending, self.answered)

    async def _with_ticket(self) -> None:
        """Attaches to the ticket of the same operation, or opens one."""
        wait = self._gate.ticket_seconds(self._decision)
        try:
            ticket = await self._services.tickets.take(self._request(wait), self._digest, wait, self._preview)
        except Exception as error:
            log.exception("a ticket could not be kept", approval=self._id)
            message = f"the request could not be kept here: {str(error) or type(error).__name__}"
            self._decide(Denied(Code.UNAVAILABLE, message, hint="try later"), message)
            return
        if ticket is None:
            denied = Denied(Code.PENDING, "the same statement waits for approval in another session already")
            self._decide(denied, "waits elsewhere")
            return
        self._ticket, self._id, self._issued = ticket, ticket.kept.approval, ticket.kept.issued
        self._policy_version = ticket.kept.policy_version
        self._asking = False
        if self._state is State.ASKED:
            ticket.attach(self)
        elif self._issued:
            self._services.tickets.leave(ticket)
        else:
            self._withdraw("client-gone")

    @property
    def _use(self) -> int:
        return 0 if self._window is None else 1

    def _drop_ticket(self) -> None:
        if self._ticket is not None:
            self._services.tickets.remove(self._ticket)
