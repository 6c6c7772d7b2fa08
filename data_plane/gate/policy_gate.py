"""The gate of one session: answers from policy at once, or starts a hold.

Fast path: the decision is kept beside the subject until another snapshot is in force, so that a repeated statement
costs a comparison or a dictionary look-up and the record of the decision. The record comes before the answer
(invariant 8), and any exception on the way is a denial (STYLE, rule 5). Here, and in `held`, are the only makers of
permits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import msgspec

from data_plane.gate import identity
from data_plane.gate.held import HeldOperation
from data_plane.gate.interface import (
    Action,
    Allowed,
    Code,
    Decision,
    Denied,
    Effect,
    Held,
    Hold,
    HoldListener,
    Operation,
    Permit,
    Preview,
    Requester,
    SessionFacts,
    Subject,
    TargetFacts,
    Verdict,
)
from data_plane.gate.permit import SessionGate
from data_plane.gate.services import GateServices
from data_plane.gate.windows import Windows, WindowUse
from data_plane.identifiers import ApprovalId, SessionId
from data_plane.policy import chains, reach
from data_plane.policy.evaluate import SessionPolicy, combined
from data_plane.policy.in_force import InForce
from data_plane.policy.snapshot import Snapshot
from data_plane.recording.interface import Recorder

_MOST_KEPT: Final = 2048
_MOST_NAMED: Final = 5  # tables and functions in a hint
_TICKET_SECONDS: Final = 900.0
_GRAVITY: Final = (
    Action.SESSION,
    Action.CONNECT,
    Action.READ,
    Action.EXEC,
    Action.WRITE,
    Action.DDL,
    Action.ADMIN,
    Action.UNKNOWN,
)


@final
class _Ruling:
    """A decision with what is recorded of it and, unless it allows, the verdict ready to be given."""

    __slots__ = ("action", "code", "decision", "effect", "masks", "message", "rules", "verdict")

    def __init__(self, decision: Decision, action: Action, verdict: Denied | Held | None) -> None:
        self.decision = decision
        self.action = action.value
        self.effect = decision.effect.value
        self.rules = decision.rules
        self.masks = decision.masks
        self.message = decision.message
        self.code = verdict.code.value if isinstance(verdict, Denied) else ""
        self.verdict = verdict


@final
class PolicyGate(SessionGate):
    """`masks`: those that the session was opened with. `closed` is told its end."""

    def __init__(
        self,
        services: GateServices,
        facts: SessionFacts,
        recorder: Recorder,
        database: str,
        snapshot: Snapshot,
        policy: SessionPolicy,
        closed: Callable[[SessionId], object],
        granted: reach.Granted | None = None,
    ) -> None:
        """`granted`: what the session's account at the target was made with; None: it has none of its own."""
        self.services = services
        self.facts = facts
        self.recorder = recorder
        self._database = database
        self._snapshot = snapshot
        self._policy = policy
        self._closed = closed
        self._granted = granted
        self._masks = frozenset(policy.masks)
        self._objection = ""  # why this session may do nothing any more
        self._kept: dict[Subject, _Ruling] = {}
        self._last_subject: Subject | None = None  # most statements are like the one before
        self._last_ruling: _Ruling | None = None
        self._state: InForce = services.state
        self._lease = services.lease
        self._holds: set[HeldOperation | WindowUse] = set()
        self._running: dict[int, tuple[Permit, ApprovalId, int, Callable[[], Denied | None]]] = {}
        self.windows = Windows(self)

    # ------------------------------------------------------------ judging

    def ground(self) -> object:
        return self._state.current

    def judge(self, number: int, subjects: Sequence[Subject], raw: bytes) -> Verdict:
        try:
            if self._state.current is not self._snapshot:
                self._renew()
            if self._objection or not self._lease.valid:
                return self._refused(number, subjects)
            ruling = self._ruling(subjects[0]) if len(subjects) == 1 else self._batch(subjects)
            self.recorder.decided(number, ruling.effect, ruling.action, ruling.rules, ruling.code, ruling.message)
        except Exception as error:  # noqa: BLE001  # whatever went wrong, nothing is allowed by it
            return Denied(Code.ENDED, f"this could not be judged or recorded: {error}", hint="connect again")
        if ruling.verdict is None:
            return Allowed(Permit(raw, ruling.decision), ruling.masks)
        return ruling.verdict

    def decide(self, subjects: Sequence[Subject]) -> Decision:
        """What policy says now, without a record: a hold asks again before it lets something run."""
        if self._state.current is not self._snapshot:
            self._renew()
        return combined([self._more_masks(self._policy.decide(subject)) for subject in subjects])

    def standing(self) -> str:
        """Why this session may not be any more by the snapshot in force; empty: it may."""
        if self._state.current is not self._snapshot:
            self._renew()
        return self._objection

    def objection(self) -> Denied | None:
        """Why this session may do nothing at all at the moment."""
        if standing := self.standing():
            return Denied(Code.ENDED, standing, hint="connect again")
        if not self._lease.valid:
            return Denied(Code.UNAVAILABLE, "the control plane has been out of reach for too long", hint="try later")
        return None

    def _ruling(self, subject: Subject) -> _Ruling:
        ruling = self._last_ruling
        if ruling is None or subject is not self._last_subject:
            ruling = self._kept.get(subject) or self._rule(subject)
            self._last_subject, self._last_ruling = subject, ruling
        return ruling

    def _rule(self, subject: Subject) -> _Ruling:
        decision = self._more_masks(self._policy.decide(subject))
        ruling = _Ruling(decision, subject.action, _verdict(decision, (subject,)))
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[subject] = ruling
        return ruling

    def _batch(self, subjects: Sequence[Subject]) -> _Ruling:
        rulings = [self._kept.get(subject) or self._rule(subject) for subject in subjects]
        decision = combined([ruling.decision for ruling in rulings])
        action = max((subject.action for subject in subjects), key=_GRAVITY.index, default=Action.UNKNOWN)
        return _Ruling(decision, action, _verdict(decision, subjects))

    def _more_masks(self, decision: Decision) -> Decision:
        """Masks for the whole session that a snapshot brought after the session had opened."""
        added = set(self._policy.masks) - self._masks
        if not added or decision.effect is Effect.DENY:
            return decision
        return msgspec.structs.replace(decision, masks=tuple(sorted(added.union(decision.masks))))

    def _refused(self, number: int, subjects: Sequence[Subject]) -> Denied:
        denied = self.objection() or Denied(Code.UNAVAILABLE, "the control plane was out of reach", hint="try again")
        action = max((subject.action for subject in subjects), key=_GRAVITY.index, default=Action.UNKNOWN)
        self.recorder.decided(number, Effect.DENY.value, action.value, (), denied.code.value, denied.message)
        return denied

    def _renew(self) -> None:
        """Another snapshot is in force: who the requester is, what the target is and what policy says may differ."""
        self._renewed()
        self.windows.renewed()

    def _renewed(self) -> None:
        snapshot = self._state.current
        self._kept.clear()
        self._last_subject = self._last_ruling = None
        self._objection = "this agent has no policy"  # until all that follows has gone well
        if snapshot is not None:
            self._snapshot = snapshot
            self._objection = self._take_over(snapshot)

    def _take_over(self, snapshot: Snapshot) -> str:
        """Returns why the session may do nothing under this snapshot; empty: it may, and is judged by its policy."""
        objection = identity.objection(self.facts.requester.id, self.facts.credential_id, snapshot)
        target = snapshot.targets.get(self.facts.target.name)
        if objection or target is None:
            return objection or "the target was removed"
        now = snapshot.identities[self.facts.requester.id]
        facts = msgspec.structs.replace(
            self.facts,
            requester=Requester(now.id, now.name, now.kind, now.groups, now.owner_id),
            target=TargetFacts(target.name, target.spec.protocol, target.spec.environment, target.labels),
        )
        self._policy = SessionPolicy(snapshot.policies, facts, self._database)
        if self._policy.connect().effect is not Effect.ALLOW:
            return "policy no longer lets this session be"
        if self._granted is not None:
            actions = reach.actions(snapshot.policies, facts, self._database)
            if self._granted.lost(target.spec, actions):
                return "policy no longer allows all that this session's account at the target can do"
        return ""

    # ------------------------------------------------------------ holding

    def hold(
        self, operation: Operation, held: Held, raw: bytes, listener: HoldListener, preview: Preview | None = None
    ) -> Hold:
        window = self.windows.fitting(operation, held.decision)
        hold: HeldOperation | WindowUse
        if window is not None:
            hold = WindowUse(self, window, operation, held.decision, raw, listener)
        else:
            hold = HeldOperation(self, operation, held.decision, raw, listener, preview)
        self._holds.add(hold)
        hold.start()
        return hold

    def permit(
        self, raw: bytes, decision: Decision, approval: ApprovalId, changed: Callable[[], Denied | None],
        most_rows: int | None = None, use: int = 0,
    ) -> Permit:  # fmt: skip
        """For `held` and `windows` only: people approved it, the grant is verified and spent. `changed`: looks at
        everything once more. `use`: of a window."""
        permit = Permit(raw, decision, most_rows)
        self._running[id(permit)] = (permit, approval, use, changed)
        return permit

    def stands(self, permit: Permit) -> Denied | None:
        running = self._running.get(id(permit))
        if running is None:
            return Denied(Code.ENDED, self._objection or "the approval is over", hint="connect again")
        try:
            return running[3]()
        except Exception as error:  # noqa: BLE001  # whatever went wrong, nothing is allowed by it
            return Denied(Code.ENDED, f"this could not be judged again: {error}", hint="connect again")

    def ended(self, hold: HeldOperation | WindowUse) -> None:
        self._holds.discard(hold)

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def ticket_seconds(self, decision: Decision) -> float:
        """How long a client may come back: as long as its reviewers have."""
        chain = self._snapshot.chains.get(decision.chain)
        return chains.longest_seconds(chain) if chain else _TICKET_SECONDS

    def executed(self, permit: Permit, outcome: str, detail: str) -> None:
        running = self._running.pop(id(permit), None)
        if running is not None:
            self._finished(running[1], outcome, detail, running[2])

    def _finished(self, approval: ApprovalId, outcome: str, detail: str, use: int) -> None:
        self.services.approvals.finished(approval, outcome, detail, use)
        if use:
            self.windows.finished(approval)

    def close(self, reason: str) -> None:
        self._objection = self._objection or "the session is over"
        self._closed(self.facts.id)
        for hold in tuple(self._holds):
            hold.cancel(reason)
        running, self._running = self._running, {}
        for _, approval, use, _ in running.values():
            self._finished(approval, "outcome-unknown", reason, use)
        self.windows.close(reason)


