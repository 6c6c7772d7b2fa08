"""How a report becomes a request: what is looked up, why it may be refused, and the row that is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from control_plane.approvals import impact, repository, shown
from control_plane.approvals.codes import new_code
from control_plane.approvals.domain import Chain, Parties, Person, State, approve_by_ms, unanswerable
from control_plane.approvals.domain import asked as asked_of
from control_plane.approvals.impact import Guarded, Impact
from control_plane.approvals.kinds import Kind
from control_plane.approvals.ports import (
    CredentialFacts,
    People,
    Rulebook,
    SessionFacts,
    Sessions,
    Subject,
    TargetFacts,
)
from control_plane.approvals.reports import RequestedReport
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import UnitOfWork

_ID_FORM: Final = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_DIGEST_BYTES: Final = 32
_SHAPE_BYTES: Final = (0, 32)
_LONGEST_REASON: Final = 1050  # an agent sends 1,000 characters and how many are missing


class Case(msgspec.Struct, frozen=True):
    """Everything that bears on one report. None: not known here."""

    report: RequestedReport
    instance_id: str
    session: SessionFacts | None
    subject: Subject | None
    credential: CredentialFacts | None
    target: TargetFacts | None
    chain: Chain | None
    reviewers: Sequence[Person]
    fingerprint: str
    earlier: shown.Earlier
    requested_at_ms: int

    @property
    def parties(self) -> Parties:
        owners = self.subject.answerable if self.subject else frozenset[str]()
        more = self.credential.owner_ids if self.credential else ()
        environment, labels = (self.target.environment, self.target.labels) if self.target else ("", {})
        return Parties(self.report.requester_id, owners.union(more), environment, labels)

    @property
    def chain_or_empty(self) -> Chain:
        return self.chain or Chain(self.report.chain, (), 0)

    @property
    def impact(self) -> Impact | None:
        return impact.read(self.report.impact_json)

    @property
    def row_guard(self) -> Guarded | None:
        return impact.guarded(self.chain_or_empty.row_guard, self.impact)

    @property
    def approve_by_ms(self) -> int:
        """The client's wait is measured from now: the agent's clock may differ from ours."""
        wait_until = self.requested_at_ms + max(0, self.report.wait_until_ms - self.report.at_ms)
        if not self.chain_or_empty.stages:
            return wait_until
        return approve_by_ms(self.chain_or_empty, self.requested_at_ms, wait_until)


class Gatherer:
    def __init__(self, people: People, rulebook: Rulebook, sessions: Sessions) -> None:
        self._people = people
        self._rulebook = rulebook
        self._sessions = sessions

    async def asked_by(self, uow: UnitOfWork, request: ApprovalRow) -> str:
        """The name of the agent whose session it came from."""
        session = await self._sessions.session(uow, request.session_id)
        return session.agent_name if session is not None else ""

    async def case(self, uow: UnitOfWork, instance_id: str, report: RequestedReport) -> Case:
        asked = report.operation
        chain = await self._rulebook.chain(uow, report.chain)
        until_ms = milliseconds(uow.now) + int(chain.longest_seconds * 1000) if chain else 0
        subject = await self._people.subject(uow, report.requester_id)
        return Case(
            report=report,
            instance_id=instance_id,
            session=await self._sessions.session(uow, asked.session_id),
            subject=subject,
            credential=await self._people.credential(uow, report.credential_id),
            target=await self._rulebook.target(uow, asked.target),
            chain=chain,
            reviewers=await self._people.named_in(uow, asked_of(*chain.stages), until_ms) if chain else (),
            fingerprint=await self._rulebook.fingerprint(uow, subject, report.chain, asked.target),
            earlier=await repository.earlier(uow.session, report.requester_id, asked.target, shown.shape(asked)),
            requested_at_ms=milliseconds(uow.now),
        )


def is_well_formed(report: RequestedReport) -> bool:
    """An id that can be guessed, or a digest that is none, is not worth a row."""
    digests = len(report.operation.digest) == _DIGEST_BYTES and len(report.shape) in _SHAPE_BYTES
    return digests and _ID_FORM.fullmatch(report.approval_id) is not None


def refusal(case: Case) -> str:
    """Why this cannot become a request. Empty: people can be asked."""
    problem = _session_problem(case) or _requester_problem(case)
    if problem:
        return problem
    if case.target is None:
        return f"target {case.report.operation.target!r} is not known"
    if case.chain is None:
        return f"approval chain {case.report.chain!r} does not exist"
    return unanswerable(case.chain, case.parties, case.reviewers) or _guard_problem(case.chain, case)


def _guard_problem(chain: Chain, case: Case) -> str:
    guarded = case.row_guard
    if chain.row_guard is None or not chain.row_guard.required or guarded is None or guarded.most_rows is not None:
        return ""
    return f"approval chain {chain.name!r} demands a row guard, which nothing can be bound to here: {guarded.why}"


def _session_problem(case: Case) -> str:
    session, report = case.session, case.report
    if session is None or session.instance_id != case.instance_id:
        return "the session is not one of this agent's"
    if not session.open:
        return "the session is over"
    reported = (report.operation.target, report.requester_id, report.credential_id)
    if reported != (session.target, session.requester_id, session.credential_id):
        return "requester, credential or target are not those of the session"
    return ""


def _requester_problem(case: Case) -> str:
    if case.subject is None or not case.subject.enabled:
        return "the requester is not known or is disabled"
    if case.credential is None or not case.credential.valid:
        return "the requester's credential is revoked, expired or not known"
    return ""


async def unused_code(uow: UnitOfWork) -> str:
    code = new_code()
    while await repository.code_is_taken(uow.session, code):
        code = new_code()
    return code


def card(case: Case, short_code: str) -> shown.Shown:
    """What reviewers will see. What is not known is empty: such a request is refused, and shown as such."""
    report, subject, session = case.report, case.subject, case.session
    groups = subject.groups if subject else ()
    owner = shown.Owner(subject.owner_id, subject.owner_name) if subject and subject.owner_id else None
    target = case.target or TargetFacts(report.operation.target, report.operation.protocol, "", {})
    return shown.Shown(
        approval_id=report.approval_id,
        short_code=short_code,
        requester=shown.Requester(
            report.requester_id, subject.name if subject else "", subject.kind if subject else "", groups
        ),
        owner=owner,
        credential=shown.Credential(report.credential_id, case.credential.description if case.credential else ""),
        client=shown.Client(session.client_address if session else "", session.application_name if session else ""),
        target=shown.Target(target.name, target.protocol, target.environment, target.labels),
        operation=shown.operation(report),
        rule=shown.Rule(report.policy, report.rule, report.policy_version),
        chain=case.chain_or_empty,
        ticket=report.ticket,
        requested_at_ms=case.requested_at_ms,
        approve_by_ms=case.approve_by_ms,
        earlier=case.earlier,
        reason=said(report.reason),
        impact=case.impact,
        row_guard=case.row_guard,
        behalf=shown.behalf(case.credential.chain if case.credential else ()),
    )


def said(reason: str) -> str:
    """The client's own words, as long as they may be."""
    left_out = len(reason) - _LONGEST_REASON
    return f"{reason[:_LONGEST_REASON]} … and {left_out} more characters" if left_out > 0 else reason


def row(case: Case, short_code: str) -> ApprovalRow:
    report = case.report
    text = shown.encode(card(case, short_code))
    return ApprovalRow(
        id=report.approval_id,
        kind=Kind.OPERATION,
        card_id=report.approval_id,
        short_code=short_code,
        state=State.REQUESTED,
        instance_id=case.instance_id,
        session_id=report.operation.session_id,
        ticket=report.ticket,
        target=report.operation.target,
        environment=case.parties.environment,
        labels=msgspec.json.encode(case.parties.labels).decode(),
        requester_id=report.requester_id,
        owner_id=case.subject.owner_id if case.subject else None,
        barred=msgspec.json.encode(sorted(case.parties.owner_ids)).decode(),
        credential_id=report.credential_id,
        action=report.operation.action,
        policy=report.policy,
        rule=report.rule,
        policy_version=report.policy_version,
        chain=repository.chain_text(case.chain_or_empty),
        fingerprint=case.fingerprint,
        shape=shown.shape(report.operation),
        operation_digest=report.operation.digest,
        shown=text,
        shown_digest=shown.digest(text),
        requested_at_ms=case.requested_at_ms,
        approve_by_ms=case.approve_by_ms,
    )
