"""Accounts as the API shows them. What targets say is made safe to print."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from control_plane.accounts.domain import STUCK
from control_plane.accounts.tables import AccountRow
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import visible


class AccountOut(BaseModel):
    id: str
    state: Literal["open", "disabled", "failed", "gone"] = Field(
        description="open: nobody has confirmed yet that it is gone; disabled: it will not go, but nobody can sign in "
        "with it; failed: it could not be removed so far"
    )
    stuck: bool = Field(description="somebody should look at it")
    account: str = Field(description="what the target calls it; empty: not known yet", examples=["gw_x4j2_mfzwg5a"])
    target: str = Field(examples=["orders"])
    provider: str = Field(examples=["postgres-roles"])
    agent: str = Field(examples=["demo"])
    session_id: str = Field(description="for which it was made; empty: it was found, and nobody knows")
    detail: str = Field(description="why it would not go")
    leased_at: datetime
    expires_at: datetime = Field(description="nobody can sign in with it afterwards, whatever happens to the agent")
    changed_at: datetime

    @classmethod
    def of(cls, row: AccountRow) -> AccountOut:
        return cls.model_validate(
            {
                "id": visible(row.id),
                "state": row.state,
                "stuck": row.state in STUCK,
                "account": visible(row.principal),
                "target": row.target,
                "provider": row.provider,
                "agent": row.agent_name,
                "session_id": row.session_id,
                "detail": visible(row.detail),
                "leased_at": from_milliseconds(row.leased_at_ms),
                "expires_at": from_milliseconds(row.expires_at_ms),
                "changed_at": from_milliseconds(row.changed_at_ms),
            }
        )
