"""Moves a locked request along the domain's table; the audit event, the news and the notice leave with it."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.approvals import stages
from control_plane.approvals.domain import UNDECIDED, Event, IllegalTransition, State, after
from control_plane.approvals.grouping import TOPIC, Regroup
from control_plane.approvals.kinds import Kind
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork

__all__ = ["TOPIC", "agent", "audited", "move"]

# What the audit log calls a state, where the state's own name would not say it.
_KINDS: Mapping[State, str] = {
    State.PENDING: "requested",
    State.EXECUTING: "grant-consumed",
    State.WINDOW: "window-opened",
}


def agent(instance_id: str) -> Actor:
    return Actor(instance_id, instance_id, "agent")


def move(
    uow: UnitOfWork,
    row: ApprovalRow,
    event: Event,
    actor: Actor,
    reason: str = "",
    data: Mapping[str, Json] | None = None,
) -> IllegalTransition | None:
    """None: it is done. An event that no longer fits changes and reports nothing."""
    before = State(row.state)
    then = after(before, event)
    if isinstance(then, IllegalTransition):
        return then
    row.state = then
    row.reason = reason or row.reason
    _stamp(uow, row, before, then)
    uow.session.add(row)
    if row.kind == Kind.ACCESS and State.APPROVED in {before, then}:
        uow.check_last(_tell_agents)
    told = {"state_before": before, "reason": reason, **(data or {})}
    uow.audit(audited(row, _KINDS.get(then, then.value), actor, told))
    uow.notify(TOPIC, row.id)
    _notice(uow, row, before, then, {"reason": reason, "by": actor.name, "by_kind": actor.kind})
    return None


def _notice(uow: UnitOfWork, row: ApprovalRow, before: State, then: State, data: Mapping[str, Json]) -> None:
    """Of several identical requests people are told of one, and of how many there are."""
    told_of = row.card_id == row.id
    if told_of:
        uow.notice(f"approval.{then}", row.id, {"before": before, **data})
    if before is State.PENDING or not told_of:
        uow.check_last(Regroup(row.card_id, moved=True))


async def _tell_agents(uow: UnitOfWork) -> None:
    """Somebody is in a group from now on, or no longer."""
    await uow.snapshot_changed()


def audited(row: ApprovalRow, what: str, actor: Actor, data: Mapping[str, Json]) -> AuditEvent:
    """Every event names what is asked by its digest, never by its text."""
    return AuditEvent(f"approval.{what}", actor, row.id, {**_identified(row), **data})


def _identified(row: ApprovalRow) -> dict[str, Json]:
    of_operation: dict[str, Json] = {"session_id": row.session_id, "operation_digest": row.operation_digest.hex()}
    return {
        "kind": row.kind,
        "short_code": row.short_code,
        **(of_operation if row.kind == Kind.OPERATION else {}),
        "target": row.target,
        "requester_id": row.requester_id,
        "credential_id": row.credential_id,
        "action": row.action,
        "policy": row.policy,
        "rule": row.rule,
        "shown_digest": row.shown_digest.hex(),
    }


def _stamp(uow: UnitOfWork, row: ApprovalRow, before: State, then: State) -> None:
    now = milliseconds(uow.now)
    if then is State.PENDING:
        stages.begin(row, now)
    if before in UNDECIDED and then not in UNDECIDED:
        row.decided_at_ms = now
    if before is State.EXECUTING or then in {State.EXECUTED, State.ENDED}:
        row.finished_at_ms = now
