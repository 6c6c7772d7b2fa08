"""Sessions as agents report them and as people list and end them.

Every reporting method works in its caller's unit of work, beside the number of the report, so that a report
that is sent again changes nothing. A session that is over takes its pending holds and unused grants with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from control_plane.audit import sealed
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import from_milliseconds, milliseconds
from control_plane.kit.errors import InvalidError
from control_plane.kit.pagination import Paging
from control_plane.kit.unit_of_work import SYSTEM, Actor, AuditEvent, Json, UnitOfWork
from control_plane.sessions import repository
from control_plane.sessions.ports import Described, Directory, Holds
from control_plane.sessions.reports import ClosedReport, DecisionsReport, OpenedReport, RefusedReport, Reporter
from control_plane.sessions.repository import Decided, Filter, Known
from control_plane.sessions.tables import SessionRow

TOPIC: Final = "session"  # opened, closed or changed; the key is its id
TERMINATE: Final = "session-terminate"  # the agent must end it; the key is its id

AGENT_RESTARTED: Final = "agent-restarted"
_IDENTITY_ENDED: Final = "its identity does nothing any more"
_SEE_ALL: Final = (Permission.SESSIONS, Permission.AUDIT)


async def find(uow: UnitOfWork, session_id: str) -> SessionRow | None:
    """For other features: no service is needed to look."""
    return await repository.one(uow.session, session_id)


class SessionService:
    def __init__(self, directory: Directory, holds: Holds) -> None:
        self._directory = directory
        self._holds = holds

    # -------------------------------------------------------------- reported by agents

    async def opened(self, uow: UnitOfWork, reporter: Reporter, *reports: OpenedReport) -> None:
        """Many at a time cost little more than one: an agent whose clients all come at once sends them together."""
        reused = set(await repository.known(uow.session, {report.session_id for report in reports}))
        described: dict[tuple[str, str], Described] = {}
        rows: dict[str, SessionRow] = {}
        alarms: list[str] = []  # after the openings, of which one may be what is told of
        for report in reports:
            if report.session_id in reused or report.session_id in rows:
                alarms.append(report.session_id)
                continue
            of = report.requester_id, report.target
            if of not in described:
                described[of] = await self._directory.describe(uow, *of)
            rows[report.session_id] = _row(reporter, report, described[of])
        uow.session.add_all(rows.values())
        await uow.session.flush()
        for credential_id in sorted({row.credential_id for row in rows.values()}):
            await self._directory.used(uow, credential_id)
        for row in rows.values():
            told = {"client_address": row.client_address, "application_name": row.application_name}
            uow.audit(_audited(row, "opened", _agent(reporter), {**told, "snapshot_version": row.snapshot_version}))
            uow.notify(TOPIC, row.id)
            if row.boot_id != reporter.boot_id:
                await self._end(uow, row, SYSTEM, AGENT_RESTARTED, milliseconds(uow.now))
        for session_id in alarms:
            self._alarm(uow, reporter, "id-reused", session_id)

    async def closed(self, uow: UnitOfWork, reporter: Reporter, report: ClosedReport) -> None:
        """The agent's own word on the end replaces what was only inferred from its restart."""
        row = await self._of(uow, reporter, report.session_id)
        if row is None:
            return
        row.operations = report.operations
        row.recording_hash = report.recording_hash
        await self._end(uow, row, _agent(reporter), report.reason, report.at_ms)

    async def refused(self, uow: UnitOfWork, reporter: Reporter, report: RefusedReport) -> None:
        """A connection that did not become a session is in the audit log only."""
        data: dict[str, Json] = {
            "target": report.target,
            "reason": report.reason,
            "client_address": _clean(report.client_address),
            "requester_id": report.requester_id,
            "at_ms": report.at_ms,
        }
        uow.audit(AuditEvent("session.refused", _agent(reporter), report.target[:255], data))

    async def decisions(self, uow: UnitOfWork, reporter: Reporter, reports: Sequence[DecisionsReport]) -> None:
        """Each batch goes into the audit log sealed, as it came; what is told of it is counted. Many at a time: the
        cost is one of a transaction, and next to nothing for a batch."""
        await uow.session.flush()
        known = await repository.known(uow.session, {report.session_id for report in reports})
        counted: list[Decided] = []
        for report in reports:
            session = known.get(report.session_id)
            if session is None or session.instance_id != reporter.instance_id:
                self._alarm(uow, reporter, "unknown-reported", report.session_id)
            elif self._sealed(uow, reporter, session, report):
                last = report.last_operation
                counted.append(Decided(session.id, report.allowed, report.held, report.denied, last))
        if counted:
            await repository.count(uow.session, counted)
        for session_id in dict.fromkeys(one.session_id for one in counted):
            uow.notify(TOPIC, session_id)

    def _sealed(self, uow: UnitOfWork, reporter: Reporter, session: Known, report: DecisionsReport) -> bool:
        """False: it cannot be what it is told to be. Kept all the same, unless it is too large: then by its hash."""
        told: dict[str, Json] = {"target": session.target, "requester_id": session.requester_id, **_counts(report)}
        problem = sealed.implausible(report.entries, told)
        if not problem:
            uow.audit(AuditEvent("operation.decided", _agent(reporter), session.id, told, report.entries))
            return True
        told |= {"why": problem, "sha256": hashlib.sha256(report.entries).hexdigest()}
        kept = report.entries if len(report.entries) <= sealed.LARGEST_SEALED_BYTES else b""
        uow.audit(AuditEvent("session.decisions-unreadable", _agent(reporter), session.id, told, kept))
        return False

    async def reconcile(self, uow: UnitOfWork, reporter: Reporter, open_sessions: Collection[str]) -> None:
        """At Hello: whatever else we think is open at this instance is over."""
        for session_id in await repository.open_of(uow.session, reporter.instance_id):
            row = None if session_id in open_sessions else await repository.locked(uow.session, session_id)
            if row is not None:
                await self._end(uow, row, SYSTEM, AGENT_RESTARTED, milliseconds(uow.now))

    async def _end(self, uow: UnitOfWork, row: SessionRow, actor: Actor, reason: str, at_ms: int) -> None:
        row.closed_at_ms = at_ms
        row.close_reason = reason
        uow.session.add(row)
        told: dict[str, Json] = {"operations": row.operations, "recording_hash": row.recording_hash.hex()}
        uow.audit(_audited(row, "closed", actor, {"reason": reason, **told}))
        uow.notify(TOPIC, row.id)
        await self._holds.session_ended(uow, row.id, reason)

    async def _of(self, uow: UnitOfWork, reporter: Reporter, session_id: str) -> SessionRow | None:
        row = await repository.locked(uow.session, session_id)
        if row is not None and row.instance_id == reporter.instance_id:
            return row
        self._alarm(uow, reporter, "unknown-reported", session_id)
        return None

    def _alarm(self, uow: UnitOfWork, reporter: Reporter, what: str, session_id: str) -> None:
        uow.audit(AuditEvent(f"session.{what}", _agent(reporter), session_id[:64]))

    # -------------------------------------------------------------- for people

    async def last_used(self, uow: UnitOfWork, target: str) -> datetime | None:
        """When a session of this target was opened last, by the agent's clock."""
        rows = await repository.newest(uow.session, Filter(target=target), None, 1)
        return from_milliseconds(rows[0].opened_at_ms) if rows else None

    async def listed(
        self, uow: UnitOfWork, principal: Principal, wanted: Filter, paging: Paging
    ) -> tuple[list[SessionRow], str | None]:
        """Newest first; without the permission only one's own and those of one's machines."""
        if not _sees_all(principal):
            wanted = Filter(wanted.open, wanted.target, wanted.requester, principal.identity)
        rows = await repository.newest(uow.session, wanted, _after(paging), paging.limit + 1)
        return paging.page(rows, lambda row: (row.opened_at_ms, row.id))

    async def one(self, uow: UnitOfWork, principal: Principal, session_id: str) -> SessionRow | None:
        """None: there is none, or it is not theirs to see."""
        row = await repository.one(uow.session, session_id)
        if row is None or _sees_all(principal) or principal.identity in {row.requester_id, row.owner_id}:
            return row
        return None

    async def terminate(self, uow: UnitOfWork, session_id: str, by: Actor, reason: str) -> SessionRow | None:
        """Asks the agent to end it; it is closed when the agent says so. None: no such session is open."""
        row = await repository.locked(uow.session, session_id)
        if row is None or row.closed_at_ms is not None:
            return None
        row.terminate_reason = reason
        uow.session.add(row)
        uow.audit(_audited(row, "terminated", by, {"reason": reason}))
        uow.notify(TERMINATE, row.id)
        uow.notify(TOPIC, row.id)
        return row

    async def ended(
        self,
        uow: UnitOfWork,
        by: Actor,  # noqa: ARG002 - one event tells of the end, and by whom
        identity_ids: Sequence[str],
        reason: str,  # noqa: ARG002 - the client is not told more than that it is over
    ) -> Mapping[str, Json]:
        """`identities.ports.Consequence`: agents are told of each session, beside the snapshot in which the identity
        does nothing any more; they say when it is closed."""
        rows = await repository.open_requested_by(uow.session, identity_ids)
        for row in rows:
            row.terminate_reason = _IDENTITY_ENDED
            uow.session.add(row)
            uow.notify(TERMINATE, row.id)
            uow.notify(TOPIC, row.id)
        return {"sessions": [row.id for row in rows]}

    async def terminations(self, uow: UnitOfWork, instance_id: str) -> list[tuple[str, str]]:
        """Id and reason of this instance's open sessions that somebody wants ended: told again at Hello."""
        return await repository.to_terminate(uow.session, instance_id)

    async def replayed(self, uow: UnitOfWork, principal: Principal, row: SessionRow, how: str) -> None:
        """Watching is an act of its own."""
        uow.audit(_audited(row, "replayed", principal.actor, {"how": how, "sign_in": principal.credential_id}))


