"""What can go wrong with access reviews."""

from __future__ import annotations

from control_plane.kit.errors import ConflictError, ForbiddenError, NotFoundError


class ReviewNotFoundError(NotFoundError):
    def __init__(self, review_id: str) -> None:
        super().__init__(f"there is no access review {review_id!r}")


class ReviewOverError(ConflictError):
    """Its deadline has passed, or it was cancelled, or what is asked about is over."""


class NotYoursToConfirmError(ForbiddenError):
    def __init__(self) -> None:
        super().__init__("only the owner of a machine confirms what it has, and a person what is their own")
