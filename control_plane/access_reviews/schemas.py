"""The report and campaigns as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from control_plane.access_reviews.domain import Access, Campaign, Finding, State, Thing
from control_plane.access_reviews.service import Asked
from control_plane.access_reviews.tables import AccessReviewRow
from control_plane.kit.access import Principal

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]


class ThingOut(BaseModel):
    """One thing by which the identity has access."""

    kind: str = Field(examples=["service-account-key"])
    id: str = Field(examples=["key_3xk2cqz7q5n4h6mjv2ab"])
    description: str = Field(examples=["CI of the shop"])
    created_at: datetime
    expires_at: datetime | None = Field(description="null: it does not end by itself")
    last_used_at: datetime | None = Field(description="null: not known to be used")
    findings: list[Finding] = Field(examples=[["never-rotated"]])

    @classmethod
    def of(cls, thing: Thing, access: Access) -> ThingOut:
        return cls(
            kind=thing.kind,
            id=thing.id,
            description=thing.description,
            created_at=thing.created_at,
            expires_at=thing.expires_at,
            last_used_at=thing.last_used_at,
            findings=[*access.findings_of[thing.id]],
        )


class AccessOut(BaseModel):
    """One identity: what it has access by, what it may do, and what of that it did in the last 90 days."""

    name: str = Field(examples=["deploy-bot"])
    kind: Literal["person", "machine"]
    owner: str = Field(description="of a machine: the person who answers for it", examples=["ada"])
    able: bool = Field(description="false: it is disabled, or its owner is")
    purpose: str = Field(examples=["migrates the orders database"])
    source: str = Field(description="who made it; empty: this control plane", examples=["scim:corp"])
    created_at: datetime
    ends_at: datetime | None
    last_seen_at: datetime | None = Field(description="to the hour; null: never")
    groups: list[str] = Field(examples=[["bots"]])
    permissions: list[str] = Field(description="what it holds", examples=[["request", "self"]])
    used: dict[str, datetime] = Field(description="what it used, and when last", examples=[{}])
    unused: list[str] = Field(description="privileges that it holds and did not use", examples=[["terminate"]])
    findings: list[Finding] = Field(description="what deserves a look", examples=[["no-end"]])
    things: list[ThingOut]

    @classmethod
    def of(cls, access: Access) -> AccessOut:
        identity = access.identity
        return cls(
            name=identity.name,
            kind=identity.kind,
            owner=identity.owner,
            able=identity.able,
            purpose=identity.purpose,
            source=identity.source,
            created_at=access.known.created_at,
            ends_at=identity.ends_at,
            last_seen_at=access.known.last_seen_at,
            groups=list(identity.groups),
            permissions=sorted(access.held),
            used=dict(sorted(access.used.items())),
            unused=access.unused,
            findings=[*access.findings],
            things=[ThingOut.of(thing, access) for thing in access.things],
        )


class AccessReviewIn(BaseModel):
    name: Annotated[Line, Field(min_length=1, examples=["second quarter"])]
    deadline_at: AwareDatetime = Field(description="what nobody has confirmed by then is lost")


class ItemOut(BaseModel):
    number: int = Field(examples=[1])
    kind: str = Field(examples=["machine"])
    thing: str = Field(description="its id", examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    identity: str = Field(description="whose access it is", examples=["deploy-bot"])
    description: str = Field(examples=["migrates the orders database"])
    findings: list[str] = Field(description="when the review began", examples=[["never-used"]])
    last_used_at: datetime | None
    owner: str = Field(description="who is asked now; empty: nobody is left to ask", examples=["ada"])
    yours: bool = Field(description="you are asked")
    state: State
    decided_by: str = Field(examples=["ada"])
    decided_at: datetime | None
    comment: str = Field(examples=["still needed until the migration is done"])

    @classmethod
    def of(cls, asked: Asked, principal: Principal) -> ItemOut:
        row = asked.row
        return cls(
            number=row.number,
            kind=row.kind,
            thing=row.thing_id,
            identity=row.identity,
            description=row.description,
            findings=row.findings,
            last_used_at=row.last_used_at,
            owner=asked.owner.name if asked.owner else "",
            yours=asked.is_for(principal),
            state=State(row.state),
            decided_by=row.decided_by,
            decided_at=row.decided_at,
            comment=row.comment,
        )


class AccessReviewOut(BaseModel):
    id: str = Field(examples=["arv_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["second quarter"])
    state: Campaign
    opened_by: str = Field(examples=["ada"])
    opened_at: datetime
    deadline_at: datetime
    closed_at: datetime | None

    @classmethod
    def of(cls, row: AccessReviewRow) -> AccessReviewOut:
        names = ("id", "name", "opened_by", "opened_at", "deadline_at", "closed_at")
        return cls(state=Campaign(row.state), **{name: getattr(row, name) for name in names})


class AccessReviewWithItemsOut(AccessReviewOut):
    items: list[ItemOut] = Field(description="all for auditors and admins; else those about which you are asked")


class DecisionIn(BaseModel):
    decision: Literal["keep", "end"] = Field(description="end: it ends now, with all that rests on it")
    comment: Line = ""
