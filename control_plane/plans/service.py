"""Plans as requesters know them: submitted, and how far they are used.

Nothing here judges a statement. The agent judges every operation when it comes: what is denied stays denied, what is
allowed flows, and only what is held for the plan's own chain can take its approval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from control_plane.approvals import plan_rows
from control_plane.approvals.coverage import ends_trimmed, expected_state
from control_plane.approvals.errors import NotAskableError
from control_plane.approvals.petitions import Petition, PetitionService
from control_plane.approvals.ports import PlanRule
from control_plane.approvals.shown import Plan, Rule
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import FieldProblem, InvalidError
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.targets.service import Target, TargetService


class Submitted(msgspec.Struct, frozen=True):
    """`database` empty: the target's own. `session_state`: what is not as a session begins."""

    target: str
    statements: Sequence[str]
    reason: str
    ordered: bool = True
    database: str = ""
    session_state: Mapping[str, str] = {}


class Use(msgspec.Struct, frozen=True):
    """Of one statement: which operation took it, and what became of that."""

    approval_id: str
    at_ms: int
    state: str


class PlanService:
    def __init__(self, petitions: PetitionService, targets: TargetService) -> None:
        self._petitions = petitions
        self._targets = targets

    async def submit(self, uow: UnitOfWork, by: Principal, submitted: Submitted) -> ApprovalRow:
        """Raises a ProblemError; then nobody is asked."""
        target = await self._targets.target(uow, submitted.target)
        if target is None:
            raise NotAskableError(f"there is no target {submitted.target!r}")
        rule = await self._rule(uow, by, target)
        problems = [*_problems(submitted, rule), *_database_problems(submitted, target)]
        if problems:
            raise InvalidError("this plan could never be used as it is", problems)
        database = submitted.database or target.spec.database
        state = expected_state(target.spec.protocol, database, submitted.session_state)
        petition = Petition(
            rule=Rule(rule.policy, "plans", 0),
            target=target.name,
            chain=rule.chain,
            reason=submitted.reason,
            plan=Plan(tuple(submitted.statements), submitted.ordered, state),
        )
        return await self._petitions.ask(uow, by, petition)

    async def _rule(self, uow: UnitOfWork, by: Principal, target: Target) -> PlanRule:
        rules = await self._petitions.plan_rules(uow, by, target.name)
        if not rules:
            raise NotAskableError(f"no policy lets you submit plans for {target.name!r}: send each operation by itself")
        if len({rule.chain for rule in rules}) > 1:
            named = ", ".join(f"{rule.policy} ({rule.chain})" for rule in rules)
            raise NotAskableError(f"policies name different chains for plans on {target.name!r}: {named}")
        return min(rules, key=lambda rule: rule.most)

    async def uses(self, uow: UnitOfWork, plan_id: str) -> dict[int, Use]:
        """By the statement's number."""
        used = await plan_rows.used(uow.session, plan_id)
        states = await plan_rows.states(uow.session, [row.approval_id for row in used.values()])
        return {
            number: Use(row.approval_id, row.at_ms, states.get(row.approval_id, "")) for number, row in used.items()
        }


def _problems(submitted: Submitted, rule: PlanRule) -> list[FieldProblem]:
    found = []
    if len(submitted.statements) > rule.most:
        found.append(FieldProblem(path="$.operations", message=f"policy {rule.policy!r} takes {rule.most} at most"))
    for index, text in enumerate(submitted.statements):
        if not ends_trimmed(text) or "\0" in text:
            found.append(FieldProblem(path=f"$.operations[{index}]", message="this is no statement"))
    for name in submitted.session_state:
        if name in {"user", "database"}:
            message = "the account is the agent's own" if name == "user" else "say it in `database`"
            found.append(FieldProblem(path=f"$.session_state.{name}", message=message))
    return found


def _database_problems(submitted: Submitted, target: Target) -> list[FieldProblem]:
    fixed, told = target.spec.database, submitted.database
    if not fixed and not told:
        return [FieldProblem(path="$.database", message=f"target {target.name!r} leaves the database open: name it")]
    if fixed and told and fixed != told:
        return [FieldProblem(path="$.database", message=f"target {target.name!r} is for the database {fixed!r}")]
    return []
