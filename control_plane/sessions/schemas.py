"""Sessions as the API shows them. What clients say of themselves is made safe to print."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import visible
from control_plane.sessions.tables import SessionRow


class SessionOut(BaseModel):
    id: str
    open: bool
    target: str = Field(examples=["orders"])
    protocol: str = Field(examples=["postgres"])
    environment: str = Field(examples=["production"])
    requester_id: str
    requester: str = Field(examples=["nightly-report"])
    credential_id: str
    agent: str = Field(examples=["demo"])
    client_address: str = Field(examples=["10.1.2.3:51812"])
    application_name: str = Field(description="told by the client; do not trust it", examples=["psql"])
    opened_at: datetime
    closed_at: datetime | None
    close_reason: str = Field(examples=["client-closed"])
    ending: str = Field(description="somebody asked for its end, and why; empty: nobody has")
    operations: int
    allowed: int = Field(description="decisions; an operation of several statements may have several")
    held: int
    denied: int

    @classmethod
    def of(cls, row: SessionRow) -> SessionOut:
        return cls(
            id=row.id,
            open=row.closed_at_ms is None,
            target=row.target,
            protocol=row.protocol,
            environment=row.environment,
            requester_id=row.requester_id,
            requester=row.requester_name,
            credential_id=row.credential_id,
            agent=row.agent_name,
            client_address=visible(row.client_address),
            application_name=visible(row.application_name),
            opened_at=from_milliseconds(row.opened_at_ms),
            closed_at=None if row.closed_at_ms is None else from_milliseconds(row.closed_at_ms),
            close_reason=visible(row.close_reason),
            ending=visible(row.terminate_reason),
            operations=row.operations,
            allowed=row.allowed,
            held=row.held,
            denied=row.denied,
        )


class TerminateIn(BaseModel):
    reason: str = Field(min_length=1, max_length=500, description="shown to the client and kept in the audit log")
