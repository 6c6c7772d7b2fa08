"""Why a decision on an approval is not taken, as the API says it."""

from __future__ import annotations

from control_plane.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
    TooManyRequestsError,
)


class ApprovalNotFoundError(NotFoundError):
    code = "approval-not-found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no approval request {reference!r}")


class NotAskableError(ConflictError):
    code, title = "not-askable", "This cannot be asked for"


class LockedError(TooManyRequestsError):
    code, title = "requester-locked", "Locked for a time"


class NotLockedError(NotFoundError):
    code = "not-locked"


class TooManyWaitError(TooManyRequestsError):
    code, title = "too-many-wait", "Too many of your requests wait for people"


class ApprovalOverError(ConflictError):
    code, title = "approval-over", "It can no longer be decided"


class StaleDigestError(PreconditionFailedError):
    code, title = "stale-digest", "Something else was shown"


class NotEntitledError(ForbiddenError):
    code, title = "not-entitled", "You may not decide on this request"


class ReasonMissingError(InvalidError):
    code, title = "reason-missing", "A denial needs a reason"


class ChannelError(ForbiddenError):
    code, title = "channel-not-allowed", "Not through this channel"


class ReauthenticateError(ForbiddenError):
    """Not 401: the sign-in is good, and too old for this."""

    code, title = "reauthentication-required", "Prove again who you are"


class SecurityKeyError(ForbiddenError):
    code, title = "security-key-required", "This needs your security key"


class NotYoursError(ForbiddenError):
    code, title = "not-yours", "Not yours to do"


class TooManyCommentsError(ConflictError):
    code, title = "too-many-comments", "Too many comments"


class DelegationNotFoundError(NotFoundError):
    def __init__(self, delegation_id: str) -> None:
        super().__init__(f"there is no delegation {delegation_id!r}")


class DelegationRefusedError(InvalidError):
    code, title = "delegation-refused", "This cannot be delegated like that"


class TooManyDelegationsError(ConflictError):
    code, title = "too-many-delegations", "Too many delegations"


class DelegationOverError(ConflictError):
    code, title = "delegation-over", "The delegation is over"


class GlassNotBrokenError(NotFoundError):
    def __init__(self, approval_id: str) -> None:
        super().__init__(f"nobody broke the glass of a request {approval_id!r}")


class ReviewClosedError(ConflictError):
    code, title = "review-closed", "The review is closed"


class WindowNotOfferedError(InvalidError):
    code, title = "window-not-offered", "No such window is offered"