def _verdict(decision: Decision, subjects: Sequence[Subject]) -> Denied | Held | None:
    if decision.effect is Effect.ALLOW:
        return None
    if decision.effect is Effect.HOLD:
        return Held(decision)
    if decision.rules:
        return Denied(Code.POLICY, decision.message or "policy refuses this", rules=decision.rules)
    puzzling = next((subject for subject in subjects if not subject.understood), None)
    if puzzling is not None or not subjects:
        problem = puzzling.problem if puzzling is not None else ""
        return Denied(Code.NOT_UNDERSTOOD, problem or "this is not understood", hint="write it in a simpler way")
    return Denied(Code.POLICY, decision.message, hint=_judged_as(subjects))


def _judged_as(subjects: Sequence[Subject]) -> str:
    """Where no rule has words of its own: what it was taken for, so that one sees which part of it to leave out."""
    verbs = dict.fromkeys(verb for subject in subjects for verb in subject.verbs)
    names = dict.fromkeys(one.candidates[0] for subject in subjects for one in subject.resources if one.candidates)
    shown = [name.removeprefix("?.") for name in names][:_MOST_NAMED]
    more = ", …" if len(names) > _MOST_NAMED else ""
    action = max((subject.action for subject in subjects), key=_GRAVITY.index)
    touched = f" on {', '.join(shown)}{more}" if shown else ""
    return f"It was judged as {action.value} ({', '.join(verbs) or 'no verb'}){touched}."
