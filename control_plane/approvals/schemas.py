"""Approvals as the API shows them. Every text that came from a client is made safe to print; nothing is cut."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.approvals.domain import describe
from control_plane.approvals.reports import Parameter, Resource
from control_plane.approvals.repository import chain_of
from control_plane.approvals.review import View
from control_plane.approvals.shown import Operation, Shown
from control_plane.approvals.tables import VoteRow
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import displayed, fitted, visible

_HEADLINE = 200


class ResourceOut(BaseModel):
    kind: str = Field(examples=["relation"])
    name: str = Field(examples=["public.orders"])
    access: list[str] = Field(examples=[["write"]])

    @classmethod
    def of(cls, resource: Resource) -> ResourceOut:
        return cls(kind=resource.kind, name=visible(resource.name), access=list(resource.access))


class ParameterOut(BaseModel):
    name: str = Field(examples=["$1"])
    type: str = Field(examples=["int4"])
    value: str = Field(examples=["1041"])
    decoded: bool = Field(description="false: the value is hex of bytes that could not be decoded")
    null: bool

    @classmethod
    def of(cls, parameter: Parameter) -> ParameterOut:
        return cls(
            name=visible(parameter.name),
            type=visible(parameter.type),
            value=displayed(parameter.value).text,
            decoded=parameter.decoded,
            null=parameter.null,
        )


class OperationOut(BaseModel):
    id: str
    action: str = Field(examples=["write"])
    verbs: list[str] = Field(examples=[["DELETE"]])
    resources: list[ResourceOut]
    text: str = Field(
        description="complete; what a screen would hide is written out as ⟨U+200B ZERO WIDTH SPACE⟩",
        examples=["DELETE FROM orders WHERE id = 1041"],
    )
    hidden_characters: int = Field(description="how many characters were written out; above 0 deserves a warning")
    exact_text: str = Field(description="the text as the client sent it: never print it on a terminal")
    parameters: list[ParameterOut]
    facts: dict[str, Any]
    session_state: dict[str, str] = Field(examples=[{"search_path": "public"}])
    in_transaction: bool = Field(description="the client holds a transaction open, and perhaps locks, while it waits")
    raw_hex: str = Field(description="bytes beyond the text that would be sent")
    digest: str = Field(description="SHA-256 of everything that would execute; what a grant is for")

    @classmethod
    def of(cls, operation: Operation) -> OperationOut:
        text = displayed(operation.text)
        return cls(
            id=operation.id,
            action=operation.action,
            verbs=list(operation.verbs),
            resources=[ResourceOut.of(resource) for resource in operation.resources],
            text=text.text,
            hidden_characters=text.hidden,
            exact_text=operation.text,
            parameters=[ParameterOut.of(parameter) for parameter in operation.parameters],
            facts=operation.facts,
            session_state={visible(name): visible(value) for name, value in operation.session_state},
            in_transaction=operation.in_transaction,
            raw_hex=operation.raw.hex(),
            digest=operation.digest,
        )


class WhoOut(BaseModel):
    id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["nightly-report"])


class RequesterOut(WhoOut):
    kind: str = Field(examples=["machine"])
    groups: list[str] = Field(examples=[["ai-agents"]])
    owner: WhoOut | None
    credential_id: str
    credential: str = Field(description="what the credential says of itself")
    client_address: str = Field(examples=["10.1.2.3:51812"])
    application_name: str = Field(description="told by the client; do not trust it", examples=["psql"])

    @classmethod
    def shown(cls, shown: Shown) -> RequesterOut:
        return cls(
            id=shown.requester.id,
            name=shown.requester.name,
            kind=shown.requester.kind,
            groups=list(shown.requester.groups),
            owner=WhoOut(id=shown.owner.id, name=shown.owner.name) if shown.owner else None,
            credential_id=shown.credential.id,
            credential=visible(shown.credential.description),
            client_address=visible(shown.client.address),
            application_name=visible(shown.client.application_name),
        )


class TargetOut(BaseModel):
    name: str = Field(examples=["orders"])
    protocol: str = Field(examples=["postgres"])
    environment: str = Field(examples=["production"])
    labels: dict[str, str]


class StageOut(BaseModel):
    needs: str = Field(examples=["1 of group dba"])
    groups: list[str]
    required: int
    missing: int = Field(description="how many people this stage still waits for")


class DecisionOut(BaseModel):
    identity_id: str
    name: str = Field(examples=["ada"])
    verb: str = Field(examples=["approve"])
    at: datetime
    channel: str = Field(examples=["console"])
    reason: str

    @classmethod
    def of(cls, vote: VoteRow) -> DecisionOut:
        return cls(
            identity_id=vote.identity_id,
            name=vote.name,
            verb=vote.verb,
            at=from_milliseconds(vote.at_ms),
            channel=vote.channel,
            reason=displayed(vote.reason).text,
        )


class EarlierOut(BaseModel):
    """What became of earlier requests like this one, by the same requester on the same target."""

    approved: int
    denied: int
    undecided: int = Field(description="nobody decided, or the client gave up")
    last_at: datetime | None


class YouOut(BaseModel):
    may_decide: bool
    why: str = Field(description="why not; empty when you may", examples=["nobody decides on their own request"])


class ApprovalSummaryOut(BaseModel):
    id: str
    short_code: str = Field(description="the client was told this code too", examples=["7KQ2MX"])
    state: str = Field(examples=["pending"])
    headline: str = Field(description="the beginning of the operation's text", examples=["DELETE FROM orders"])
    hidden_bytes: int = Field(description="bytes of the text that the headline leaves out")
    requester: str = Field(examples=["nightly-report"])
    target: str = Field(examples=["orders"])
    environment: str = Field(examples=["production"])
    action: str = Field(examples=["write"])
    rule: str = Field(examples=["production-databases/writes-need-a-dba"])
    requested_at: datetime
    approve_by: datetime
    decided_at: datetime | None
    waits_for: str = Field(description="empty: it waits for nobody", examples=["1 more of group dba"])
    you: YouOut

    @classmethod
    def of(cls, view: View) -> ApprovalSummaryOut:
        return cls(**_summary(view))


class ApprovalOut(ApprovalSummaryOut):
    digest: str = Field(description="of what is shown here; give it back with your decision")
    reason: str = Field(description="why it ended as it did")
    operation: OperationOut
    requested_by: RequesterOut
    on: TargetOut
    policy_version: int
    chain: str = Field(examples=["production-dba"])
    stages: list[StageOut]
    decisions: list[DecisionOut]
    ticket: bool = Field(description="the client need not wait: it may come back with the same operation")
    execute_by: datetime | None
    finished_at: datetime | None
    result: str = Field(description="command tag or SQLSTATE of what ran", examples=["DELETE 1"])
    silence: str = Field(description="what it means when nobody decides")
    earlier: EarlierOut

    @classmethod
    def full(cls, view: View) -> ApprovalOut:
        row, shown = view.row, view.shown
        earlier = shown.earlier
        return cls(
            **_summary(view),
            digest=row.shown_digest.hex(),
            reason=displayed(row.reason).text,
            operation=OperationOut.of(shown.operation),
            requested_by=RequesterOut.shown(shown),
            on=TargetOut(
                name=shown.target.name,
                protocol=shown.target.protocol,
                environment=shown.target.environment,
                labels=shown.target.labels,
            ),
            policy_version=row.policy_version,
            chain=shown.chain.name,
            stages=_stages(view),
            decisions=[DecisionOut.of(vote) for vote in view.votes],
            ticket=row.ticket,
            execute_by=_instant(row.execute_by_ms),
            finished_at=_instant(row.finished_at_ms),
            result=displayed(row.result).text,
            silence=shown.silence,
            earlier=EarlierOut(
                approved=earlier.approved,
                denied=earlier.denied,
                undecided=earlier.undecided,
                last_at=_instant(earlier.last_at_ms),
            ),
        )


class ApproveIn(BaseModel):
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="the `digest` of the approval that you looked at")
    channel: str = Field(default="rest", pattern="^(console|cli|rest)$")


class DenyIn(ApproveIn):
    reason: str = Field(min_length=1, max_length=2000, description="shown to the requester")


def _summary(view: View) -> dict[str, Any]:
    row = view.row
    headline = fitted(displayed(view.shown.operation.text).text, _HEADLINE)
    return {
        "id": row.id,
        "short_code": row.short_code,
        "state": row.state,
        "headline": headline.text,
        "hidden_bytes": headline.hidden_bytes,
        "requester": view.shown.requester.name,
        "target": row.target,
        "environment": row.environment,
        "action": row.action,
        "rule": f"{row.policy}/{row.rule}",
        "requested_at": from_milliseconds(row.requested_at_ms),
        "approve_by": from_milliseconds(row.approve_by_ms),
        "decided_at": _instant(row.decided_at_ms),
        "waits_for": _waits_for(view),
        "you": YouOut(may_decide=view.may_decide, why=view.why),
    }


def _stages(view: View) -> list[StageOut]:
    stages = []
    for index, stage in enumerate(chain_of(view.row).stages):
        later = index > view.progress.stage
        missing = stage.required if later else view.progress.missing if index == view.progress.stage else 0
        stages.append(
            StageOut(needs=describe(stage), groups=list(stage.groups), required=stage.required, missing=missing)
        )
    return stages


def _waits_for(view: View) -> str:
    stages = chain_of(view.row).stages
    if view.row.state != "pending" or not stages:
        return ""
    stage = stages[view.progress.stage]
    word = "group" if len(stage.groups) == 1 else "groups"
    return f"{view.progress.missing} more of {word} {', '.join(stage.groups)}"


def _instant(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else from_milliseconds(unix_ms)
