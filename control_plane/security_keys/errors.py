"""Why a security key is not registered, removed or taken, as the API says it."""

from __future__ import annotations

from control_plane.kit.errors import ConflictError, ForbiddenError, NotFoundError


class NoNameError(ConflictError):
    """Browsers bind keys to the name of a site, and an address is none."""

    code, title = "security-keys-need-a-name", "Security keys need a name"

    def __init__(self, url: str) -> None:
        super().__init__(
            f"browsers use security keys only where a site has a name and https, and {url} has not: set "
            "ASSENTRY_PUBLIC_URL to https://NAME, or to http://localhost:PORT on one machine"
        )


class KeyNotFoundError(NotFoundError):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no security key {key_id!r}")


class NoKeyError(ConflictError):
    code, title = "no-security-key", "No security key"

    def __init__(self) -> None:
        super().__init__("you have no security key that works; register one in the console under Security keys")


class TooManyKeysError(ConflictError):
    def __init__(self, most: int) -> None:
        super().__init__(f"a person has at most {most} security keys; remove one first")


class FreshProofError(ForbiddenError):
    """Not 401: the sign-in is good, and too old or too weak for this."""

    code, title = "reauthentication-required", "Prove again who you are"


class OnlySignedInError(ForbiddenError):
    def __init__(self) -> None:
        super().__init__("this is for people who are signed in to the console or the command line, not for a token")


class OnlyInConsoleError(ForbiddenError):
    """Whoever tricked somebody into confirming a command line, or has a link of theirs, keeps nothing that lasts."""

    def __init__(self) -> None:
        super().__init__("the first security key is registered in the console: sign in there, not by a link")


class KeyRefusedError(ForbiddenError):
    """What exactly was wrong is in the audit log."""

    code, title = "security-key-refused", "The security key was not accepted"
