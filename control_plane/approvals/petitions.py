"""What a person or a machine asks for beforehand, a plan or access, becomes a request like that of a held operation.

Nobody waits at an agent: it is decided within the chain's own time. What cannot be asked is refused at once, to the
one who asks, and leaves no request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from control_plane.approvals import repository, shown
from control_plane.approvals.domain import Chain, Event, IllegalTransition, Parties, State, asked, unanswerable
from control_plane.approvals.errors import ApprovalNotFoundError, ApprovalOverError, NotAskableError, NotYoursError
from control_plane.approvals.kinds import Kind
from control_plane.approvals.ports import CredentialFacts, People, PlanRule, Rulebook, Subject, TargetFacts
from control_plane.approvals.pressure import Pressure
from control_plane.approvals.requesting import unused_code
from control_plane.approvals.seeing import is_theirs
from control_plane.approvals.tables import ApprovalRow
from control_plane.approvals.transitions import move
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.ids import new_id
from control_plane.kit.unit_of_work import UnitOfWork


class Petition(msgspec.Struct, frozen=True, kw_only=True):
    """`rule` is the policy that lets a plan be asked, or the offer of access."""

    rule: shown.Rule
    target: str
    chain: str
    reason: str
    plan: shown.Plan | None = None
    access: shown.Access | None = None

    @property
    def kind(self) -> Kind:
        return Kind.PLAN if self.plan else Kind.ACCESS

    @property
    def shape(self) -> str:
        """Equal for what is asked under the same rule."""
        return hashlib.sha256(msgspec.json.encode([self.kind, self.rule.policy, self.rule.rule])).hexdigest()


class _Case(msgspec.Struct, frozen=True):
    """Everything that bears on one petition."""

    petition: Petition
    subject: Subject
    credential: CredentialFacts
    credential_id: str
    target: TargetFacts
    chain: Chain
    fingerprint: str
    earlier: shown.Earlier
    at_ms: int

    @property
    def parties(self) -> Parties:
        owners = self.subject.answerable.union(one for one in self.credential.owner_ids if one)
        return Parties(self.subject.id, owners, self.target.environment, dict(self.target.labels))

    @property
    def approve_by_ms(self) -> int:
        return self.at_ms + int(self.chain.longest_seconds * 1000)


class PetitionService:
    def __init__(self, people: People, rulebook: Rulebook, pressure: Pressure) -> None:
        self._people = people
        self._rulebook = rulebook
        self._pressure = pressure

    async def ask(self, uow: UnitOfWork, by: Principal, petition: Petition) -> ApprovalRow:
        """Raises NotAskableError, LockedError or TooManyWaitError."""
        await self._pressure.admit(uow, by)
        case = await self._case(uow, by, petition)
        reviewers = await self._people.named_in(uow, asked(*case.chain.stages), case.approve_by_ms)
        nobody = unanswerable(case.chain, case.parties, reviewers)
        if nobody:
            raise NotAskableError(nobody)
        row = _row(case, await unused_code(uow))
        uow.session.add(row)
        await uow.session.flush()
        move(uow, row, Event.ADMITTED, by.actor, data={"sign_in": by.credential_id})
        return row

    async def end(self, uow: UnitOfWork, by: Principal, approval_id: str, reason: str) -> None:
        """What was approved ends before its time. Raises a ProblemError."""
        row = await repository.locked(uow.session, approval_id)
        if row is None:
            raise ApprovalNotFoundError(approval_id)
        decides = by.kind == "person" and (by.may(Permission.REVIEW) or by.may(Permission.ADMIN))
        if not (decides or is_theirs(by, row)):
            raise NotYoursError("the requester, the requester's owner, reviewers and admins end this")
        said = f"ended by {by.name}" + (f": {reason}" if reason else "")
        refused = move(uow, row, Event.ENDED, by.actor, said, {"sign_in": by.credential_id})
        if isinstance(refused, IllegalTransition):
            raise ApprovalOverError(f"it is {refused.state.value}: there is nothing to end")

    async def plan_rules(self, uow: UnitOfWork, by: Principal, target: str) -> Sequence[PlanRule]:
        """What lets this requester ask for plans on this target."""
        subject = await self._people.subject(uow, by.identity)
        return [] if subject is None else await self._rulebook.plan_rules(uow, subject, target)

    async def _case(self, uow: UnitOfWork, by: Principal, petition: Petition) -> _Case:
        subject = await self._people.subject(uow, by.identity)
        chain = await self._rulebook.chain(uow, petition.chain)
        target = await self._rulebook.target(uow, petition.target)
        if subject is None or not subject.enabled:
            raise NotAskableError("the requester is disabled or gone")
        if chain is not None and petition.kind is Kind.PLAN:
            chain = of_a_plan(chain)
        if chain is None or target is None:
            missing = f"target {petition.target!r}" if target is None else f"approval chain {petition.chain!r}"
            raise NotAskableError(f"there is no {missing}")
        return _Case(
            petition=petition,
            subject=subject,
            credential=await self._people.sign_in(uow, by.credential_id),
            credential_id=by.credential_id,
            target=target,
            chain=chain,
            fingerprint=await fingerprint(uow, self._rulebook, petition, subject),
            earlier=await repository.earlier(uow.session, subject.id, target.name, petition.shape),
            at_ms=milliseconds(uow.now),
        )


def of_a_plan(chain: Chain) -> Chain:
    """Glass is broken for the one operation that is held, never for all that somebody may send later."""
    return msgspec.structs.replace(chain, break_glass=False)


async def fingerprint(uow: UnitOfWork, rulebook: Rulebook, petition: Petition, subject: Subject) -> str:
    if petition.kind is Kind.ACCESS:
        return await rulebook.offer_fingerprint(uow, petition.rule.rule, petition.chain, petition.target)
    return await rulebook.fingerprint(uow, subject, petition.chain, petition.target)


def _card(case: _Case, approval_id: str, short_code: str) -> shown.Shown:
    subject, target, petition = case.subject, case.target, case.petition
    return shown.Shown(
        approval_id=approval_id,
        short_code=short_code,
        requester=shown.Requester(subject.id, subject.name, subject.kind, subject.groups),
        owner=shown.Owner(subject.owner_id, subject.owner_name) if subject.owner_id else None,
        credential=shown.Credential(case.credential_id, case.credential.description),
        client=shown.Client("", ""),
        target=shown.Target(target.name, target.protocol, target.environment, target.labels),
        operation=None,
        rule=petition.rule,
        chain=case.chain,
        ticket=False,
        requested_at_ms=case.at_ms,
        approve_by_ms=case.approve_by_ms,
        earlier=case.earlier,
        kind=petition.kind,
        plan=petition.plan,
        access=petition.access,
        reason=petition.reason,
        behalf=shown.behalf(case.credential.chain),
    )


def _row(case: _Case, short_code: str) -> ApprovalRow:
    approval_id = new_id("apr")
    text = shown.encode(_card(case, approval_id, short_code))
    petition = case.petition
    return ApprovalRow(
        id=approval_id,
        kind=petition.kind,
        card_id=approval_id,
        short_code=short_code,
        state=State.REQUESTED,
        instance_id="",
        session_id="",
        ticket=False,
        target=petition.target,
        environment=case.target.environment,
        labels=msgspec.json.encode(case.target.labels, order="sorted").decode(),
        requester_id=case.subject.id,
        owner_id=case.subject.owner_id,
        barred=msgspec.json.encode(sorted(case.parties.owner_ids)).decode(),
        credential_id=case.credential_id,
        action=petition.kind,
        policy=petition.rule.policy,
        rule=petition.rule.rule,
        policy_version=petition.rule.policy_version,
        chain=repository.chain_text(case.chain),
        fingerprint=case.fingerprint,
        shape=petition.shape,
        operation_digest=b"",
        shown=text,
        shown_digest=shown.digest(text),
        requested_at_ms=case.at_ms,
        approve_by_ms=case.approve_by_ms,
    )
