"""A target's account as its secret tells it: a bare password, or a JSON object with `username` and `password`.

The object is what Vault's key-value engine and AWS Secrets Manager keep; whatever else is in it (host, port, engine) is
left alone, and written back when the password changes. While the account is rotated, and when two take turns, the
object has a third field, `waiting` (`credentials.rotation`). No error here repeats any of the text.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from data_plane.credentials.ports import CredentialError, Need, PasswordCredential, SecretStore
from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.runtime.secret import Secret

_PASSWORD: Final = "password"  # noqa: S105  # the name of the field
_USERNAME: Final = "username"
_WAITING: Final = "waiting"


class Stage(enum.Enum):
    NEXT = "next"  # is to take over: the last of its passwords is the new one
    OLD = "old"  # was replaced, and is to be disabled
    ASLEEP = "asleep"  # waits for its turn


class Waiting(msgspec.Struct, frozen=True):
    """The account that is not in use, or the one in use with its next password. One of the passwords may be right."""

    stage: Stage
    username: str
    passwords: tuple[Secret, ...]


class _Written(msgspec.Struct, frozen=True):
    stage: Stage
    username: str
    passwords: tuple[str, ...]


def account(text: Secret, username: str = "") -> PasswordCredential:
    """`username`: for a secret that names none. Raises CredentialError."""
    fields = _fields(text)
    if fields is None:
        password: object = text.reveal()
    else:
        password, username = fields.get(_PASSWORD), _named(fields.get(_USERNAME, username))
    if not isinstance(password, str) or not password:
        raise CredentialError("the secret has no password: write the bare password, or JSON with username and password")
    if not username:
        raise CredentialError("the secret names no username: set username in [targets.NAME], or write it into the JSON")
    known = waiting(text)
    also = known.passwords if known is not None and known.username == username else ()
    return PasswordCredential(username, Secret(password), also)


def waiting(text: Secret) -> Waiting | None:
    """Raises CredentialError."""
    told = (_fields(text) or {}).get(_WAITING)
    if told is None:
        return None
    try:
        found = msgspec.convert(told, _Written, strict=False)
    except msgspec.ValidationError:
        raise CredentialError("what the secret says of the waiting account cannot be read: remove `waiting`") from None
    return Waiting(found.stage, found.username, tuple(map(Secret, found.passwords)))


def renewed(text: Secret, credential: PasswordCredential, username: str = "", beside: Waiting | None = None) -> Secret:
    """What to store in place of `text` so that `account(…, username)` gives `credential`, and `waiting` `beside`."""
    fields = {name: value for name, value in (_fields(text) or {}).items() if name != _WAITING}
    if not fields and beside is None and credential.username == username:
        return credential.password
    told: dict[str, object] = {_USERNAME: credential.username, _PASSWORD: credential.password.reveal()}
    if beside is not None:
        passwords = tuple(one.reveal() for one in beside.passwords)
        told[_WAITING] = _Written(beside.stage, beside.username, passwords)
    return Secret(msgspec.json.encode(fields | told).decode())


def _fields(text: Secret) -> dict[str, object] | None:
    """None: a bare password. One that begins with a brace and is no JSON object is one too."""
    try:
        return msgspec.json.decode(text.reveal(), type=dict[str, object])
    except msgspec.DecodeError:
        return None


def _named(username: object) -> str:
    if not isinstance(username, str):
        raise CredentialError("the username in the secret is no text")
    return username


class StoredCredential:
    """Implements `ports.CredentialSource`: one account for every session, read from its store at each sign-in.

    This protects a target only as far as the account's own rights go; it gives no session an account of its own."""

    def __init__(self, store: SecretStore, username: str = "", preview: StoredCredential | None = None) -> None:
        self.store, self.username, self._preview = store, username, preview

    async def obtain(self, need: Need) -> PasswordCredential:
        del need
        return await self.own()

    async def signed_in(self, session: SessionId) -> None:
        del session

    async def own(self) -> PasswordCredential:
        return account(await self.store.read(), self.username)

    async def preview(self) -> PasswordCredential | None:
        return await self._preview.own() if self._preview else None

    def personal(self, session: SessionId) -> bool:
        del session
        return False

    def lacks(self, session: SessionId, actions: Iterable[str]) -> bool:
        """Never: the account is as wide for every operation."""
        del session, actions
        return False

    async def widen(self, session: SessionId, actions: Iterable[str]) -> None:
        del session, actions

    async def narrow(self, session: SessionId) -> None:
        del session

    async def release(self, session: SessionFacts) -> None:
        del session
