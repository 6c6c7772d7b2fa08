"""Where a pending request is in its chain: which stage waits, until when, whom it asks besides, when it reminds.

All of it stands in the row, so a control plane that starts again goes on where another stopped. A stage has its time
from the moment at which it began to wait; no deadline is later than that of the whole chain.
"""

from __future__ import annotations

import msgspec

from control_plane.approvals import repository
from control_plane.approvals.domain import Chain
from control_plane.approvals.tables import ApprovalRow


def begin(row: ApprovalRow, at_ms: int) -> None:
    """It is pending from now on."""
    chain = repository.chain_of(row)
    if chain.remind_every_seconds:
        row.remind_at_ms = at_ms + _ms(chain.remind_every_seconds)
    _wait_for(row, chain, 0, at_ms)


def keep_step(row: ApprovalRow, stage: int, at_ms: int) -> bool:
    """Whether another stage waits than before: the next, or, when somebody no longer counts, one that had agreed."""
    if row.stage == stage:
        return False
    _wait_for(row, repository.chain_of(row), stage, at_ms)
    return True


def escalate(row: ApprovalRow, at_ms: int) -> bool:
    """Asks more people at the stage that waits, and gives it its further time. False: it has none to ask."""
    chain, escalated = repository.chain_of(row), repository.escalated_of(row)
    escalation = chain.stages[row.stage].escalation
    if escalation is None or row.stage in escalated:
        return False
    row.escalated = msgspec.json.encode(sorted(escalated | {row.stage})).decode()
    row.stage_by_ms = at_ms + _ms(escalation.timeout_seconds)
    _due(row)
    return True


def remind(row: ApprovalRow, at_ms: int) -> bool:
    """Whether it is time to remind, which is then over until the next time."""
    every = repository.chain_of(row).remind_every_seconds
    if not every or row.remind_at_ms is None or row.remind_at_ms > at_ms:
        return False
    row.remind_at_ms = at_ms + _ms(every)
    _due(row)
    return True


def stage_by_ms(row: ApprovalRow) -> int:
    return min(row.approve_by_ms, row.approve_by_ms if row.stage_by_ms is None else row.stage_by_ms)


def _wait_for(row: ApprovalRow, chain: Chain, stage: int, at_ms: int) -> None:
    """A stage that has asked more people before goes on asking them."""
    waiting = chain.stages[stage]
    again = waiting.escalation if stage in repository.escalated_of(row) else None
    row.stage = stage
    row.stage_by_ms = at_ms + _ms(again.timeout_seconds if again else waiting.timeout_seconds)
    _due(row)


def _due(row: ApprovalRow) -> None:
    row.due_at_ms = min(stage_by_ms(row), row.approve_by_ms if row.remind_at_ms is None else row.remind_at_ms)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
