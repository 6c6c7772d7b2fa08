"""What people hear when a sign-in at a provider does not work. The audit log has the exact cause."""

from __future__ import annotations

from control_plane.kit.errors import ForbiddenError, NotFoundError


class NoSuchProviderError(NotFoundError):
    def __init__(self, provider: str) -> None:
        super().__init__(f"nobody signs in at {provider[:64]!r} here; begin again on the sign-in page")


class NotProvenAgainError(ForbiddenError):
    code, title = "not-proven", "Not proven"

    def __init__(self, cause: str) -> None:
        super().__init__(
            "this does not prove again who you are; sign in there as the same person, when you are asked to"
        )
        self.cause = cause
