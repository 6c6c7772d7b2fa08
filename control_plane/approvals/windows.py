"""Windows: grants that are used more than once. What each use became, and how a window ends.

The agent enforces a window; here is what it reports of it. A use that does not fit (out of its order, beyond what was
granted, after its time) is an alarm in the audit log, and is kept all the same: what happened is not denied.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.approvals import repository
from control_plane.approvals.domain import Event, IllegalTransition, State, Vote
from control_plane.approvals.errors import ApprovalNotFoundError, ApprovalOverError
from control_plane.approvals.reports import ConsumedReport, FinishedReport
from control_plane.approvals.standing import Judged
from control_plane.approvals.tables import ApprovalRow, GrantRow, WindowUseRow
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork

USED_UP: Final = "all of its operations have run"
_OUTCOMES: Final = frozenset({"done", "failed"})
_UNKNOWN: Final = "outcome-unknown"
# An agent's report of a use in the last moment is still on its way.
_GRACE_MS: Final = 10_000


async def uses_of(session: AsyncSession, approval_id: str) -> Sequence[WindowUseRow]:
    """In their order."""
    statement = select(WindowUseRow).where(col(WindowUseRow.approval_id) == approval_id)
    return (await session.exec(statement.order_by(col(WindowUseRow.number)))).all()


def is_open(row: ApprovalRow) -> bool:
    """Whether it is granted for a window that may still be used."""
    return row.window_until_ms is not None and row.state in {State.APPROVED, State.WINDOW}


# ------------------------------------------------------------------ what the agent reports


async def used(uow: UnitOfWork, row: ApprovalRow, grant: GrantRow, report: ConsumedReport, by: Actor) -> None:
    """The request is locked and the nonce is that of its grant."""
    told: dict[str, Json] = {"use": report.use, "uses": row.window_uses, "digest": report.digest.hex()}
    if report.use != row.window_used + 1:
        uow.audit(audited(row, "use-mismatch", by, {**told, "expected": row.window_used + 1}))
        return
    wrong = _does_not_fit(row, report, milliseconds(uow.now))
    row.window_used = report.use
    uow.session.add_all([row, grant, _use(row, report, milliseconds(uow.now))])
    if report.use == 1:
        grant.consumed_at_ms = milliseconds(uow.now)
        move(uow, row, Event.USED, by, data={"nonce": report.nonce.hex(), "until_ms": row.window_until_ms})
    uow.audit(audited(row, "window-overused" if wrong else "window-used", by, {**told, "wrong": wrong}))
    uow.notify(TOPIC, row.id)


def _use(row: ApprovalRow, report: ConsumedReport, at_ms: int) -> WindowUseRow:
    digest = report.digest or row.operation_digest
    return WindowUseRow(approval_id=row.id, number=report.use, operation_digest=digest, consumed_at_ms=at_ms)


def _does_not_fit(row: ApprovalRow, report: ConsumedReport, now_ms: int) -> str:
    if row.window_until_ms is None:
        return "it was granted for one operation"
    if report.use > row.window_uses:
        return "there are more uses than were granted"
    if now_ms > row.window_until_ms + _GRACE_MS:
        return "its time is over"
    first = report.use == 1 and report.digest
    if first and not hmac.compare_digest(report.digest, row.operation_digest):
        return "the first use is not what was shown"
    return ""


async def finished(uow: UnitOfWork, row: ApprovalRow, report: FinishedReport, by: Actor) -> None:
    """What became of one use. It corrects an outcome that was unknown."""
    use = await uow.session.get(WindowUseRow, (row.id, report.use))
    if use is None or use.outcome in _OUTCOMES:
        uow.audit(audited(row, "use-mismatch", by, {"use": report.use, "outcome": report.outcome}))
        return
    _conclude(uow, use, report.outcome if report.outcome in _OUTCOMES else _UNKNOWN, report.detail)
    row.result = use.result
    uow.session.add(row)
    uow.audit(audited(row, "window-use-finished", by, {"use": use.number, "outcome": use.outcome}))
    uow.notify(TOPIC, row.id)
    if row.window_used >= row.window_uses:
        move(uow, row, Event.ENDED, by, USED_UP)


async def session_ended(uow: UnitOfWork, row: ApprovalRow, reason: str, by: Actor) -> None:
    """What the agent has not told of by then nobody can tell."""
    for use in await uses_of(uow.session, row.id):
        if not use.outcome:
            _conclude(uow, use, _UNKNOWN, "")
            uow.audit(audited(row, "window-use-finished", by, {"use": use.number, "outcome": use.outcome}))
    move(uow, row, Event.CANCELLED, by, reason)


def _conclude(uow: UnitOfWork, use: WindowUseRow, outcome: str, result: str) -> None:
    use.outcome, use.result, use.finished_at_ms = outcome, result.replace("\0", ""), milliseconds(uow.now)
    uow.session.add(use)


# ------------------------------------------------------------------ what it stands on


async def lost_approver(uow: UnitOfWork, row: ApprovalRow, judged: Judged) -> str:
    """Why it may not be used any more: everybody whom the grant names must still be one who could give it."""
    grant = await repository.grant(uow.session, row.id) if is_open(row) else None
    if grant is None:
        return ""
    named = msgspec.json.decode(grant.approver_ids, type=frozenset[str])
    counted = {vote.identity_id for vote in judged.request.progress(judged.people).counted}
    return "" if named <= counted else "somebody who approved it may no longer approve it"


def approver_ids(votes: Sequence[Vote]) -> str:
    return msgspec.json.encode(sorted({vote.identity_id for vote in votes})).decode()


# ------------------------------------------------------------------ what people do


async def end(uow: UnitOfWork, by: Principal, approval_id: str, reason: str) -> None:
    """A reviewer ends it early; the agent hears of it at once. Raises ApprovalNotFoundError, ApprovalOverError."""
    row = await repository.locked(uow.session, approval_id)
    if row is None:
        raise ApprovalNotFoundError(approval_id)
    if not is_open(row):
        raise ApprovalOverError("there is no window that is open")
    said: dict[str, Json] = {"sign_in": by.credential_id, "used": row.window_used}
    ended = f"ended by {by.name}" + (f": {reason.strip()}" if reason.strip() else "")
    if isinstance(move(uow, row, Event.ENDED, by.actor, ended, said), IllegalTransition):
        raise ApprovalOverError(f"it is {row.state}")
