"""Access windows as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from control_plane.access.service import Offered
from control_plane.approvals.domain import State
from control_plane.approvals.review import View
from control_plane.approvals.schemas import ApprovalSummaryOut
from control_plane.approvals.shown import duration
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import displayed


class OfferedOut(BaseModel):
    name: str = Field(examples=["orders-on-call"])
    description: str
    target: str = Field(examples=["orders"])
    group: str = Field(description="which one is in for the time", examples=["orders-window"])
    longest: str = Field(examples=["8h"])
    policies: list[str] = Field(description="that select the group", examples=[["orders-by-hand"]])

    @classmethod
    def of(cls, offered: Offered) -> OfferedOut:
        return cls(
            name=offered.name,
            description=offered.description,
            target=offered.target,
            group=offered.group,
            longest=duration(offered.longest_seconds),
            policies=list(offered.policies),
        )


class AccessIn(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    offer: str = Field(min_length=1, max_length=63, examples=["orders-on-call"])
    length: str = Field(alias="for", min_length=1, max_length=20, examples=["2h"])
    reason: str = Field(min_length=1, max_length=2000, description="shown to reviewers", examples=["ticket 4711"])


class EndIn(BaseModel):
    reason: str = Field(default="", max_length=2000, description="shown to the requester")


class AccessOut(ApprovalSummaryOut):
    """The request at `/v1/approvals/{id}`, and the window that it opens when it is approved."""

    offer: str = Field(examples=["orders-on-call"])
    group: str = Field(examples=["orders-window"])
    duration: str = Field(examples=["2h"])
    policies: list[str] = Field(examples=[["orders-by-hand"]])
    reason: str = Field(description="what the requester says it is for")
    outcome: str = Field(description="why it ended as it did")
    open: bool
    until: datetime | None = Field(description="null: it was never approved")

    @classmethod
    def of_window(cls, view: View) -> AccessOut:
        access, until_ms = view.shown.access, view.row.execute_by_ms
        return cls(
            **ApprovalSummaryOut.of(view).model_dump(),
            offer=access.offer if access else "",
            group=access.group if access else "",
            duration=duration(access.seconds) if access else "",
            policies=list(access.policies) if access else [],
            reason=displayed(view.shown.reason).text,
            outcome=displayed(view.row.reason).text,
            open=view.row.state == State.APPROVED,
            until=None if until_ms is None else from_milliseconds(until_ms),
        )
