"""What comes true when people have agreed: for an operation its signed grant, for a plan and for access their time."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from control_plane.approvals import repository, shown
from control_plane.approvals.domain import Event, Progress
from control_plane.approvals.domain.choice import agreed, bounded
from control_plane.approvals.grants import Granted, GrantIssuer
from control_plane.approvals.kinds import Kind
from control_plane.approvals.ports import GrantWindow
from control_plane.approvals.tables import ApprovalRow, GrantRow
from control_plane.approvals.transitions import move
from control_plane.approvals.windows import approver_ids
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork


class Agreement:
    def __init__(self, grants: GrantIssuer) -> None:
        self._grants = grants

    def reached(
        self,
        uow: UnitOfWork,
        row: ApprovalRow,
        by: Actor,
        counted: Progress,
        *,
        until_ms: int | None = None,
        told: Mapping[str, Json] | None = None,
    ) -> None:
        """The request, locked and not decided, is approved by those who count. `until_ms`: its grant ends then, if the
        chain does not end it sooner. `told` goes into the audit log."""
        came = self._granted(uow, row, counted, until_ms) if row.kind == Kind.OPERATION else _begun(uow, row)
        approvers = [vote.name for vote in counted.counted]
        move(uow, row, Event.SATISFIED, by, data={**came, **(told or {}), "approvers": approvers})

    def _granted(
        self, uow: UnitOfWork, row: ApprovalRow, counted: Progress, until_ms: int | None
    ) -> Mapping[str, Json]:
        at_ms = milliseconds(uow.now)
        within = repository.chain_of(row).execute_within_seconds
        if until_ms is not None:
            within = min(within, (until_ms - at_ms) / 1000)
        granted = msgspec.structs.replace(_of_operation(row), window=_window(row, counted, at_ms))
        issued = self._grants.issue(granted, counted.counted, at_ms, within)
        row.execute_by_ms = issued.execute_by_ms
        uow.session.add(
            GrantRow(
                approval_id=row.id,
                nonce=issued.nonce,
                payload=issued.signed.payload,
                signature=issued.signed.signature,
                key_id=issued.signed.key_id,
                issued_at_ms=at_ms,
                approver_ids=approver_ids(counted.counted),
            )
        )
        bound = {} if granted.most_rows is None else {"most_rows": granted.most_rows}
        return {"nonce": issued.nonce.hex(), **bound, **_begin_window(row, granted.window)}


def _window(row: ApprovalRow, counted: Progress, at_ms: int) -> GrantWindow | None:
    """What all who count have agreed to, as far as it is offered. None: this operation alone."""
    choice = agreed(counted.counted, at_ms)
    card = shown.decode(row.shown)
    if choice is None or card.window is None or card.operation is None:
        return None
    choice = bounded(choice, card.window, at_ms)
    return GrantWindow(bytes.fromhex(card.operation.shape), choice.until_ms, choice.uses)


def _begin_window(row: ApprovalRow, window: GrantWindow | None) -> dict[str, Json]:
    if window is None:
        return {}
    row.window_until_ms, row.window_uses = window.until_ms, window.uses
    return {"shape": window.shape.hex(), "window_until_ms": window.until_ms, "window_uses": window.uses}


def _begun(uow: UnitOfWork, row: ApprovalRow) -> Mapping[str, Json]:
    """Its time runs from now: a plan's by its chain, access as long as was shown."""
    access = shown.decode(row.shown).access
    seconds = access.seconds if access else repository.chain_of(row).execute_within_seconds
    row.execute_by_ms = milliseconds(uow.now) + int(seconds * 1000)
    return {"until_ms": row.execute_by_ms}


def _of_operation(row: ApprovalRow) -> Granted:
    """The row guard is the one that those who decided were shown."""
    guarded = shown.decode(row.shown).row_guard
    return Granted(
        approval_id=row.id,
        agent_instance=row.instance_id,
        session_id="" if row.ticket else row.session_id,
        credential_id=row.credential_id,
        requester_id=row.requester_id,
        target=row.target,
        policy_version=row.policy_version,
        digest=row.operation_digest,
        most_rows=guarded.most_rows if guarded else None,
    )
