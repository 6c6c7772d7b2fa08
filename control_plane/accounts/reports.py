"""What an agent reports about the accounts it makes. Plain values: `agents/wire.py` maps them from the link's."""

from __future__ import annotations

import msgspec


class LeasedReport(msgspec.Struct, frozen=True):
    """An account that is about to be made. `principal` empty: the target chooses its name."""

    lease_id: str
    at_ms: int
    session_id: str
    target: str
    provider: str
    principal: str
    expires_at_ms: int


class EndedReport(msgspec.Struct, frozen=True):
    """`outcome`: gone, disabled, failed. `principal` of an account that was found and has no lease, too."""

    lease_id: str
    at_ms: int
    outcome: str
    detail: str
    target: str
    principal: str
