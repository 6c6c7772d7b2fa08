"""API tokens as the API shows them. The token itself is shown once, when it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from control_plane.api_tokens.domain import LONGEST, Givable
from control_plane.api_tokens.tables import ApiTokenRow

ONCE = "shown this once; null when the request was repeated: if nobody got it, revoke it by its id and make another"
Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", min_length=1, max_length=64)]


class ApiTokenIn(BaseModel):
    name: Label = Field(description="what it is for", examples=["nightly report"])
    permissions: list[Givable] = Field(
        min_length=1, max_length=16, description="of those that you have yourself", examples=[["audit"]]
    )
    ttl_seconds: int = Field(default=86_400, ge=60, le=int(LONGEST.total_seconds()))


class ApiTokenOut(BaseModel):
    id: str = Field(examples=["pat_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["nightly report"])
    identity: str = Field(description="whose it is", examples=["ada"])
    permissions: list[str] = Field(description="at most these, while the person has them", examples=[["audit"]])
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="to the minute; null: never")

    @classmethod
    def of(cls, row: ApiTokenRow, owner: str) -> ApiTokenOut:
        names = ("id", "name", "permissions", "created_at", "expires_at", "last_used_at")
        return cls(identity=owner, **{name: getattr(row, name) for name in names})


class NewApiTokenOut(ApiTokenOut):
    token: str | None = Field(description=f"for `Authorization: Bearer`; {ONCE}", examples=["assentry_p_…"])
