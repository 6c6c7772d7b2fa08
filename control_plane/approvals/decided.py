"""What every endpoint does with a decision: a refusal is a problem with its own code, else the request as it is now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from control_plane.approvals.domain import Refusal
from control_plane.approvals.errors import (
    ApprovalNotFoundError,
    ApprovalOverError,
    ChannelError,
    NotEntitledError,
    ReasonMissingError,
    ReauthenticateError,
    SecurityKeyError,
    StaleDigestError,
    WindowNotOfferedError,
)
from control_plane.approvals.review import ReviewService
from control_plane.approvals.schemas import ApprovalOut
from control_plane.kit.access import Principal
from control_plane.kit.errors import ProblemError
from control_plane.kit.unit_of_work import Units

PROBLEMS: Final[Mapping[Refusal, type[ProblemError]]] = {
    Refusal.OVER: ApprovalOverError,
    Refusal.STALE: StaleDigestError,
    Refusal.NOT_ENTITLED: NotEntitledError,
    Refusal.REASON_MISSING: ReasonMissingError,
    Refusal.CHANNEL: ChannelError,
    Refusal.REAUTHENTICATE: ReauthenticateError,
    Refusal.SECURITY_KEY: SecurityKeyError,
    Refusal.WINDOW: WindowNotOfferedError,
}

_AGENT_FIRST: Final = 0.01  # seconds


async def shown_after(units: Units, service: ReviewService, principal: Principal, reference: str) -> ApprovalOut:
    """As `shown_to`, for who has just decided; read a moment later, so that the agent that waits hears of it first."""
    await asyncio.sleep(_AGENT_FIRST)
    return await shown_to(units, service, principal, reference)


async def shown_to(units: Units, service: ReviewService, principal: Principal, reference: str) -> ApprovalOut:
    """By id or short code. Raises ApprovalNotFoundError."""
    async with units.reading() as uow:
        view = await service.view(uow, principal, reference)
    if view is None:
        raise ApprovalNotFoundError(reference)
    return ApprovalOut.full(view)
