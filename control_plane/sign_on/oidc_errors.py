"""What people hear when a sign-in at a provider does not work. The audit log has the exact cause."""

from __future__ import annotations

from control_plane.kit.errors import NotFoundError


class NoSuchProviderError(NotFoundError):
    def __init__(self, provider: str) -> None:
        super().__init__(f"nobody signs in at {provider[:64]!r} here; begin again on the sign-in page")


class NoDeviceFlowError(NotFoundError):
    """Of a provider that the sign-in page lists, so nothing is told that not everybody knows."""

    def __init__(self, provider: str, how: str) -> None:
        super().__init__(f"{provider!r} has no device flow here ({how}); use `assentry login`")
