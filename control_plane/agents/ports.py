"""What agents need from the neighbouring features; `assembly` gives their services."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from control_plane.accounts.reports import EndedReport, LeasedReport
from control_plane.approvals.reports import (
    Answer,
    CancelledReport,
    ConsumedReport,
    FinishedReport,
    RequestedReport,
)
from control_plane.documents.domain import Stored
from control_plane.identities.domain import SnapshotIdentities
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, UnitOfWork
from control_plane.recordings.service import Ended, Kept, NotTaken
from control_plane.secrets.delivery import Current, Entitled, NotEntitled
from control_plane.secrets.envelope import Sealed
from control_plane.sessions.reports import ClosedReport, DecisionsReport, OpenedReport, RefusedReport, Reporter
from data_plane.recording.format import RecordingEnd


class Documents(Protocol):
    """One kind of document: Policy, ApprovalChain, Mask or Target."""

    @property
    def kind(self) -> str: ...

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]: ...


class Served(Protocol):
    """Which agent stands before a target."""

    async def agent_of(self, uow: UnitOfWork, target: str) -> str | None:
        """None: there is no such target."""


class Identities(Protocol):
    async def snapshot(self, uow: UnitOfWork) -> SnapshotIdentities: ...


class Approvals(Protocol):
    async def requested(self, uow: UnitOfWork, instance_id: str, report: RequestedReport) -> Answer: ...

    async def cancelled(self, uow: UnitOfWork, instance_id: str, report: CancelledReport, agent_name: str) -> None: ...

    async def grant_consumed(
        self, uow: UnitOfWork, instance_id: str, report: ConsumedReport, agent_name: str
    ) -> None: ...

    async def finished(self, uow: UnitOfWork, instance_id: str, report: FinishedReport, agent_name: str) -> None: ...

    async def decision_for(self, uow: UnitOfWork, instance_id: str, approval_id: str) -> Answer | None: ...


class Sessions(Protocol):
    async def opened(self, uow: UnitOfWork, reporter: Reporter, *reports: OpenedReport) -> None: ...

    async def closed(self, uow: UnitOfWork, reporter: Reporter, report: ClosedReport) -> None: ...

    async def refused(self, uow: UnitOfWork, reporter: Reporter, report: RefusedReport) -> None: ...

    async def decisions(self, uow: UnitOfWork, reporter: Reporter, reports: Sequence[DecisionsReport]) -> None: ...

    async def reconcile(self, uow: UnitOfWork, reporter: Reporter, open_sessions: Collection[str]) -> None: ...

    async def terminations(self, uow: UnitOfWork, instance_id: str) -> list[tuple[str, str]]: ...


class Accounts(Protocol):
    async def leased(self, uow: UnitOfWork, reporter: Reporter, report: LeasedReport) -> None: ...

    async def ended(self, uow: UnitOfWork, reporter: Reporter, report: EndedReport) -> None: ...


class Recordings(Protocol):
    async def begin(self, uow: UnitOfWork, instance_id: str, session_id: str) -> int | NotTaken | None: ...

    async def keep(self, session_id: str, index: int, data: bytes) -> Kept: ...

    async def segment(self, uow: UnitOfWork, instance_id: str, session_id: str, kept: Kept) -> int | NotTaken: ...

    async def end(
        self, uow: UnitOfWork, instance_id: str, session_id: str, end: RecordingEnd, public_keys: Sequence[bytes]
    ) -> Ended | NotTaken: ...


class Secrets(Protocol):
    async def entitled(self, uow: UnitOfWork, agent: str, target: str) -> Entitled | NotEntitled: ...

    async def opened(self, one: Entitled) -> Secret: ...

    async def delivered(self, uow: UnitOfWork, agent: Actor, one: Entitled) -> None: ...

    def refused(self, uow: UnitOfWork, agent: Actor, target: str, why: str) -> None: ...

    async def sealed(self, one: Entitled, value: Secret) -> Sealed: ...

    async def rotated(self, uow: UnitOfWork, agent: Actor, one: Entitled, sealed: Sealed) -> bool: ...

    async def current(self, uow: UnitOfWork, agent: str, secret: str = "") -> Sequence[Current]: ...


class Neighbours(msgspec.Struct, frozen=True, eq=False):
    """All of them; `documents` are those that snapshots carry."""

    documents: Sequence[Documents]
    identities: Identities
    approvals: Approvals
    sessions: Sessions
    accounts: Accounts
    recordings: Recordings
    served: Served
    secrets: Secrets
