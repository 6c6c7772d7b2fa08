"""Windows as the API shows them: what may be chosen, what was granted, and what each operation in it became."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from control_plane.approvals.domain.choice import Wish
from control_plane.approvals.review import View
from control_plane.approvals.tables import VoteRow, WindowUseRow
from control_plane.approvals.windows import is_open
from control_plane.kit.clock import from_milliseconds, milliseconds
from control_plane.kit.display import displayed

RISK = (
    "Other operations that differ only in the marked values may run without asking anybody. With other values the same "
    "statement may touch other rows, and more of them, up to all."
)


class WindowIn(BaseModel):
    """Not for this operation alone. Either `minutes`, counted from now, or `until`."""

    uses: int = Field(ge=1, le=1_000_000, description="operations at most, this one included", examples=[10])
    minutes: int | None = Field(default=None, ge=1, le=525_600, examples=[15])
    until: AwareDatetime | None = Field(default=None, examples=["2026-01-05T10:15:00Z"])

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.minutes is None) == (self.until is None):
            raise ValueError("say either `minutes` or `until`")
        return self

    def wish(self) -> Wish:
        return Wish(self.uses, self.minutes, milliseconds(self.until) if self.until else None)


class WindowOfferOut(BaseModel):
    """What you may choose in place of this one operation."""

    longest_seconds: float = Field(examples=[1800])
    most: int = Field(description="operations", examples=[20])
    shape: str = Field(
        description="the operation with marks where values may differ; everything else must be the same",
        examples=["DELETE FROM orders WHERE id = \u2039value\u203a"],
    )
    risk: str = Field(examples=[RISK])


class WindowChosenOut(BaseModel):
    until: datetime
    uses: int = Field(examples=[10])

    @classmethod
    def of(cls, vote: VoteRow) -> WindowChosenOut | None:
        if vote.window_until_ms is None:
            return None
        return cls(until=from_milliseconds(vote.window_until_ms), uses=vote.window_uses)


class WindowUseOut(BaseModel):
    number: int = Field(examples=[1])
    operation_digest: str
    at: datetime
    outcome: str = Field(description="done, failed, outcome-unknown; empty: not known yet", examples=["done"])
    result: str = Field(description="command tag or SQLSTATE", examples=["DELETE 1"])

    @classmethod
    def of(cls, use: WindowUseRow) -> WindowUseOut:
        return cls(
            number=use.number,
            operation_digest=use.operation_digest.hex(),
            at=from_milliseconds(use.consumed_at_ms),
            outcome=use.outcome,
            result=displayed(use.result).text,
        )


class WindowOut(BaseModel):
    """What was granted: the smallest that everybody who counts had chosen."""

    until: datetime
    uses: int = Field(description="at most", examples=[10])
    used: int = Field(examples=[3])
    open: bool = Field(description="operations may still run in it")
    each: list[WindowUseOut]


class EndWindowIn(BaseModel):
    reason: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$", examples=["that was enough"])


def offer_of(view: View) -> WindowOfferOut | None:
    offer, operation = view.shown.window, view.shown.operation
    if offer is None or operation is None:
        return None
    shape = displayed(operation.shape_text).text
    return WindowOfferOut(longest_seconds=offer.longest_seconds, most=offer.most, shape=shape, risk=RISK)


def granted_in(view: View) -> WindowOut | None:
    row = view.row
    if row.window_until_ms is None:
        return None
    return WindowOut(
        until=from_milliseconds(row.window_until_ms),
        uses=row.window_uses,
        used=row.window_used,
        open=is_open(row),
        each=[WindowUseOut.of(use) for use in view.uses],
    )
