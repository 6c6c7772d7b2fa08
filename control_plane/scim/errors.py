"""What can go wrong with SCIM clients: towards them as RFC 7644 §3.12 says, towards admins as everywhere else."""

from __future__ import annotations

from scim2_models import ConflictException, NotFoundException, PreconditionFailedException

from control_plane.kit.errors import ConflictError, NotFoundError
from control_plane.scim.domain import LIVING_TOKENS


def unknown(kind: str, resource_id: str) -> NotFoundException:
    return NotFoundException(detail=f"there is no {kind} {resource_id!r} that this client has pushed")


def check_match(seen: str | None, version: int) -> None:
    """`seen`: the If-Match of the request, which RFC 7644 §3.14 leaves to the client. Raises PreconditionFailed…"""
    if seen is None or seen.strip() == "*":
        return
    if f'"{version}"' not in {one.strip().removeprefix("W/") for one in seen.split(",")}:
        raise PreconditionFailedException(detail="it has been changed in the meantime; read it again")


class KnownOtherwiseError(ConflictException):
    """The client learns that there is a conflict, and not with whom; `cause` is for the audit log."""

    scim_type = "uniqueness"

    def __init__(self, cause: str) -> None:
        super().__init__(detail="this resource is in conflict with one that is known otherwise; an admin must link it")
        self.cause = cause


class ScimClientNotFoundError(NotFoundError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no SCIM client named {name!r}")


class ScimTokenNotFoundError(NotFoundError):
    def __init__(self, token_id: str) -> None:
        super().__init__(f"this SCIM client has no token {token_id!r} that is still good")


class TooManyTokensError(ConflictError):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} has {LIVING_TOKENS} tokens already; revoke the one that is not used any more")


class StillPushesError(ConflictError):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} has pushed people: say with people=end or people=keep what becomes of them")


class AlreadyPushedError(ConflictError):
    def __init__(self, client: str, subject: str, kind: str, whose: str, provider: str = "") -> None:
        """`provider`: where a person signs in as this subject; empty: nowhere."""
        parted = f"`assentry identities unlink {whose} {provider}`, " if provider else ""
        super().__init__(
            f"{client!r} has pushed {subject!r} already as the {kind} {whose!r}; a link counts at the first push only:"
            f" let the provider delete it there, {parted}link it then, and let the provider push it anew"
        )


class ClientNameTakenError(ConflictError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"a SCIM client named {name!r} is there already; if its token has reached nobody, revoke that and make"
            f" another: assentry scim-clients show {name}, assentry scim-clients token {name}"
        )
