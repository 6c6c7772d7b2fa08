"""What can go wrong with signing in at a provider."""

from __future__ import annotations

from control_plane.kit.errors import ConflictError, ForbiddenError, NotFoundError


class NotKnownHereError(ForbiddenError):
    """One sentence for whatever the cause is: who is outside learns nothing of who is known here."""

    code, title = "not-known-here", "Nobody here"

    def __init__(self, provider: str, cause: str = "no able person here is linked to it") -> None:
        """`cause`: for the audit log alone."""
        super().__init__(f"{provider!r} says who you are, but nobody here is linked to that; ask an admin")
        self.cause = cause


class SignInRefusedError(ForbiddenError):
    """Whatever the cause: it stands in the audit log."""

    code, title = "sign-in-refused", "Not signed in"

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"what {provider!r} answered cannot be taken; sign in again, and if that does not help, ask an admin, who "
            "finds the cause in the audit log"
        )


class UnknownDeviceCodeError(NotFoundError):
    """Never was, has been decided, or is too old: told alike."""

    code, title = "unknown-code", "No such code"

    def __init__(self) -> None:
        super().__init__("no sign-in waits with this code; look again, or begin `assentry login` anew")


class NotProvenAgainError(ForbiddenError):
    code, title = "not-proven", "Not proven"

    def __init__(self, cause: str) -> None:
        super().__init__(
            "this does not prove again who you are; sign in there as the same person, when you are asked to"
        )
        self.cause = cause


class SubjectPushedError(ConflictError):
    """`wanted`: whom an admin would have it be; empty: nobody."""

    def __init__(self, provider: str, subject: str, client: str, name: str, wanted: str) -> None:
        then = f", and `assentry scim-clients link {client} {subject} --identity {wanted}` before it pushes them anew"
        super().__init__(
            f"the SCIM client {client!r} has pushed {provider}'s {subject!r} as {name!r}, and would end somebody else"
            f" than who signs in: first let it delete that person (or `assentry scim-clients delete {client} --people"
            f" keep`), then `assentry identities unlink {name} {provider}`{then if wanted else ''}"
        )
