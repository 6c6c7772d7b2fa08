"""A target's account as its secret tells it: a bare password, or a JSON object with `username` and `password`.

The object is what Vault's key-value engine and AWS Secrets Manager keep; whatever else is in it (host, port, engine) is
left alone, and written back when the password changes. No error here repeats any of the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from data_plane.credentials.ports import CredentialError, Need, PasswordCredential, SecretStore
from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.runtime.secret import Secret

_PASSWORD: Final = "password"  # noqa: S105  # the name of the field
_USERNAME: Final = "username"


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
    return PasswordCredential(username, Secret(password))


def renewed(text: Secret, credential: PasswordCredential, username: str = "") -> Secret:
    """What to store in place of `text` so that `account(…, username)` gives `credential`."""
    fields = _fields(text)
    if fields is None and credential.username == username:
        return credential.password
    told = {_USERNAME: credential.username, _PASSWORD: credential.password.reveal()}
    return Secret(msgspec.json.encode((fields or {}) | told).decode())


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
