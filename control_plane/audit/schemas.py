"""The audit log as the API shows it."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.audit.sealed import Decision
from control_plane.audit.service import Shown
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.keys import PublicKey


class ActorOut(BaseModel):
    id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["ada"])
    kind: str = Field(examples=["person"])


class DecisionOut(BaseModel):
    """What policy said of one operation of the session that is the entry's subject."""

    operation: int = Field(description="counts from 1 in the session", examples=[7])
    at: datetime
    effect: str = Field(examples=["deny"])
    action: str = Field(examples=["write"])
    rules: list[str] = Field(examples=[["production-databases/writes-without-where-never"]])
    code: str = Field(description="why it was refused; else empty", examples=["POLICY"])

    @classmethod
    def of(cls, decision: Decision) -> DecisionOut:
        return cls.model_construct(
            operation=decision.operation,
            at=from_milliseconds(decision.at_ms),
            effect=decision.effect,
            action=decision.action,
            rules=list(decision.rules),
            code=decision.code,
        )


class AuditEntryOut(BaseModel):
    sequence: int = Field(examples=[412])
    at: datetime
    kind: str = Field(examples=["policy.updated"])
    actor: ActorOut
    subject: str = Field(examples=["production-databases"])
    data: dict[str, Any]
    decisions: list[DecisionOut] = Field(description="those of a batch, in order; else empty")
    unreadable: str = Field(description="why the batch of this entry cannot be shown; else empty", examples=[""])

    @classmethod
    def of(cls, shown: Shown) -> AuditEntryOut:
        entry = shown.entry
        return cls(
            sequence=entry.sequence,
            at=from_milliseconds(entry.at_ms),
            kind=entry.kind,
            actor=ActorOut(**entry.actor),
            subject=entry.subject,
            data=dict(entry.data),
            decisions=[DecisionOut.of(decision) for decision in shown.decisions],
            unreadable=shown.unreadable,
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
