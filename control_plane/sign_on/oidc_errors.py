"""What people hear when a sign-in at a provider does not work. The audit log has the exact cause."""

from __future__ import annotations

from control_plane.kit.errors import NotFoundError


class NoSuchProviderError(NotFoundError):
    def __init__(self, provider: str) -> None:
        super().__init__(f"nobody signs in at {provider[:64]!r} here; begin again on the sign-in page")
