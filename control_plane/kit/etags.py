"""ETags of what is edited: the version of a row.

Who edits says which version was seen, so that nobody's change is overwritten unseen.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from control_plane.kit.errors import PreconditionFailedError, ProblemError

IfMatch = Annotated[
    str | None, Header(max_length=64, description='the ETag that was read, `"3"`; `*`: whatever is there')
]


class PreconditionRequiredError(ProblemError):
    status, code, title = 428, "precondition-required", "Say what you saw"


def etag(version: int) -> str:
    return f'"{version}"'


def check_version(if_match: str | None, version: int | None) -> None:
    """`version` None: there is nothing yet, and nothing may have been seen."""
    if version is None:
        if if_match is not None:
            raise PreconditionFailedError("it is not there any more")
        return
    if if_match is None:
        raise PreconditionRequiredError("send If-Match with the ETag of what you saw, or * for whatever is there")
    if if_match.strip() not in ("*", etag(version), f"W/{etag(version)}"):
        raise PreconditionFailedError(f"somebody changed it: it is at version {version} now; read it again")
