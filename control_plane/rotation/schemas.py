"""What the API says of rotations and of the accounts that agents use."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import msgspec
from pydantic import BaseModel, Field

from control_plane.kit.display import visible
from control_plane.rotation.report import Line
from control_plane.rotation.tables import RotationRow


class RotationOut(BaseModel):
    id: str = Field(examples=["rot_abcdefghijklmnopqrst"])
    target: str = Field(examples=["orders"])
    state: str = Field(description="running, done or failed")
    cause: str = Field(description="cadence, demand, or retry of one that failed")
    asked_by: str
    started_at: datetime
    ended_at: datetime | None
    account: str = Field(description="in use from then on; empty: it has not come so far")
    previous: str
    resumed: bool = Field(description="it finished what an earlier one had begun")
    disabled: str = Field(description="how the previous account ended: disabled, asleep; empty: it is the same one")
    remaining: int = Field(description="sessions that still ran under the previous account")
    problem: str = Field(description="why it failed; what was in force works, or the new one")

    @classmethod
    def of(cls, row: RotationRow) -> Self:
        told = {name: getattr(row, name) for name in cls.model_fields}
        return cls(**told | {name: visible(told[name]) for name in ("account", "previous", "disabled", "problem")})


class CredentialLineOut(BaseModel):
    target: str = Field(examples=["orders"])
    agent: str = Field(examples=["demo"])
    account: str = Field(description="what the agent signs in as; empty: it has not told")
    kept: str = Field(description="where its secret is kept")
    sessions: str = Field(description="own-account: each session gets one of its own; this-account: all use this one")
    changed_at: datetime | None = Field(description="how old it is; null: not known to the control plane")
    rotated_at: datetime | None
    used_at: datetime | None = Field(description="when a session was opened last")
    rotates: bool = Field(description="the target's document says so")
    every: str = Field(description="its cadence; empty: on demand only")
    next_at: datetime | None
    problems: list[str]

    @classmethod
    def of(cls, line: Line) -> Self:
        told = msgspec.structs.asdict(line)
        shown = {name: visible(told[name]) for name in ("account", "kept")}
        return cls(**told | shown | {"problems": [visible(problem) for problem in line.problems]})
