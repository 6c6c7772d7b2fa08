"""Why access is not asked for or not found, as the API says it."""

from __future__ import annotations

from control_plane.kit.errors import NotFoundError


class NotOfferedError(NotFoundError):
    code = "not-offered"


class WindowNotFoundError(NotFoundError):
    code = "access-window-not-found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no access window {reference!r}")
