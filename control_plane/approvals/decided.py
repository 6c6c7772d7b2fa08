"""What every endpoint does with a decision: a refusal is a problem with its own code, else the request as it is now."""

from __future__ import annotations

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

AGENT_FIRST: Final = 0.01  # seconds that who has just decided waits, so that the agent hears of it first


async def shown_to(
    units: Units, service: ReviewService, principal: Principal, reference: str, *, pause: float = 0
) -> ApprovalOut:
    """By id or short code; see `ReviewService.view`. Raises ApprovalNotFoundError."""
    async with units.reading() as uow:
        view = await service.view(uow, principal, reference, pause)
    if view is None:
        raise ApprovalNotFoundError(reference)
    return ApprovalOut.full(view)
