"""Comments, delegations, broken glass and statistics as the API shows them. What people wrote is made safe to print."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from control_plane.approvals.broken_glass import Reviewed, Verdict
from control_plane.approvals.delegations import Given
from control_plane.approvals.statistics import Reviewer
from control_plane.approvals.tables import BreakGlassRow, CommentRow, DelegationRow
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import displayed, visible
from control_plane.kit.names import Name
from control_plane.security_keys.schemas import AnswerIn

# What a person writes: some text, without NUL, which databases do not keep.
Said = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True, pattern=r"^[^\x00]*$")]
MaySay = Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True, pattern=r"^[^\x00]*$")]
Environment = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
_DIGEST = "the `digest` of the approval that you looked at"
_ID = ["idn_3xk2cqz7q5n4h6mjv2ab"]
_APPROVAL = ["apr_3xk2cqz7q5n4h6mjv2ab"]


class CommentIn(BaseModel):
    text: Said = Field(examples=["is the backup of last night done?"])


class CommentOut(BaseModel):
    id: str = Field(examples=["cmt_3xk2cqz7q5n4h6mjv2ab"])
    by_id: str = Field(examples=_ID)
    by: str = Field(examples=["ada"])
    kind: str = Field(description="person or machine: what a machine says is untrusted text", examples=["person"])
    at: datetime
    text: str = Field(examples=["is the backup of last night done?"])

    @classmethod
    def of(cls, row: CommentRow) -> CommentOut:
        return cls(
            id=row.id,
            by_id=row.identity_id,
            by=row.name,
            kind=row.kind,
            at=from_milliseconds(row.at_ms),
            text=displayed(row.text).text,
        )


class WithdrawIn(BaseModel):
    reason: MaySay = Field(default="", description="the waiting client is told", examples=["wrong database"])


class BreakGlassIn(BaseModel):
    digest: Digest = Field(description=_DIGEST)
    reason: Said = Field(description="everybody who is skipped is told", examples=["the shop is down, INC-1041"])
    signature: AnswerIn | None = Field(default=None, description="where `how.security_key` says so")


# ------------------------------------------------------------------ delegations


class DelegationIn(BaseModel):
    delegate: Name = Field(description="a person who is a reviewer", examples=["bob"])
    until: AwareDatetime = Field(description="at most 90 days from now", examples=["2026-03-14T18:00:00Z"])
    chains: list[Name] = Field(default=[], max_length=50, description="empty: every chain", examples=[["dba"]])
    environments: list[Environment] = Field(
        default=[], max_length=50, description="empty: every environment", examples=[["production"]]
    )
    note: MaySay = Field(default="", examples=["on holiday"])

    def given(self) -> Given:
        return Given(self.delegate, self.until, tuple(self.chains), tuple(self.environments), self.note)


class StandInOut(BaseModel):
    """`delegate` may decide in the place of `delegator`, until then."""

    delegation_id: str = Field(examples=["dlg_3xk2cqz7q5n4h6mjv2ab"])
    delegate: str = Field(examples=["bob"])
    delegator: str = Field(examples=["ada"])
    until: datetime

    @classmethod
    def of(cls, row: DelegationRow) -> StandInOut:
        until = from_milliseconds(row.until_ms)
        return cls(delegation_id=row.id, delegate=row.delegate, delegator=row.delegator, until=until)


class DelegationOut(BaseModel):
    id: str = Field(examples=["dlg_3xk2cqz7q5n4h6mjv2ab"])
    delegator_id: str = Field(examples=_ID)
    delegator: str = Field(description="whose place it is", examples=["ada"])
    delegate_id: str = Field(examples=["idn_7wq3fbz5m2c6tdk4yxua"])
    delegate: str = Field(description="who may take it", examples=["bob"])
    chains: list[str] = Field(description="empty: every chain", examples=[["dba"]])
    environments: list[str] = Field(description="empty: every environment", examples=[["production"]])
    note: str = Field(examples=["on holiday"])
    created_at: datetime
    until: datetime
    revoked_at: datetime | None = Field(description="null: it was not taken back")
    revoked_by: str = Field(examples=[""])
    holds: bool = Field(description="now")

    @classmethod
    def of(cls, row: DelegationRow, now: datetime) -> DelegationOut:
        until = from_milliseconds(row.until_ms)
        return cls(
            id=row.id,
            delegator_id=row.delegator_id,
            delegator=row.delegator,
            delegate_id=row.delegate_id,
            delegate=row.delegate,
            chains=row.chains,
            environments=[visible(one) for one in row.environments],
            note=displayed(row.note).text,
            created_at=from_milliseconds(row.created_at_ms),
            until=until,
            revoked_at=_instant(row.revoked_at_ms),
            revoked_by=row.revoked_by,
            holds=row.revoked_at_ms is None and until > now,
        )


# ------------------------------------------------------------------ broken glass


class SkippedOut(BaseModel):
    id: str = Field(examples=_ID)
    name: str = Field(examples=["grace"])


class BrokenOut(BaseModel):
    """Who overrode the chain of a request, and what became of the review."""

    approval_id: str = Field(examples=_APPROVAL)
    by_id: str = Field(examples=_ID)
    by: str = Field(examples=["ada"])
    at: datetime
    reason: str = Field(examples=["the shop is down, INC-1041"])
    skipped: list[SkippedOut] = Field(description="who could have decided, and was told")
    review_by: datetime = Field(description="by when the review is to be closed")
    closed_at: datetime | None = Field(description="null: the review is open")
    closed_by: str = Field(examples=["grace"])
    verdict: str = Field(description="justified or not-justified; empty: open", examples=["justified"])
    comment: str = Field(examples=["the outage was real; the runbook now has a faster way"])

    @classmethod
    def of(cls, row: BreakGlassRow) -> BrokenOut:
        return cls(**_broken(row))


class BreakGlassReviewOut(BrokenOut):
    short_code: str = Field(examples=["7KQ2MX"])
    state: str = Field(description="of the request", examples=["executed"])
    target: str = Field(examples=["orders"])
    environment: str = Field(examples=["production"])
    overdue: bool
    may_close: bool = Field(description="you")
    why_not: str = Field(description="empty when you may", examples=["whoever broke the glass does not review it"])

    @classmethod
    def shown(cls, reviewed: Reviewed, now: datetime) -> BreakGlassReviewOut:
        row, request = reviewed.review, reviewed.request
        still_open = row.closed_at_ms is None
        return cls(
            **_broken(row),
            short_code=request.short_code,
            state=request.state,
            target=request.target,
            environment=request.environment,
            overdue=still_open and from_milliseconds(row.due_at_ms) <= now,
            may_close=still_open and not reviewed.why_not,
            why_not=reviewed.why_not if still_open else "it is closed",
        )


class CloseReviewIn(BaseModel):
    verdict: Verdict = Field(examples=["justified"])
    comment: Said = Field(examples=["the outage was real; the runbook now has a faster way"])


def _broken(row: BreakGlassRow) -> dict[str, object]:
    return {
        "approval_id": row.approval_id,
        "by_id": row.broken_by_id,
        "by": row.broken_by,
        "at": from_milliseconds(row.opened_at_ms),
        "reason": displayed(row.reason).text,
        "skipped": [SkippedOut(**one) for one in row.skipped],
        "review_by": from_milliseconds(row.due_at_ms),
        "closed_at": _instant(row.closed_at_ms),
        "closed_by": row.closed_by,
        "verdict": row.verdict,
        "comment": displayed(row.comment).text,
    }


# ------------------------------------------------------------------ statistics


class ReviewerOut(BaseModel):
    identity_id: str = Field(examples=_ID)
    name: str = Field(examples=["ada"])
    decisions: int = Field(examples=[41])
    approved: int = Field(examples=[38])
    denied: int = Field(examples=[3])
    share_approved: float = Field(examples=[0.93])
    median_seconds: float = Field(description="from when this person could decide", examples=[74.0])
    p90_seconds: float = Field(examples=[412.5])
    fastest_seconds: float = Field(examples=[6.2])
    rubber_stamping: bool = Field(
        description="at least 10 decisions, 95 of 100 approved, half of them within 10 seconds: worth a question"
    )

    @classmethod
    def of(cls, one: Reviewer) -> ReviewerOut:
        return cls(
            identity_id=one.identity_id,
            name=one.name,
            decisions=one.decisions,
            approved=one.approved,
            denied=one.decisions - one.approved,
            share_approved=round(one.share_approved, 4),
            median_seconds=one.median_seconds,
            p90_seconds=one.p90_seconds,
            fastest_seconds=one.fastest_seconds,
            rubber_stamping=one.rubber_stamping,
        )


class StatisticsOut(BaseModel):
    """Of decisions from `from` on and before `until`."""

    since: datetime = Field(alias="from")
    until: datetime
    reviewers: list[ReviewerOut] = Field(description="whoever decided most often first")


def _instant(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else from_milliseconds(unix_ms)
