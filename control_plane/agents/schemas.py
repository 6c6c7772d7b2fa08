"""What the API says of agents and join tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from control_plane.agents.service import Listed, MintedJoinToken
from control_plane.agents.tables import AgentInstanceRow, JoinTokenRow


class InstanceOut(BaseModel):
    id: str = Field(examples=["inst_5c1d0e9a7b3f2c4d6e8f"])
    version: str = Field(examples=["0.1.0"])
    connected: bool
    connected_at: datetime
    seen_at: datetime
    open_sessions: int
    held_operations: int
    spool_bytes: int = Field(description="recordings that wait for upload")
    snapshot_version: int = Field(description="what is in force there")
    snapshot_problem: str = Field(description="why it refused a newer snapshot; empty: it did not")
    notice: str = Field(description="the last thing it wanted an admin to see")

    @classmethod
    def of(cls, row: AgentInstanceRow) -> Self:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class AgentOut(BaseModel):
    id: str = Field(examples=["agt_abcdefghijklmnopqrst"])
    name: str = Field(examples=["demo"])
    disabled: bool
    connected: bool = Field(description="at least one instance has a stream now")
    created_at: datetime
    instances: list[InstanceOut]

    @classmethod
    def of(cls, listed: Listed) -> Self:
        row = listed.agent
        return cls(
            id=row.id,
            name=row.name,
            disabled=row.disabled,
            connected=any(one.connected for one in listed.instances),
            created_at=row.created_at,
            instances=[InstanceOut.of(one) for one in listed.instances],
        )


class DrainIn(BaseModel):
    seconds: int = Field(default=60, ge=0, le=3600, description="sessions that are still open then are ended")


class JoinTokenIn(BaseModel):
    agent: str = Field(examples=["demo"], max_length=64, description="the only agent that may use it")
    expires_in: int = Field(default=3600, ge=60, le=604_800, description="seconds")


class JoinTokenOut(BaseModel):
    id: str = Field(examples=["jtk_abcdefghijklmnopqrst"])
    agent: str
    created_by: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: JoinTokenRow) -> Self:
        return cls(
            id=row.id,
            agent=row.agent_name,
            created_by=row.created_by,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )


class MintedJoinTokenOut(JoinTokenOut):
    token: str = Field(description="shown once; good for one enrolment")
    ca: str = Field(description="PEM: what the agent's control_plane_ca file must hold")

    @classmethod
    def minted(cls, minted: MintedJoinToken, ca: str) -> Self:
        shown = JoinTokenOut.of(minted.row)
        return cls(**shown.model_dump(), token=minted.token.reveal(), ca=ca)
