"""Approvals as agents and sessions know them: requested, cancelled, used, finished, and what was decided.

Every method works in its caller's unit of work: the report's number, its effect and the audit event are one
transaction, so a report that is sent again changes nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from control_plane.approvals import repository, windows, words
from control_plane.approvals.domain import OUTCOMES, UNDECIDED, Event, Outcome, State
from control_plane.approvals.grouping import join
from control_plane.approvals.planned import Planned
from control_plane.approvals.pressure import Pressure
from control_plane.approvals.reports import (
    Answer,
    CancelledReport,
    ConsumedReport,
    DecidedAnswer,
    FinishedReport,
    PendingAnswer,
    RequestedReport,
    SignedGrant,
)
from control_plane.approvals.requesting import Gatherer, is_well_formed, refusal, row, unused_code
from control_plane.approvals.tables import ApprovalRow
from control_plane.approvals.transitions import agent, audited, move
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import SYSTEM, AuditEvent, UnitOfWork

# The agent's own clock ended the wait: nobody decided, and nobody cancelled either.
WAIT_ENDED: Final = "wait-ended"

_FINISHED: Final[Mapping[str, Event]] = {
    "done": Event.SUCCEEDED,
    "failed": Event.FAILED,
    "outcome-unknown": Event.LOST,
}


in_force = repository.in_force  # for other features: no service is needed to look


class ApprovalService:
    def __init__(self, gatherer: Gatherer, planned: Planned, pressure: Pressure, public_url: str) -> None:
        self._gatherer = gatherer
        self._planned = planned
        self._pressure = pressure
        self._public_url = public_url.rstrip("/")

    async def requested(self, uow: UnitOfWork, instance_id: str, report: RequestedReport) -> Answer:
        """Asks people, or says why nobody can be asked. The same report again gets the same answer."""
        if not is_well_formed(report):
            uow.audit(AuditEvent("approval.malformed", agent(instance_id), report.approval_id[:64]))
            return DecidedAnswer(report.approval_id, Outcome.REFUSED, "the request is malformed")
        known = await repository.locked(uow.session, report.approval_id)
        if known is not None:
            return await self._again(uow, instance_id, known, report)
        case = await self._gatherer.case(uow, instance_id, report)
        request = row(case, await unused_code(uow))
        uow.session.add(request)
        await uow.session.flush()
        refused = await self._pressure.asked(uow, report.requester_id) or refusal(case)
        if not refused and await self._planned.granted(uow, request, report):
            return await self._answer(uow, request)
        refused = refused or await self._pressure.full(uow, report.requester_id)
        if not refused:
            await join(uow, request)
        move(uow, request, Event.REFUSED if refused else Event.ADMITTED, agent(instance_id), refused)
        return await self._answer(uow, request)

    async def _again(self, uow: UnitOfWork, instance_id: str, known: ApprovalRow, report: RequestedReport) -> Answer:
        same = hmac.compare_digest(known.operation_digest, report.operation.digest)
        if known.instance_id == instance_id and same:
            return await self._answer(uow, known)
        uow.audit(audited(known, "id-reused", agent(instance_id), {"digest": report.operation.digest.hex()}))
        return DecidedAnswer(report.approval_id, Outcome.REFUSED, "the id belongs to another request")

    async def cancelled(self, uow: UnitOfWork, instance_id: str, report: CancelledReport, agent_name: str = "") -> None:
        """The client gave up or went away. After a decision it only tells that the grant will not be used."""
        request = await self._of(uow, instance_id, report.approval_id, agent_name)
        if request is None:
            return
        ended = Event.TIMED_OUT if report.reason == WAIT_ENDED else Event.CANCELLED
        move(uow, request, ended, agent(instance_id), report.reason)

    async def grant_consumed(
        self, uow: UnitOfWork, instance_id: str, report: ConsumedReport, agent_name: str = ""
    ) -> None:
        """The agent has spent the nonce. Anything else than the first use of the right one is an alarm."""
        request = await self._of(uow, instance_id, report.approval_id, agent_name)
        if request is None:
            return
        grant = await repository.grant(uow.session, report.approval_id)
        by = agent(instance_id)
        if grant is None or not hmac.compare_digest(grant.nonce, report.nonce):
            uow.audit(audited(request, "nonce-mismatch", by, {"nonce": report.nonce.hex()}))
        elif report.use:
            await windows.used(uow, request, grant, report, by)
        elif grant.consumed_at_ms is not None or request.window_uses:
            uow.audit(audited(request, "nonce-reused", by, {"nonce": report.nonce.hex()}))
        else:
            grant.consumed_at_ms = milliseconds(uow.now)
            uow.session.add(grant)
            move(uow, request, Event.CONSUMED, by, data={"nonce": report.nonce.hex()})

    async def finished(self, uow: UnitOfWork, instance_id: str, report: FinishedReport, agent_name: str = "") -> None:
        request = await self._of(uow, instance_id, report.approval_id, agent_name)
        if request is None:
            return
        if report.use:
            await windows.finished(uow, request, report, agent(instance_id))
            return
        request.result = report.detail.replace("\0", "")
        event = _FINISHED.get(report.outcome, Event.LOST)
        move(uow, request, event, agent(instance_id), data={"outcome": report.outcome})

    async def session_ended(self, uow: UnitOfWork, session_id: str, reason: str) -> None:
        """Its pending requests and unused grants end; what was executing is unknown. Tickets live on."""
        for approval_id in await repository.unfinished_of_session(uow.session, session_id):
            request = await repository.locked(uow.session, approval_id)
            if request is None:
                continue
            why = f"the session ended: {reason}"
            if request.state == State.WINDOW:
                await windows.session_ended(uow, request, why, SYSTEM)
                continue
            lost = request.state == State.EXECUTING
            move(uow, request, Event.LOST if lost else Event.CANCELLED, SYSTEM, why)

    async def decision_for(self, uow: UnitOfWork, instance_id: str, approval_id: str) -> Answer | None:
        """What is to be told to this instance now. None: it has no such request."""
        request = await repository.one(uow.session, approval_id)
        if request is None or request.instance_id != instance_id:
            return None
        return await self._answer(uow, request)

    async def _of(self, uow: UnitOfWork, instance_id: str, approval_id: str, agent_name: str) -> ApprovalRow | None:
        """The locked request, when it is this instance's, or a ticket of the same agent: its client may come back to
        another worker. A report on anything else is an alarm."""
        request = await repository.locked(uow.session, approval_id)
        if request is not None and request.instance_id == instance_id:
            return request
        asked_by = await self._gatherer.asked_by(uow, request) if request is not None and request.ticket else ""
        if asked_by and asked_by == agent_name:
            return request
        uow.audit(AuditEvent("approval.unknown-reported", agent(instance_id), approval_id[:64]))
        return None

    async def _answer(self, uow: UnitOfWork, request: ApprovalRow) -> Answer:
        state = State(request.state)
        if state in UNDECIDED:
            asked = words.asked(repository.chain_of(request), request.stage, repository.escalated_of(request))
            left_ms = max(1, request.approve_by_ms - milliseconds(uow.now))
            return PendingAnswer(request.id, request.short_code, self.url(request.id), asked, left_ms)
        outcome = OUTCOMES[state]
        if outcome is not Outcome.APPROVED:
            return DecidedAnswer(request.id, outcome, request.reason)
        grant = await repository.grant(uow.session, request.id)
        signed = SignedGrant(grant.payload, grant.signature, grant.key_id) if grant else None
        return DecidedAnswer(request.id, outcome, request.reason, signed, windows.is_open(request))

    def url(self, approval_id: str) -> str:
        return f"{self._public_url}/approvals/{approval_id}"
