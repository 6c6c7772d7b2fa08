"""Approvals as the API shows them. Every text that came from a client is made safe to print; nothing is cut."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.approvals import words
from control_plane.approvals.act_schemas import BrokenOut, CommentOut, Digest, Said, StandInOut
from control_plane.approvals.acts import Acts
from control_plane.approvals.asked_schemas import AccessContentsOut, OperationOut, PlanContentsOut, UndoOut
from control_plane.approvals.domain import Chain, State
from control_plane.approvals.domain.emergency import NOT_OFFERED
from control_plane.approvals.impact_schemas import ImpactOut, RowGuardOut
from control_plane.approvals.kinds import Kind
from control_plane.approvals.repository import chain_of
from control_plane.approvals.review import Member, View
from control_plane.approvals.shown import Earlier, Shown, decode
from control_plane.approvals.signing_schemas import SignedOut
from control_plane.approvals.stage_schemas import StageOut, stages_of
from control_plane.approvals.tables import ApprovalRow, VoteRow
from control_plane.approvals.telling import Link
from control_plane.approvals.window_schemas import (
    WindowChosenOut,
    WindowIn,
    WindowOfferOut,
    WindowOut,
    granted_in,
    offer_of,
)
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import displayed, fitted, visible
from control_plane.security_keys.schemas import AnswerIn

_HEADLINE = 200


class WhoOut(BaseModel):
    id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["nightly-report"])


class BehindOut(WhoOut):
    kind: str = Field(examples=["person"])


class RequesterOut(WhoOut):
    kind: str = Field(examples=["machine"])
    groups: list[str] = Field(examples=[["ai-agents"]])
    owner: WhoOut | None
    on_behalf_of: list[BehindOut] = Field(description="who stands behind it, the first one first; none of them decides")
    credential_id: str
    credential: str = Field(description="what the credential says of itself")
    client_address: str = Field(examples=["10.1.2.3:51812"])
    application_name: str = Field(description="told by the client; do not trust it", examples=["psql"])

    @property
    def behalf(self) -> str:
        """As people read it. Empty: it acts for itself."""
        return " → ".join(f"{one.name} ({one.kind})" for one in self.on_behalf_of)

    @classmethod
    def shown(cls, shown: Shown) -> RequesterOut:
        return cls(
            id=shown.requester.id,
            name=shown.requester.name,
            kind=shown.requester.kind,
            groups=list(shown.requester.groups),
            owner=WhoOut(id=shown.owner.id, name=shown.owner.name) if shown.owner else None,
            on_behalf_of=[BehindOut(id=one.id, name=visible(one.name), kind=one.kind) for one in shown.behalf],
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


class DecisionOut(BaseModel):
    identity_id: str
    name: str = Field(examples=["ada"])
    verb: str = Field(examples=["approve"])
    at: datetime
    channel: str = Field(examples=["console"])
    reason: str
    in_place_of: str = Field(description="whose place it takes, by delegation; else empty", examples=[""])
    window: WindowChosenOut | None = Field(description="chosen in place of one operation; null: none")
    signature: SignedOut | None = Field(description="of their security key, over what they were shown; null: none")

    @classmethod
    def of(cls, vote: VoteRow) -> DecisionOut:
        return cls(
            identity_id=vote.identity_id,
            name=vote.name,
            verb=vote.verb,
            at=from_milliseconds(vote.at_ms),
            channel=vote.channel,
            reason=displayed(vote.reason).text,
            in_place_of=vote.for_name,
            window=WindowChosenOut.of(vote),
            signature=SignedOut.of(vote.signature),
        )


class EarlierOut(BaseModel):
    """What became of earlier requests like this one, by the same requester on the same target."""

    approved: int
    denied: int
    undecided: int = Field(description="nobody decided, or the client gave up")
    last_at: datetime | None

    @classmethod
    def of(cls, earlier: Earlier) -> EarlierOut:
        last_at = _instant(earlier.last_at_ms)
        return cls(approved=earlier.approved, denied=earlier.denied, undecided=earlier.undecided, last_at=last_at)


class LinkOut(BaseModel):
    channel: str = Field(examples=["ops-tickets"])
    label: str = Field(examples=["OPS-12"])
    url: str = Field(examples=["https://example.atlassian.net/browse/OPS-12"])

    @classmethod
    def of(cls, link: Link) -> LinkOut:
        return cls(channel=link.channel, label=visible(link.label), url=link.url)


class YouOut(BaseModel):
    may_decide: bool
    why: str = Field(description="why not; empty when you may", examples=["nobody decides on their own request"])
    place: str = Field(
        description="which place of the chain you would take; empty: none", examples=["1 of group dba (stage 1 of 2)"]
    )
    in_place_of: StandInOut | None = Field(description="you would decide in somebody's place, by this delegation")


class HowOut(BaseModel):
    """How the chain takes decisions on it."""

    channels: list[str] = Field(description="only through these; empty: through all", examples=[["console", "cli"]])
    reauthenticate_seconds: float | None = Field(
        description="how old the sign-in may be that decides: see `authenticated_at` of GET /v1/session and "
        "POST /v1/session/reauthenticate; null: as old as it is",
        examples=[300],
    )
    security_key: bool = Field(
        description="whoever approves it, or breaks the glass, has their security key sign it: see "
        "POST /v1/approvals/{id}/challenges, in a browser"
    )
    acr: list[str] = Field(description="the deciding sign-in has one of these contexts; empty: any", examples=[["phr"]])
    amr: list[str] = Field(description="the deciding sign-in used all of these methods; empty: any", examples=[[]])
    break_glass: bool = Field(description="a person with the permission break-glass may override the chain")

    @classmethod
    def of(cls, chain: Chain) -> HowOut:
        seconds = chain.reauthenticate_seconds or None
        return cls(
            channels=list(chain.channels),
            reauthenticate_seconds=seconds,
            security_key=chain.security_key,
            acr=list(chain.acr),
            amr=list(chain.amr),
            break_glass=chain.break_glass,
        )


class YouMayOut(BaseModel):
    """What you may do besides deciding."""

    comment: bool
    withdraw: bool
    break_glass: bool
    why_not_break_glass: str = Field(description="empty when you may", examples=[NOT_OFFERED])

    @classmethod
    def of(cls, acts: Acts) -> YouMayOut:
        why = acts.why_not_break_glass
        return cls(comment=acts.may_comment, withdraw=acts.may_withdraw, break_glass=not why, why_not_break_glass=why)


class ApprovalSummaryOut(BaseModel):
    id: str
    kind: Kind = Field(examples=["operation"])
    count: int = Field(description="identical requests that wait, this one included: they are one card", examples=[1])
    short_code: str = Field(description="the client was told this code too", examples=["7KQ2MX"])
    state: str = Field(examples=["pending"])
    headline: str = Field(description="the beginning of what is asked", examples=["DELETE FROM orders"])
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


class AlikeOut(BaseModel):
    """An identical request that waits in another session; give it back in `also` to decide on it too."""

    id: str
    short_code: str = Field(examples=["7KQ2MX"])
    session_id: str
    client_address: str = Field(examples=["10.1.2.3:51812"])
    credential_id: str
    requested_at: datetime
    approve_by: datetime
    digest: str

    @classmethod
    def of(cls, row: ApprovalRow) -> AlikeOut:
        return cls(
            id=row.id,
            short_code=row.short_code,
            session_id=row.session_id,
            client_address=visible(decode(row.shown).client.address),
            credential_id=row.credential_id,
            requested_at=from_milliseconds(row.requested_at_ms),
            approve_by=from_milliseconds(row.approve_by_ms),
            digest=row.shown_digest.hex(),
        )


class ApprovalOut(ApprovalSummaryOut):
    digest: str = Field(description="of what is shown here; give it back with your decision")
    reason: str = Field(description="why it ended as it did")
    text: str = Field(description="what is asked, complete, whatever its kind", examples=["DELETE FROM orders"])
    hidden_characters: int = Field(description="how many characters of it were written out")
    operation: OperationOut | None = Field(description="of the kind `operation`")
    plan: PlanContentsOut | None = Field(description="of the kind `plan`")
    access: AccessContentsOut | None = Field(description="of the kind `access`")
    alike: list[AlikeOut] = Field(description="identical requests of the same requester that wait, oldest first")
    requested_by: RequesterOut
    on: TargetOut
    policy_version: int
    chain: str = Field(examples=["production-dba"])
    stages: list[StageOut]
    decisions: list[DecisionOut]
    how: HowOut
    stand_ins: list[StandInOut] = Field(description="who may decide in whose place, while it is pending")
    comments: list[CommentOut] = Field(description="oldest first")
    broken_glass: BrokenOut | None = Field(description="who overrode the chain; null: nobody")
    you_may: YouMayOut
    ticket: bool = Field(description="the client need not wait: it may come back with the same operation")
    execute_by: datetime | None
    finished_at: datetime | None
    result: str = Field(description="command tag or SQLSTATE of what ran", examples=["DELETE 1"])
    silence: str = Field(description="what it means when nobody decides")
    said: str = Field(
        description="what the requester says it is for: untrusted text, empty when nothing was said",
        examples=["clean-up after ticket 4711"],
    )
    undo: UndoOut | None = Field(description="of an operation")
    window_offered: WindowOfferOut | None = Field(description="what you may choose; null: this operation alone")
    window: WindowOut | None = Field(description="what was granted; null: one operation, or nothing yet")
    earlier: EarlierOut
    impact: ImpactOut | None = Field(description="null: policy asks for no preview, or you only see what you asked for")
    row_guard: RowGuardOut | None = Field(description="null: the chain has none, or you only see what you asked for")
    nobody_told: bool = Field(description="channels were to tell of it outside, and none could")
    links: list[LinkOut] = Field(description="what belongs to it elsewhere: tickets")

    @classmethod
    def full(cls, view: View) -> ApprovalOut:
        row, shown, text = view.row, view.shown, displayed(view.shown.asked.text)
        return cls(
            **_summary(view),
            digest=row.shown_digest.hex(),
            reason=displayed(row.reason).text,
            text=text.text,
            hidden_characters=text.hidden,
            operation=OperationOut.of(shown.operation) if shown.operation else None,
            alike=[AlikeOut.of(one) for one in view.alike],
            plan=PlanContentsOut.of(shown.plan) if shown.plan else None,
            access=AccessContentsOut.of(shown.access) if shown.access else None,
            requested_by=RequesterOut.shown(shown),
            on=TargetOut(
                name=shown.target.name,
                protocol=shown.target.protocol,
                environment=shown.target.environment,
                labels=shown.target.labels,
            ),
            policy_version=row.policy_version,
            chain=shown.chain.name,
            **_beside(view),
            ticket=row.ticket,
            execute_by=_instant(row.execute_by_ms),
            finished_at=_instant(row.finished_at_ms),
            result=displayed(row.result).text,
            silence=shown.silence,
            said=displayed(shown.reason).text,
            undo=UndoOut.of(shown.undo) if shown.undo else None,
            window_offered=offer_of(view),
            window=granted_in(view),
            earlier=EarlierOut.of(shown.earlier),
            impact=ImpactOut.of(shown.impact),
            row_guard=RowGuardOut.of(shown.row_guard),
        )


class AlikeIn(BaseModel):
    id: str = Field(max_length=64)
    digest: Digest


class ApproveIn(BaseModel):
    digest: Digest = Field(description="the `digest` of the approval that you looked at")
    channel: str = Field(
        default="rest",
        pattern="^(console|cli|rest)$",
        description="cli or rest, as a bearer token says of itself; a browser's cookie is always the console, and "
        "nothing else is",
    )

    also: list[AlikeIn] = Field(default=[], max_length=200, description="others of the same card that are meant too")

    def others(self) -> tuple[Member, ...]:
        return tuple(Member(one.id, bytes.fromhex(one.digest)) for one in self.also)


class AgreeIn(ApproveIn):
    window: WindowIn | None = Field(default=None, description="left out: this operation alone")
    signature: AnswerIn | None = Field(default=None, description="where `how.security_key` says so")


class DenyIn(ApproveIn):
    reason: Said = Field(description="shown to the requester", examples=["this table has no backup; take one first"])


def _beside(view: View) -> dict[str, Any]:
    """The present state, which is no part of what was shown."""
    return {
        "stages": stages_of(view.row, view.progress),
        "decisions": [DecisionOut.of(vote) for vote in view.votes],
        "how": HowOut.of(view.shown.chain),
        "stand_ins": [StandInOut.of(row) for row in view.acts.stand_ins],
        "comments": [CommentOut.of(row) for row in view.acts.comments],
        "broken_glass": BrokenOut.of(view.acts.broken) if view.acts.broken else None,
        "you_may": YouMayOut.of(view.acts),
        "nobody_told": view.telling.nobody_told,
        "links": [LinkOut.of(link) for link in view.telling.links],
    }


def _summary(view: View) -> dict[str, Any]:
    row = view.row
    headline = fitted(displayed(view.shown.asked.text).text, _HEADLINE)
    return {
        "id": row.id,
        "kind": row.kind,
        "count": 1 + len(view.alike),
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
        "you": YouOut(
            may_decide=view.may_decide,
            why=view.why,
            place=words.place_words(chain_of(row), view.place) if view.place and view.may_decide else "",
            in_place_of=StandInOut.of(view.in_place_of) if view.in_place_of and view.may_decide else None,
        ),
    }


def _waits_for(view: View) -> str:
    chain = chain_of(view.row)
    if view.row.state != State.PENDING or not chain.stages:
        return ""
    return words.waits_for(chain, view.progress, view.seen.request.escalated)


def _instant(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else from_milliseconds(unix_ms)
