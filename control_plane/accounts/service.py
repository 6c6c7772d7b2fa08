"""Accounts as agents report them and as people list them.

Every reporting method works in its caller's unit of work, beside the number of the report. The workers of one agent
report each by themselves: that an account is gone may be heard before that it was to be made, when the process that
made it died in between.
"""

from __future__ import annotations

from typing import Final

from control_plane.accounts import repository
from control_plane.accounts.domain import STUCK, State, then
from control_plane.accounts.reports import EndedReport, LeasedReport
from control_plane.accounts.repository import Filter
from control_plane.accounts.tables import AccountRow
from control_plane.kit.pagination import Paging, newest_key
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.sessions.reports import Reporter

TOPIC: Final = "account"  # made, gone or stuck; the key is its id
STUCK_NOTICE: Final = "account.stuck"
_LONGEST_ID: Final = 64
_LONGEST_PRINCIPAL: Final = 255


class AccountService:
    async def leased(self, uow: UnitOfWork, reporter: Reporter, report: LeasedReport) -> None:
        row = await repository.kept(uow.session, _row(reporter, report))
        if not self._of(uow, reporter, row):
            return
        row.session_id, row.provider = report.session_id, report.provider
        row.leased_at_ms, row.expires_at_ms = report.at_ms, report.expires_at_ms
        row.principal = row.principal or _shortened(report.principal)
        uow.session.add(row)
        uow.audit(_audited(row, "leased", reporter, {"expires_at_ms": row.expires_at_ms}))
        uow.notify(TOPIC, row.id)

    async def ended(self, uow: UnitOfWork, reporter: Reporter, report: EndedReport) -> None:
        row = await repository.kept(uow.session, _row(reporter, report))
        if not self._of(uow, reporter, row):
            return
        before = State(row.state)
        row.state = then(before, report.outcome)
        row.detail, row.changed_at_ms = _clean(report.detail), report.at_ms
        row.principal = _shortened(report.principal) or row.principal
        uow.session.add(row)
        stuck = row.state in STUCK
        told: dict[str, Json] = {"outcome": report.outcome, "detail": row.detail} if stuck else {}
        uow.audit(_audited(row, "stuck" if stuck else "gone", reporter, told))
        if stuck and before not in STUCK:
            uow.notice(STUCK_NOTICE, row.id, {"account": row.principal, "target": row.target, **told})
        uow.notify(TOPIC, row.id)

    def _of(self, uow: UnitOfWork, reporter: Reporter, row: AccountRow) -> bool:
        if row.agent_name == reporter.agent_name:
            return True
        uow.audit(AuditEvent("account.unknown-reported", _agent(reporter), row.id))
        return False

    # -------------------------------------------------------------- for people

    async def listed(self, uow: UnitOfWork, wanted: Filter, paging: Paging) -> tuple[list[AccountRow], str | None]:
        """Newest first."""
        rows = await repository.newest(uow.session, wanted, newest_key(paging), paging.limit + 1)
        return paging.page(rows, lambda row: (row.leased_at_ms, row.id))


def _row(reporter: Reporter, report: LeasedReport | EndedReport) -> AccountRow:
    """Raises ValueError for an id that no agent of ours makes."""
    if not 0 < len(report.lease_id) <= _LONGEST_ID:
        raise ValueError("the id of a lease is empty or too long")
    return AccountRow(
        id=report.lease_id,
        agent_name=reporter.agent_name,
        session_id="",
        target=report.target,
        provider="",
        principal=_shortened(report.principal),
        state=State.OPEN,
        leased_at_ms=report.at_ms,
        expires_at_ms=report.at_ms,
        changed_at_ms=report.at_ms,
    )


def _agent(reporter: Reporter) -> Actor:
    return Actor(reporter.instance_id, reporter.agent_name, "agent")


def _audited(row: AccountRow, what: str, reporter: Reporter, data: dict[str, Json]) -> AuditEvent:
    known: dict[str, Json] = {"target": row.target, "session_id": row.session_id, "account": row.principal}
    return AuditEvent(f"account.{what}", _agent(reporter), row.id, {**known, **data})


def _shortened(principal: str) -> str:
    """A service before the target may put its own name of the account beside the target's."""
    return _clean(principal)[:_LONGEST_PRINCIPAL]


def _clean(text: str) -> str:
    """PostgreSQL keeps no NUL in text."""
    return text.replace("\0", "")
