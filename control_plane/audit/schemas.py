"""The audit log as the API shows it."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.audit.chain import Entry
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.keys import PublicKey


class ActorOut(BaseModel):
    id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["ada"])
    kind: str = Field(examples=["person"])


class AuditEntryOut(BaseModel):
    sequence: int = Field(examples=[412])
    at: datetime
    kind: str = Field(examples=["policy.updated"])
    actor: ActorOut
    subject: str = Field(examples=["production-databases"])
    data: dict[str, Any]
    parts: list[dict[str, Any]] = Field(description="one for every decision of a batch; else empty")

    @classmethod
    def of(cls, entry: Entry) -> AuditEntryOut:
        return cls(
            sequence=entry.sequence,
            at=from_milliseconds(entry.at_ms),
            kind=entry.kind,
            actor=ActorOut(**entry.actor),
            subject=entry.subject,
            data=dict(entry.data),
            parts=[dict(part) for part in entry.parts],
        )


class CheckpointOut(BaseModel):
    """Keep it somewhere else: with it, `assentry audit verify --checkpoint` sees that a later export was cut."""

    deployment: str = Field(examples=["assentry"])
    sequence: int = Field(examples=[412])
    hash: str = Field(examples=["9f" * 32])
    at_ms: int = Field(examples=[1790000000000])
    key_id: str = Field(examples=["key_g4ca6othkeuqrxnl"])
    signature: str = Field(description="base64 of an Ed25519 signature", examples=["c2lnbmF0dXJl"])


class PublicKeyOut(BaseModel):
    key_id: str = Field(examples=["key_g4ca6othkeuqrxnl"])
    public_key: str = Field(description="base64 of 32 bytes, Ed25519", examples=["OV3p5JMTW1JS8t2MM0vT3/8nLbHcObk="])

    @classmethod
    def of(cls, key: PublicKey) -> PublicKeyOut:
        return cls(key_id=key.key_id, public_key=base64.b64encode(key.raw).decode())
