"""Security keys as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.security_keys.service import Answer, Ceremony
from control_plane.security_keys.tables import SecurityKeyRow


class SecurityKeyOut(BaseModel):
    id: str = Field(examples=["sky_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["blue key on my ring"])
    model: str = Field(description="AAGUID; empty: the key does not tell")
    synced: bool = Field(description="its owner's devices may share it, as passkeys are")
    created_at: datetime
    last_used_at: datetime | None
    blocked_at: datetime | None = Field(description="its counter went back, so there is a copy: it proves nothing")

    @classmethod
    def of(cls, row: SecurityKeyRow) -> SecurityKeyOut:
        return cls(
            id=row.id,
            name=row.name,
            model=row.model,
            synced=row.synced,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            blocked_at=row.blocked_at,
        )


class CeremonyOut(BaseModel):
    challenge_id: str = Field(description="give it back with the browser's answer; good once", examples=["skc_…"])
    public_key: dict[str, Any] = Field(
        description="for `navigator.credentials`, by `PublicKeyCredential.parse…OptionsFromJSON`: bytes are base64url"
    )
    expires_at: datetime

    @classmethod
    def of(cls, ceremony: Ceremony) -> CeremonyOut:
        return cls(
            challenge_id=ceremony.challenge_id, public_key=dict(ceremony.options), expires_at=ceremony.expires_at
        )


class AnswerIn(BaseModel):
    """What the browser made of a ceremony."""

    challenge_id: str = Field(max_length=64)
    credential: dict[str, Any] = Field(description="the PublicKeyCredential, as its `toJSON` has it")

    def answer(self) -> Answer:
        return Answer(self.challenge_id, self.credential)


class SecurityKeyIn(AnswerIn):
    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["blue key on my ring"])
