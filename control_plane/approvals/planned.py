"""A held operation that people have approved beforehand, in a plan: it is granted at once, by their agreement.

Everything is asked again at this moment: the plan is approved and in time, what it stands on has not changed, the chain
is the one that the operation is held for, those who agreed may still agree to this very operation, and the statement
was not used. Whatever is not so, the operation waits for people like any other. A statement is used up by its grant,
whether the client then runs it or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from control_plane.approvals import plan_rows, repository, shown
from control_plane.approvals.agreement import Agreement
from control_plane.approvals.coverage import item_of
from control_plane.approvals.domain import Event, Progress, State, progress
from control_plane.approvals.petitions import of_a_plan
from control_plane.approvals.reports import RequestedReport
from control_plane.approvals.standing import Judged, Standing
from control_plane.approvals.tables import ApprovalRow, PlanUseRow, VoteRow
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import SYSTEM, Json, UnitOfWork

USED_UP = "everything in it has been used"


class Use(msgspec.Struct, frozen=True):
    number: int
    counted: Progress
    judged: Judged


class Planned:
    def __init__(self, standing: Standing, agreement: Agreement) -> None:
        self._standing = standing
        self._agreement = agreement

    async def granted(self, uow: UnitOfWork, row: ApprovalRow, report: RequestedReport) -> bool:
        """Whether a plan of the requester's covers it; then its grant is signed. `row` is new and nobody was asked."""
        for plan_id in await plan_rows.approved(uow.session, row.requester_id, row.target):
            plan = await repository.locked(uow.session, plan_id)
            if plan is None:
                continue
            use = await self._use(uow, plan, row, report)
            if isinstance(use, Use):
                await self._take(uow, plan, row, use)
                return True
            told = {"plan": plan.id, "plan_code": plan.short_code, "why": use}
            uow.audit(audited(row, "not-planned", SYSTEM, told))
        return False

    async def _use(self, uow: UnitOfWork, plan: ApprovalRow, row: ApprovalRow, report: RequestedReport) -> Use | str:
        if plan.state != State.APPROVED or (plan.execute_by_ms or 0) <= milliseconds(uow.now):
            return "the plan is over"
        chain = repository.chain_of(plan)
        if chain != of_a_plan(repository.chain_of(row)):
            return f"the plan was approved by the chain {chain.name!r}, and this is held for another"
        used = await plan_rows.used(uow.session, plan.id)
        number = item_of(_statements(plan), used, report.operation)
        if isinstance(number, str):
            return number
        judged = await self._standing.judged(uow, plan)
        if judged.fault:
            return judged.fault
        parties = repository.parties_of(row)
        votes = judged.request.votes
        counted = progress(chain, parties, votes, judged.people, repository.escalated_of(plan))
        if not counted.satisfied:
            return "those who approved the plan may not approve this operation"
        return Use(number, counted, judged)

    async def _take(self, uow: UnitOfWork, plan: ApprovalRow, row: ApprovalRow, use: Use) -> None:
        uow.session.add(PlanUseRow(plan_id=plan.id, number=use.number, approval_id=row.id, at_ms=milliseconds(uow.now)))
        await uow.session.flush()  # the database refuses a statement that is used twice
        row.escalated = plan.escalated
        uow.session.add_all(_copied(use.judged.votes, row))
        told: dict[str, Json] = {"plan": plan.id, "plan_code": plan.short_code, "number": use.number}
        self._agreement.reached(uow, row, SYSTEM, use.counted, until_ms=plan.execute_by_ms, told=told)
        uow.audit(audited(plan, "plan-used", SYSTEM, {"number": use.number, "operation": row.id}))
        uow.notify(TOPIC, plan.id)
        if len(await plan_rows.used(uow.session, plan.id)) == len(_statements(plan).statements):
            move(uow, plan, Event.ENDED, SYSTEM, USED_UP)


def _statements(plan: ApprovalRow) -> shown.Plan:
    contents = shown.decode(plan.shown).plan
    if contents is None:
        raise ValueError(f"request {plan.id} is no plan")
    return contents


def _copied(votes: Sequence[VoteRow], row: ApprovalRow) -> list[VoteRow]:
    """The plan's agreements are the operation's, with the digest of what was shown when they were given."""
    return [VoteRow(**{**vote.model_dump(), "approval_id": row.id}) for vote in votes]
