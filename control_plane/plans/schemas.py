"""Plans as the API shows them: the request that people decide, and how far it is used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, Field

from control_plane.approvals.review import View
from control_plane.approvals.schemas import ApprovalSummaryOut
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import displayed, visible
from control_plane.plans.service import Submitted, Use

_STATE = {"search_path": "app, public"}


class PlanIn(BaseModel):
    target: str = Field(min_length=1, max_length=63, examples=["orders"])
    operations: list[str] = Field(
        min_length=1,
        max_length=200,
        description="complete statements, in order; each may run once, exactly so and without parameters",
        examples=[["DELETE FROM orders WHERE id = 7", "UPDATE stock SET held = held - 1 WHERE item = 12"]],
    )
    reason: str = Field(min_length=1, max_length=2000, description="shown to reviewers", examples=["ticket 4711"])
    ordered: bool = Field(default=True, description="none may run before the one above it")
    database: str = Field(default="", max_length=63, description="empty: the target's own", examples=["shop"])
    session_state: dict[str, str] = Field(
        default={}, max_length=50, description="settings that are not as a session begins", examples=[_STATE]
    )

    def submitted(self) -> Submitted:
        return Submitted(self.target, self.operations, self.reason, self.ordered, self.database, self.session_state)


class PlannedOut(BaseModel):
    number: int = Field(examples=[1])
    text: str = Field(description="complete; what a screen would hide is written out", examples=["DELETE FROM orders"])
    used_by: str | None = Field(description="the request of the operation that took it; null: not used")
    used_at: datetime | None
    state: str = Field(description="of that request", examples=["executed"])


class PlanOut(ApprovalSummaryOut):
    """What it asks for stands at `/v1/approvals/{id}` too, with all that reviewers see."""

    reason: str = Field(description="what the requester says it is for")
    outcome: str = Field(description="why it ended as it did")
    ordered: bool
    session_state: dict[str, str] = Field(examples=[_STATE])
    execute_by: datetime | None = Field(description="once it is approved: until when its statements may run")
    operations: list[PlannedOut]

    @classmethod
    def of_plan(cls, view: View, uses: Mapping[int, Use]) -> PlanOut:
        plan = view.shown.plan
        statements = plan.statements if plan else ()
        return cls(
            **ApprovalSummaryOut.of(view).model_dump(),
            reason=displayed(view.shown.reason).text,
            outcome=displayed(view.row.reason).text,
            ordered=plan is not None and plan.ordered,
            session_state={visible(name): visible(value) for name, value in (plan.session_state if plan else ())},
            execute_by=_instant(view.row.execute_by_ms),
            operations=[_planned(number, text, uses.get(number)) for number, text in enumerate(statements, 1)],
        )


def _planned(number: int, text: str, use: Use | None) -> PlannedOut:
    return PlannedOut(
        number=number,
        text=displayed(text).text,
        used_by=use.approval_id if use else None,
        used_at=_instant(use.at_ms if use else None),
        state=use.state if use else "",
    )


def _instant(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else from_milliseconds(unix_ms)
