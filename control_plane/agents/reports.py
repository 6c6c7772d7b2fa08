"""Takes reports in: each exactly once in effect, in the order of their numbers.

The high-water mark of an instance and the effects of its reports are one transaction. A number that is already under
the mark is passed over. A report whose content cannot be taken is put into the audit log and passed over too, with an
answer when somebody waits for one: one bad report must not hold up all that follow. Trouble with the database ends
the transaction, and the stream; the agent sends again. Batches of decisions that follow one another, which is what a
busy agent sends, are taken together, and so are sessions that are opened one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

import msgspec
import structlog
from sqlalchemy.exc import DataError, IntegrityError

from control_plane.accounts.reports import EndedReport, LeasedReport
from control_plane.agents import repository
from control_plane.agents.domain import Agent, Heartbeat, Hello, Notice, Numbered
from control_plane.agents.errors import End, StreamEndedError
from control_plane.agents.ports import Accounts, Approvals, Sessions
from control_plane.agents.tables import AgentInstanceRow
from control_plane.approvals.domain import Outcome
from control_plane.approvals.reports import (
    Answer,
    CancelledReport,
    ConsumedReport,
    DecidedAnswer,
    FinishedReport,
    RequestedReport,
)
from control_plane.kit.errors import ProblemError
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.sessions.reports import ClosedReport, DecisionsReport, OpenedReport, RefusedReport, Reporter

_log = structlog.get_logger(__name__)

_BAD_CONTENT: Final = (ProblemError, ValueError, LookupError, TypeError, IntegrityError, DataError)
_TOGETHER: Final = frozenset({DecisionsReport, OpenedReport})
_MOMENT: Final = timedelta(microseconds=1)
_MOST_RECORDING_KEYS: Final = 16
_LARGEST_NUMBER: Final = 2**63 - 1


class ReportIntake:
    def __init__(self, approvals: Approvals, sessions: Sessions, accounts: Accounts) -> None:
        self._approvals = approvals
        self._sessions = sessions
        self._accounts = accounts

    async def greet(self, uow: UnitOfWork, agent: Agent, hello: Hello) -> int:
        """The instance as it is now; returns up to which number its reports are here. Raises StreamEndedError."""
        row = await repository.locked_instance(uow.session, hello.instance_id)
        if row is None:
            row = _new_instance(uow, agent, hello)
        if row.agent_id != agent.id:
            uow.audit(AuditEvent("agent.instance-stolen", _actor(agent), hello.instance_id[:64]))
            raise StreamEndedError(End.REFUSED, "this instance belongs to another agent")
        if hello.first_report > row.reports_through + 1:
            lost = {"from": row.reports_through + 1, "to": hello.first_report - 1}
            uow.audit(AuditEvent("agent.reports-lost", _actor(agent), row.id, lost))
            row.reports_through = hello.first_report - 1
        row.boot_id, row.version, row.features = hello.boot_id, hello.version[:64], list(hello.features)
        row.recording_keys = _with(row.recording_keys, hello.recording_keys)
        row.snapshot_version = hello.snapshot_version
        row.connected, row.seen_at = True, uow.now
        row.connected_at = max(
            uow.now, row.connected_at + _MOMENT
        )  # never twice the same: by it a stream knows its row
        uow.session.add(row)
        await uow.session.flush()
        await self._sessions.reconcile(uow, reporter(agent, hello), frozenset(hello.open_sessions))
        return row.reports_through

    async def take(self, uow: UnitOfWork, who: Reporter, batch: Sequence[Numbered]) -> tuple[int, list[Answer]]:
        """The new high-water mark, and what is to be answered at once. Raises StreamEndedError for a gap."""
        row = await repository.locked_instance(uow.session, who.instance_id)
        if row is None:
            raise StreamEndedError(End.CONFUSED, "say Hello first")
        answers: list[Answer] = []
        for run in _runs(_new(batch, row.reports_through)):
            answers += await self._guarded(uow, who, row, run)
            row.reports_through = run[-1].number
        uow.session.add(row)
        return row.reports_through, answers

    async def _guarded(
        self, uow: UnitOfWork, who: Reporter, row: AgentInstanceRow, run: Sequence[Numbered]
    ) -> list[Answer]:
        """A run that cannot be taken as a whole is taken report by report."""
        events, news = len(uow.events), len(uow.news)
        try:
            async with uow.session.begin_nested():
                answer = await self._taken(uow, who, row, run)
        except _BAD_CONTENT as error:
            del uow.events[events:], uow.news[news:]
            if len(run) > 1:
                return [told for one in run for told in await self._guarded(uow, who, row, [one])]
            answer = self._rejected(uow, who, run[0], error)
        return [] if answer is None else [answer]

    async def _taken(
        self, uow: UnitOfWork, who: Reporter, row: AgentInstanceRow, run: Sequence[Numbered]
    ) -> Answer | None:
        if decided := [one.report for one in run if isinstance(one.report, DecisionsReport)]:
            await self._sessions.decisions(uow, who, decided)
        elif opened := [one.report for one in run if isinstance(one.report, OpenedReport)]:
            for report in opened:
                _check_numbers(report)
            await self._sessions.opened(uow, who, *opened)
        else:
            return await self._one(uow, who, row, run[0].report)
        return None

    def _rejected(self, uow: UnitOfWork, who: Reporter, numbered: Numbered, error: Exception) -> Answer | None:
        kind = type(numbered.report).__name__
        _log.error("a report could not be taken", instance=who.instance_id, number=numbered.number, exc_info=error)
        told: dict[str, Json] = {"number": numbered.number, "report": kind, "error": type(error).__name__}
        actor = Actor(who.instance_id, who.agent_name, "agent")
        uow.audit(AuditEvent("agent.report-rejected", actor, who.instance_id, told))
        if isinstance(numbered.report, RequestedReport):
            reason = "the control plane could not take the request; its log says why"
            return DecidedAnswer(numbered.report.approval_id, Outcome.REFUSED, reason)
        return None

    async def _one(self, uow: UnitOfWork, who: Reporter, row: AgentInstanceRow, report: object) -> Answer | None:
        _check_numbers(report)
        match report:
            case RequestedReport():
                return await self._approvals.requested(uow, who.instance_id, report)
            case CancelledReport():
                await self._approvals.cancelled(uow, who.instance_id, report, who.agent_name)
            case ConsumedReport():
                await self._approvals.grant_consumed(uow, who.instance_id, report, who.agent_name)
            case FinishedReport():
                await self._approvals.finished(uow, who.instance_id, report, who.agent_name)
            case ClosedReport():
                await self._sessions.closed(uow, who, report)
            case RefusedReport():
                await self._sessions.refused(uow, who, report)
            case LeasedReport():
                await self._accounts.leased(uow, who, report)
            case EndedReport():
                await self._accounts.ended(uow, who, report)
            case Notice(kind, text):
                row.notice = f"{kind}: {text}"[:1000]
                actor = Actor(who.instance_id, who.agent_name, "agent")
                uow.audit(AuditEvent("agent.notice", actor, who.instance_id, {"kind": kind, "text": text[:1000]}))
            case _:
                raise ValueError("a kind of report that this control plane does not know")
        return None

    # -------------------------------------------------------------- how an instance is

    async def beat(self, uow: UnitOfWork, instance_id: str, heartbeat: Heartbeat) -> None:
        row = await repository.locked_instance(uow.session, instance_id)
        if row is not None:
            row.open_sessions, row.held_operations = heartbeat.open_sessions, heartbeat.held_operations
            row.spool_bytes, row.seen_at, row.connected = heartbeat.spool_bytes, uow.now, True
            uow.session.add(row)

    async def snapshot_answered(
        self, uow: UnitOfWork, agent: Agent, instance_id: str, version: int, problem: str
    ) -> None:
        """`problem` empty: it is in force there."""
        row = await repository.locked_instance(uow.session, instance_id)
        if row is None:
            return
        row.snapshot_problem = problem[:1000]
        if problem:
            told: dict[str, Json] = {"version": version, "reason": problem[:1000]}
            uow.audit(AuditEvent("agent.snapshot-refused", _actor(agent), instance_id, told))
        else:
            row.snapshot_version = version
        uow.session.add(row)


def _new(batch: Sequence[Numbered], through: int) -> Sequence[Numbered]:
    """Those beyond the high-water mark. Raises StreamEndedError for a gap."""
    new = [one for one in batch if one.number > through]
    for expected, one in enumerate(new, through + 1):
        if one.number != expected:
            raise StreamEndedError(End.CONFUSED, f"report {expected} is missing")
    return new


def _runs(batch: Sequence[Numbered]) -> Iterator[Sequence[Numbered]]:
    """Reports of a kind that is taken together, as far as they follow one another; everything else one by one."""
    for kind, run in groupby(batch, lambda one: type(one.report)):
        if kind in _TOGETHER:
            yield list(run)
        else:
            yield from ([one] for one in run)


def _check_numbers(report: object) -> None:
    """The link has unsigned numbers that no database keeps."""
    fields = msgspec.structs.astuple(report) if isinstance(report, msgspec.Struct) else ()
    if any(isinstance(value, int) and value > _LARGEST_NUMBER for value in fields):
        raise ValueError("a number is too large")


def reporter(agent: Agent, hello: Hello) -> Reporter:
    return Reporter(agent.name, hello.instance_id, hello.boot_id)


def _actor(agent: Agent) -> Actor:
    return Actor(agent.id, agent.name, "agent")


def _new_instance(uow: UnitOfWork, agent: Agent, hello: Hello) -> AgentInstanceRow:
    return AgentInstanceRow(
        id=hello.instance_id,
        agent_id=agent.id,
        boot_id=hello.boot_id,
        version=hello.version[:64],
        features=[],
        recording_keys=[],
        connected_at=uow.now,
        seen_at=uow.now,
    )


def _with(known: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Keys stay known: recordings that they signed may still come."""
    return list(dict.fromkeys([*known, *shown]))[-_MOST_RECORDING_KEYS:]
