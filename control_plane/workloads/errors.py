"""A refused request for a token: what is said outside (RFC 6749 §5.2, RFC 8693 §2.2.2), and the cause, which is not."""

from __future__ import annotations

from typing import Final, Literal

Code = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "slow_down",
    "temporarily_unavailable",
]
NOT_ACCEPTED: Final = "the token is not accepted here; the audit log says why"
NOT_YOURS: Final = "the client is not known here, or its key or secret is not good"


class RefusedError(Exception):
    """`cause` goes to the audit log only. `told` says nothing of who or what is known here."""

    def __init__(self, code: Code, told: str, cause: str = "", *, retry_after: int = 0) -> None:
        super().__init__(f"{code}: {cause or told}")
        self.code: Code = code
        self.told = told
        self.cause = cause or told
        self.retry_after = retry_after


def not_accepted(cause: str) -> RefusedError:
    """A subject's or an actor's token: one sentence for whatever the cause is."""
    return RefusedError("invalid_grant", NOT_ACCEPTED, cause)


def not_the_client(cause: str) -> RefusedError:
    return RefusedError("invalid_client", NOT_YOURS, cause)
