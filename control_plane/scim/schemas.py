"""Shapes of `/v1/scim-clients`. A token is shown once, when it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from control_plane.identities.schemas import ONCE
from control_plane.kit.names import Name
from control_plane.scim.clients import Described, Link
from control_plane.scim.domain import LONGEST_LIFETIME_DAYS
from control_plane.scim.tables import ScimTokenRow

PlainText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]
Subject = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=255)]


class ScimTokenOut(BaseModel):
    id: str = Field(examples=["sct_3xk2cqz7q5n4h6mjv2ab"])
    created_at: datetime
    created_by: str = Field(examples=["admin"])
    expires_at: datetime
    last_used_at: datetime | None = Field(description="to the hour; null: never")

    @classmethod
    def of(cls, row: ScimTokenRow) -> ScimTokenOut:
        return cls(
            id=row.id,
            created_at=row.created_at,
            created_by=row.created_by,
            expires_at=row.expires_at,
            last_used_at=row.last_used_at,
        )


class NewScimTokenOut(ScimTokenOut):
    token: str | None = Field(description=f"for the provider; {ONCE}", examples=["assentry_i_…"])


class ScimTokenIn(BaseModel):
    ttl_days: int = Field(default=180, ge=1, le=LONGEST_LIFETIME_DAYS)


class LinkIO(BaseModel):
    """When the client pushes this subject, it is this person or this group, which is here already."""

    subject: Subject = Field(description="the external id; with `by_name` the displayName", examples=["00u1a2b3c4"])
    by_name: bool = Field(
        default=False,
        description="of a group only: whichever is called so first. Who may name groups at the provider decides it",
    )
    identity: Name | None = Field(default=None, examples=["ada"])
    group: Name | None = Field(default=None, examples=["dba"])

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.identity is None) == (self.group is None):
            raise ValueError("name an identity or a group")
        if self.by_name and self.identity is not None:
            raise ValueError("people choose their user names: link a person by the external id")
        return self

    @property
    def link(self) -> Link:
        return Link(self.subject, self.identity or "", self.group or "", self.by_name)


class ScimClientIn(BaseModel):
    name: Name = Field(examples=["corp"])
    provider: Name | None = Field(
        default=None,
        description="the IdentityProvider whose subjects its external ids are: whom it pushes may sign in there",
        examples=["corp"],
    )
    description: PlainText = Field(default="", examples=["Okta of the company"])


class ScimClientOut(BaseModel):
    name: str = Field(examples=["corp"])
    provider: str = Field(description="empty: its external ids are of nobody known here", examples=["corp"])
    description: str = Field(examples=["Okta of the company"])
    url: str = Field(description="for the provider", examples=["https://assentry.example.org/scim/v2/corp"])
    created_at: datetime
    created_by: str = Field(examples=["admin"])
    people: int = Field(description="whom it has pushed and not deleted", examples=[120])
    groups: int = Field(examples=[7])
    tokens: list[ScimTokenOut] = Field(description="that are good; two at most")
    links: list[LinkIO] = Field(description="that wait for its next push")

    @classmethod
    def of(cls, one: Described) -> ScimClientOut:
        return cls(
            name=one.row.name,
            provider=one.row.provider,
            description=one.row.description,
            url=one.url,
            created_at=one.row.created_at,
            created_by=one.row.created_by,
            people=one.people,
            groups=one.groups,
            tokens=[ScimTokenOut.of(row) for row in one.tokens],
            links=[
                LinkIO(subject=link.subject, identity=link.identity or None, group=link.group or None)
                for link in one.links
            ],
        )
