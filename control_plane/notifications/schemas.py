"""Deliveries and callbacks as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import visible
from control_plane.notifications.domain import DeliveryState
from control_plane.notifications.tables import DeliveryRow


class DeliveryOut(BaseModel):
    id: str = Field(examples=["dlv_3xk2cqz7q5n4h6mjv2ab"], description="the same at every attempt")
    channel: str = Field(examples=["ops-tickets"])
    kind: str = Field(examples=["approval.pending"])
    key: str = Field(description="the id of the approval that it is about")
    state: DeliveryState
    attempts: int
    written_at: datetime
    next_at: datetime | None = Field(description="when it is tried again; null: it is over")
    done_at: datetime | None
    error: str = Field(description="of the last attempt", examples=["answered 503"])
    note: str = Field(description="what the channel did", examples=["OPS-12: opened"])

    @classmethod
    def of(cls, row: DeliveryRow) -> DeliveryOut:
        waits = row.state == DeliveryState.PENDING
        return cls(
            id=row.id,
            channel=row.channel,
            kind=row.kind,
            key=row.key,
            state=DeliveryState(row.state),
            attempts=row.attempts,
            written_at=from_milliseconds(row.at_ms),
            next_at=from_milliseconds(row.next_at_ms) if waits else None,
            done_at=None if row.done_at_ms is None else from_milliseconds(row.done_at_ms),
            error=visible(row.error),
            note=visible(row.note),
        )


class DecisionIn(BaseModel):
    """What a system says on behalf of a person whom it has authenticated."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["approval.decision"]
    approval_id: str = Field(max_length=64, examples=["apr_3xk2cqz7q5n4h6mjv2ab"])
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="the `digest` of the approval that the person looked at")
    verb: Literal["approve", "deny"]
    person: str = Field(
        min_length=1, max_length=255, description="as the channel's `decisions.map` says", examples=["ada@example.org"]
    )
    reason: str = Field(default="", max_length=2000, description="a denial needs one")


class DecisionTakenOut(BaseModel):
    approval_id: str
    state: str = Field(description="what has become of the request", examples=["approved"])
    person: str = Field(description="whose decision it was, by name", examples=["ada"])
