"""Why a rotation cannot begin or be shown."""

from __future__ import annotations

from control_plane.kit.errors import ConflictError, NotFoundError


class RotationNotFoundError(NotFoundError):
    code = "rotation-not-found"

    def __init__(self, rotation_id: str) -> None:
        super().__init__(f"there is no rotation {rotation_id!r}")


class RotationRunningError(ConflictError):
    code, title = "rotation-running", "It is being rotated"

    def __init__(self, target: str) -> None:
        super().__init__(f"the account of {target!r} is being rotated: wait for its end")


class NotRotatedError(ConflictError):
    code, title = "not-rotated", "The target is not rotated"

    def __init__(self, target: str) -> None:
        super().__init__(
            f"the target {target!r} says nothing of rotation: write `credential: {{rotate: {{}}}}` into its document"
        )
