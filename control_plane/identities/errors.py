"""What can go wrong with identities."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError


class IdentityNotFoundError(NotFoundError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no identity named {name!r}")


class GroupNotFoundError(NotFoundError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no group named {name!r}")


class NameTakenError(ConflictError):
    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"a {what} named {name!r} is there already")


class LastAdminError(ConflictError):
    def __init__(self) -> None:
        super().__init__("nobody could administer any more; put another person into a group with the role admin first")


class OwnerError(InvalidError):
    """The owner that a machine needs is not there or not able, or a person was given one."""


class SlackUserTakenError(ConflictError):
    def __init__(self, slack_user_id: str, name: str) -> None:
        super().__init__(f"the Slack user {slack_user_id} is {name!r} already; a Slack user is one person")


class ExternalIdTakenError(ConflictError):
    def __init__(self, external_id: str, name: str) -> None:
        super().__init__(f"the external id {external_id} is {name!r} already; it is one person")


class StillOwnsError(ConflictError):
    def __init__(self, name: str, machines: list[str]) -> None:
        super().__init__(f"{name!r} owns {', '.join(sorted(machines))}; give those another owner first")


class StillNamedError(ConflictError):
    """Whoever is called so next would get what the documents say of this one."""

    def __init__(self, name: str, documents: Sequence[str], instead: str = "") -> None:
        super().__init__(f"{name!r} is named by {', '.join(documents)}: change that first{instead}")


class BareMachineError(InvalidError):
    """It lacks what every machine must have that is given something to sign in with."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name!r} {problem}")


class LocalSignInOffError(ForbiddenError):
    """Whoever it is, the first admin too: whether there is such a name is not told."""

    code, title = "local-sign-in-off", "Local accounts are switched off"

    def __init__(self) -> None:
        super().__init__(
            "names and passwords are switched off here: sign in with an identity provider; "
            "an operator switches them on with ASSENTRY_LOCAL_SIGN_IN=on"
        )


class UnknownProofError(InvalidError):
    code, title = "unknown-proof", "No way of proving who one is"


class NotProvenError(ForbiddenError):
    """Not 401: the sign-in stays as good as it was."""

    code, title = "not-proven", "Not proven again"

    def __init__(self, method: str) -> None:
        super().__init__(f"the {method} is wrong; the sign-in stays as old as it was")
