"""Why a session cannot be shown or ended."""

from __future__ import annotations

from control_plane.kit.errors import ConflictError, NotFoundError


class SessionNotFoundError(NotFoundError):
    code = "session-not-found"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"there is no session {session_id!r}")


class SessionOverError(ConflictError):
    code, title = "session-over", "It is over already"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} is not open")
