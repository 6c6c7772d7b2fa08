"""Why a decision on an approval is not taken, as the API says it."""

from __future__ import annotations

from control_plane.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, PreconditionFailedError


class ApprovalNotFoundError(NotFoundError):
    code = "approval-not-found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no approval request {reference!r}")


class ApprovalOverError(ConflictError):
    code, title = "approval-over", "It can no longer be decided"


class StaleDigestError(PreconditionFailedError):
    code, title = "stale-digest", "Something else was shown"


class NotEntitledError(ForbiddenError):
    code, title = "not-entitled", "You may not decide on this request"


class ReasonMissingError(InvalidError):
    code, title = "reason-missing", "A denial needs a reason"
