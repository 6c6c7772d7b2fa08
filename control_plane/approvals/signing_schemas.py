"""Signatures of security keys as the API takes and shows them."""

from __future__ import annotations

from typing import Literal, Self

import msgspec
from pydantic import BaseModel, Field

from control_plane.approvals.act_schemas import Digest
from control_plane.approvals.review import Member
from control_plane.approvals.window_schemas import WindowIn
from control_plane.security_keys.signed import Signed


class LookedAtIn(BaseModel):
    id: str = Field(max_length=64)
    digest: Digest


class SignatureAskedIn(BaseModel):
    """What is to be signed: as it will be decided, in every word."""

    verb: Literal["approve", "break-glass"]
    digest: Digest = Field(description="the `digest` of the approval that you looked at")
    also: list[LookedAtIn] = Field(default=[], max_length=200, description="others of the same card that are meant too")
    window: WindowIn | None = Field(default=None, description="left out: this operation alone")

    def looked_at(self, approval_id: str) -> list[Member]:
        others = [Member(one.id, bytes.fromhex(one.digest)) for one in self.also]
        return [Member(approval_id, bytes.fromhex(self.digest)), *others]


class SignedOut(BaseModel):
    """Complete: whoever has it can check it offline. Bytes are base64url; see WebAuthn Level 2, section 7.2."""

    key_id: str = Field(examples=["sky_3xk2cqz7q5n4h6mjv2ab"])
    public_key: str = Field(description="SubjectPublicKeyInfo; whose it is says `security-key.registered` in the log")
    rp_id: str = Field(examples=["assentry.example.org"])
    origin: str = Field(examples=["https://assentry.example.org"])
    statement: str = Field(
        description="what was signed, as JSON: who, what, and the digests of what was shown and of the operation; the "
        "challenge in `client_data` is the SHA-256 of `assentry-security-key-v1`, a zero byte and this"
    )
    client_data: str
    authenticator_data: str
    signature: str

    @classmethod
    def of(cls, kept: str) -> Self | None:
        """As a row keeps it."""
        return cls(**msgspec.structs.asdict(msgspec.json.decode(kept, type=Signed))) if kept else None
