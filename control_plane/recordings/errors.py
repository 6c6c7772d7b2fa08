"""Why a recording cannot be shown."""

from __future__ import annotations

from control_plane.kit.errors import NotFoundError


class RecordingNotFoundError(NotFoundError):
    code = "recording-not-found"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"nothing of session {session_id!r} has been recorded here yet: an open session comes in when it has been "
            "quiet for five seconds, and a busy one after a minute"
        )