def _row(reporter: Reporter, report: OpenedReport, described: Described) -> SessionRow:
    return SessionRow(
        id=report.session_id,
        instance_id=reporter.instance_id,
        agent_name=reporter.agent_name,
        boot_id=report.boot_id,
        target=report.target,
        protocol=report.protocol,
        environment=described.environment,
        requester_id=report.requester_id,
        requester_name=described.requester_name,
        owner_id=described.owner_id,
        credential_id=report.credential_id,
        client_address=_clean(report.client_address),
        application_name=_clean(report.application_name),
        snapshot_version=report.snapshot_version,
        opened_at_ms=report.at_ms,
    )


def _agent(reporter: Reporter) -> Actor:
    return Actor(reporter.instance_id, reporter.agent_name, "agent")


def _counts(report: DecisionsReport) -> dict[str, Json]:
    return {
        "first_operation": report.first_operation,
        "last_operation": report.last_operation,
        "count": report.count,
        "allowed": report.allowed,
        "held": report.held,
        "denied": report.denied,
    }


def _audited(row: SessionRow, what: str, actor: Actor, data: dict[str, Json]) -> AuditEvent:
    known: dict[str, Json] = {
        "target": row.target,
        "requester_id": row.requester_id,
        "credential_id": row.credential_id,
        "instance_id": row.instance_id,
    }
    return AuditEvent(f"session.{what}", actor, row.id, {**known, **data})


def _sees_all(principal: Principal) -> bool:
    return any(principal.may(permission) for permission in _SEE_ALL)


def _after(paging: Paging) -> tuple[int, str] | None:
    match paging.after:
        case None:
            return None
        case (int(at_ms), str(last)):
            return at_ms, last
    raise InvalidError("the cursor belongs to another list")


def _clean(text: str) -> str:
    """PostgreSQL keeps no NUL in text; no wire protocol sends one either."""
    return text.replace("\0", "")
