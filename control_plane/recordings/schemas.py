"""A replay as the API shows it: events in the order in which they happened, results decoded into columns and rows.

Text of clients and targets is safe to print: what a screen would hide is written out. Marks of masked values
are in the rows as the client got them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class EventOut(BaseModel):
    at_ms: int = Field(description="milliseconds since the session opened", examples=[1250])


class OpenedOut(EventOut):
    kind: Literal["opened"] = "opened"
    protocol: str = Field(examples=["postgres"])
    target: str = Field(examples=["orders"])
    requester: str = Field(examples=["nightly-report"])
    client_address: str
    application_name: str
    started_at: datetime
    details: dict[str, str] = Field(examples=[{"database": "shop", "user": "app"}])


class InputParameterOut(BaseModel):
    name: str
    type: str
    value: str


class InputOut(EventOut):
    """What the client asked for, complete."""

    kind: Literal["input"] = "input"
    operation: int = Field(description="counts from 1 in the session")
    text: str = Field(examples=["DELETE FROM orders WHERE id = 1041"])
    hidden_characters: int = Field(description="how many characters were written out because a screen hides them")
    parameters: list[InputParameterOut]


class DecidedOut(EventOut):
    kind: Literal["decision"] = "decision"
    operation: int
    effect: str = Field(examples=["hold"])
    action: str = Field(examples=["write"])
    rules: list[str] = Field(examples=[["production-databases/writes-need-a-dba"]])
    code: str
    message: str


class HeldOut(EventOut):
    kind: Literal["hold"] = "hold"
    operation: int
    approval_id: str
    short_code: str
    reviewers: str = Field(examples=["1 of group dba"])
    digest: str


class HoldEndedOut(EventOut):
    kind: Literal["approval"] = "approval"
    operation: int
    approval_id: str
    outcome: str = Field(examples=["approved"])
    reason: str
    approvers: list[str] = Field(examples=[["ada"]])


class ColumnOut(BaseModel):
    name: str
    type: str = Field(examples=["integer"])


class MessageOut(BaseModel):
    kind: str = Field(examples=["error"])
    severity: str = Field(examples=["ERROR"])
    code: str = Field(description="SQLSTATE", examples=["42501"])
    message: str
    detail: str
    hint: str


class ResultOut(EventOut):
    """A piece of what the client was sent. Rows may go on in the next one, then without columns."""

    kind: Literal["result"] = "result"
    operation: int
    columns: list[ColumnOut] | None = Field(default=None, description="null: those of the result before, or not known")
    rows: list[list[str | None]] = Field(default_factory=list, description="null: NULL; `\\x…`: bytes")
    messages: list[MessageOut] = Field(default_factory=list)
    text: str = Field(default="", description="COPY OUT, or the output of a protocol that is not decoded")
    tags: list[str] = Field(default_factory=list, examples=[["DELETE 1"]])
    unreadable: str = Field(default="", description="why the rest of this result could not be decoded")


class CompletedOut(EventOut):
    kind: Literal["completed"] = "completed"
    operation: int
    status: str = Field(description="command tag, or SQLSTATE", examples=["DELETE 1"])
    rows: int
    rows_kept: int = Field(description="fewer than rows: the target's limit cut the recording, not the result")
    bytes: int


class ClosedOut(EventOut):
    kind: Literal["closed"] = "closed"
    reason: str = Field(examples=["client-closed"])
    operations: int


class BrokenOut(EventOut):
    """The recording cannot be trusted or read from here on."""

    kind: Literal["broken"] = "broken"
    reason: str


TimelineEventOut = Annotated[
    OpenedOut | InputOut | DecidedOut | HeldOut | HoldEndedOut | ResultOut | CompletedOut | ClosedOut | BrokenOut,
    Field(discriminator="kind"),
]


class TimelineOut(BaseModel):
    status: str = Field(description="receiving, complete, truncated or broken", examples=["complete"])
    events: list[TimelineEventOut]
    next_cursor: str | None = Field(description="give it as `cursor` to go on; null: this is all there is now")


class VerificationOut(BaseModel):
    """Read again from the store, segment by segment."""

    verified: bool = Field(description="every segment is whole and in its place, as far as the recording goes")
    signed: bool = Field(description="the agent's signature covers it to its end")
    status: str = Field(examples=["complete"])
    segments: int
    chain_hash: str
    problem: str = Field(description="what is wrong, and from which segment on")
