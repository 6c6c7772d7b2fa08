"""Grants for more than one operation: what is left of them, and how each further operation is given its permit.

A window begins with the operation that people approved, which is its first use. From then on an operation of the same
session with the same shape, which touches the same and which policy holds by the same rules through the same chain,
takes the next use instead of asking people. Anything else is held as ever. Each use is spent on disk before its first
byte, in its order: what was spent is never given again, whatever happens in between, and with the session the window is
gone.

It ends when its time or its uses are over, when the control plane takes it back, and when what it stands on is not what
it was: the policies, its chain, the target, the people who approved it, the lease.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, final

import structlog

from data_plane.gate.grants import Approver, Verified, disqualified
from data_plane.gate.grants import Window as Granted
from data_plane.gate.interface import Allowed, Code, Decision, Denied, Effect, HoldListener, Operation
from data_plane.gate.meaning import touched
from data_plane.gate.ports import Clock
from data_plane.identifiers import ApprovalId
from data_plane.policy.snapshot import Snapshot
from data_plane.recording.interface import RecordingError
from data_plane.runtime.tasks import spawn

if TYPE_CHECKING:
    from data_plane.gate.policy_gate import PolicyGate

log = structlog.get_logger(__name__)

USED_UP: Final = "used-up"
TIME_OVER: Final = "time-over"
CHANGED: Final = "a policy, the approval chain or the target has changed"
_REVIEWERS: Final = "nobody: a window is open"


@final
class Window:
    """One of a session. `used` counts what is spent on disk; while `busy` one more is being spent or runs."""

    def __init__(
        self, approval: ApprovalId, short_code: str, verified: Verified, granted: Granted, decision: Decision,
        operation: Operation, snapshot: Snapshot, clock: Clock,
    ) -> None:  # fmt: skip
        """`operation`: the one that people approved."""
        self.approval = approval
        self.short_code = short_code
        self.verified = verified
        self.granted = granted
        self.decision = decision
        self.used = 1
        self.busy = True
        self.ended = ""  # why
        self._touched = touched(operation.subjects)
        self._snapshot = snapshot
        self._until = clock.monotonic() + granted.until_ms / 1000 - clock.now()

    @property
    def approvers(self) -> tuple[Approver, ...]:
        return self.verified.approvals

    def fits(self, operation: Operation, decision: Decision) -> bool:
        """Whether people have approved this operation with it, as far as that can be told from the two alone."""
        held = self.decision
        same = bool(operation.shape) and operation.shape == self.granted.shape
        by_the_same = (decision.rules, decision.chain, decision.ticket) == (held.rules, held.chain, held.ticket)
        if not same or not by_the_same or touched(operation.subjects) != self._touched:
            return False
        return self.verified.most_rows is None or operation.guardable

    def over(self, gate: PolicyGate) -> str:
        """Why it may not be used any more; empty: it may. No clock gets leave, and setting one back brings nothing."""
        clock = gate.services.clock
        if self.ended:
            return self.ended
        if clock.now() > self.granted.until_ms / 1000 or clock.monotonic() > self._until:
            return TIME_OVER
        snapshot = gate.snapshot
        if snapshot is self._snapshot:
            return ""
        target = gate.facts.target.name
        if _ground(snapshot, self.decision.chain, target) != _ground(self._snapshot, self.decision.chain, target):
            return CHANGED
        self._snapshot = snapshot
        return disqualified(self.approvers, gate.facts, snapshot.identities)


def _ground(snapshot: Snapshot, chain: str, target: str) -> object:
    """What a window stands on."""
    policies = [(policy.name, policy.spec) for policy in snapshot.policies]
    return (
        policies,
        snapshot.chains.get(chain),
        next((one for one in snapshot.targets.values() if one.name == target), None),
    )


@final
class Windows:
    """Those of one session."""

    def __init__(self, gate: PolicyGate) -> None:
        self._gate = gate
        self._open: dict[ApprovalId, Window] = {}

    def open(self, window: Window) -> None:
        """Its first use has been spent."""
        self._open[window.approval] = window
        self._gate.services.approvals.watch(window.approval, lambda reason: self._end(window, reason))

    def fitting(self, operation: Operation, decision: Decision) -> Window | None:
        """The one that lets this operation run. What turns out to be over is ended."""
        for window in tuple(self._open.values()):
            if window.busy or not window.fits(operation, decision):
                continue
            over = window.over(self._gate)
            if not over:
                return window
            self._end(window, over)
        return None

    def renewed(self) -> None:
        """Another snapshot is in force."""
        for window in tuple(self._open.values()):
            over = window.over(self._gate)
            if over:
                self._end(window, over)

    def finished(self, approval: ApprovalId) -> None:
        """A use is over: it ran, or nothing will run with it."""
        window = self._open.get(approval)
        if window is None:
            return
        window.busy = False
        if window.used >= window.granted.uses:
            window.ended = window.ended or USED_UP
        if window.ended:
            self._drop(window)

    def close(self, reason: str) -> None:
        for window in tuple(self._open.values()):
            self._end(window, reason)

    def _end(self, window: Window, reason: str) -> None:
        """What has its permit runs to its end and is reported first."""
        window.ended = window.ended or reason
        if not window.busy:
            self._drop(window)

    def _drop(self, window: Window) -> None:
        if self._open.pop(window.approval, None) is not None:
            self._gate.services.approvals.cancel(window.approval, window.ended)


@final
class WindowUse:
    """One further operation. Implements `interface.Hold`, for which nobody is asked."""

    def __init__(
        self, gate: PolicyGate, window: Window, operation: Operation, decision: Decision, raw: bytes,
        listener: HoldListener,
    ) -> None:  # fmt: skip
        self._gate = gate
        self._window = window
        self._operation = operation
        self._decision = decision
        self._raw = raw
        self._listener = listener
        self._waited_for = True
        self._spent = False
        window.busy = True
        self._use = window.used + 1

    def start(self) -> None:
        spawn(self._claim(), name=f"window {self._window.approval}")

    def cancel(self, reason: str) -> None:
        if self._waited_for:
            self._waited_for = False
            self._note_end("cancelled", reason)
            self._gate.ended(self)

    async def _claim(self) -> None:
        verdict: Allowed | Denied
        try:
            verdict = await self._claimed()
        except Exception as error:
            log.exception("a use of a window could not be claimed", approval=self._window.approval)
            self._window.ended = self._window.ended or "its use could not be written down"
            verdict = Denied(Code.UNAVAILABLE, f"the approval could not be recorded here: {type(error).__name__}")
        if isinstance(verdict, Denied):
            self._void(verdict)
        if self._waited_for:
            self._waited_for = False
            self._gate.ended(self)
            self._listener.hold_decided(verdict)

    async def _claimed(self) -> Allowed | Denied:
        """Spent, then on disk; and then everything is looked at once more."""
        window, services = self._window, self._gate.services
        objection = self._objection()
        if objection is not None:
            return objection
        if not await services.nonces.spend(window.verified.nonce, window.approval, self._use):
            window.ended = window.ended or "it has been used elsewhere"
            return Denied(
                Code.INVALID_GRANT, "the approval has been used before", hint="send it again to ask once more"
            )
        self._spent = True
        window.used = self._use
        services.approvals.consumed(window.approval, window.verified.nonce, self._use, self._operation.digest)
        if self._waited_for:
            self._note_approval()
            await self._gate.recorder.durable()
        return self._permitted()

    def _permitted(self) -> Allowed | Denied:
        """Nothing is awaited between this and the bytes going out, or `Gate.stands` is asked again."""
        objection = self._objection()
        if objection is not None:
            return objection
        masks = {*self._decision.masks, *self._gate.decide(self._operation.subjects).masks}
        most_rows = self._window.verified.most_rows
        permit = self._gate.permit(
            self._raw, self._decision, self._window.approval, self._changed, most_rows, self._use
        )
        return Allowed(permit, tuple(sorted(masks)))

    def _objection(self) -> Denied | None:
        if not self._waited_for:
            return Denied(Code.CANCELLED, "nobody waits for it any more")
        operation, facts = self._operation, self._gate.facts
        if operation.parts[-1:] != (self._raw,) or (operation.session, operation.target) != (
            facts.id,
            facts.target.name,
        ):
            return Denied(Code.NOT_UNDERSTOOD, "what would be sent is not what was described")
        return self._changed()

    def _changed(self) -> Denied | None:
        objection = self._gate.objection()
        if objection is not None:
            return objection
        over = self._window.over(self._gate)
        now = self._gate.decide(self._operation.subjects)
        if over or now.effect is not Effect.HOLD or not self._window.fits(self._operation, now):
            reason = over or CHANGED
            self._window.ended = self._window.ended or reason
            message = f"the window in which it could run has ended: {reason}"
            return Denied(Code.WITHDRAWN, message, hint="send it again to ask once more", rules=now.rules)
        return None

    def _void(self, verdict: Denied) -> None:
        """Nothing runs with this use."""
        window = self._window
        if self._waited_for:
            self._note_end(verdict.code.value, verdict.message)
        if self._spent:
            self._gate.services.approvals.finished(window.approval, "failed", f"not run: {verdict.message}", self._use)
        self._gate.windows.finished(window.approval)

    def _note_approval(self) -> None:
        window, number = self._window, self._operation.number
        uses = f"use {self._use} of {window.granted.uses} of a window"
        recorder = self._gate.recorder
        recorder.held(number, window.approval, self._operation.digest, window.short_code, _REVIEWERS)
        recorder.hold_ended(number, window.approval, "approved", uses, window.verified.approvers)

    def _note_end(self, outcome: str, reason: str) -> None:
        """A denial stands even when it cannot be recorded."""
        with contextlib.suppress(RecordingError):
            self._gate.recorder.hold_ended(self._operation.number, self._window.approval, outcome, reason)
