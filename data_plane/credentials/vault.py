"""Vault or OpenBao over its HTTP API: signing in, asking, and secrets of the key-value engine (version 2).

A token from a login is used until Vault refuses it, then there is a new login; one in a file is read at each request,
because whoever put it there (Vault Agent) keeps it fresh. What Vault says of an error is passed on; it repeats neither
tokens nor values. https://developer.hashicorp.com/vault/api-docs
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from data_plane.credentials.ports import CredentialError
from data_plane.credentials.settings import VaultKv, VaultServer
from data_plane.credentials.threads import ANSWER_SECONDS, CONNECT_SECONDS, in_thread, library
from data_plane.runtime.secret import Secret

T = TypeVar("T")
Answer = Mapping[str, Any]


class VaultError(CredentialError):
    """`status` is what Vault answered, 0: nothing."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Vault:
    """One server as one role. `ask` blocks; it is called from several threads."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server
        self._token = ""
        self._signing_in = threading.Lock()

    def __str__(self) -> str:
        return f"Vault at {self._server.address}"

    async def run(self, call: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """In a thread. Raises CredentialError."""
        return await in_thread(call, str(self), undo)

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None, token: str = "") -> Answer:
        """`token`: another one than the agent's own. Raises VaultError."""
        try:
            return self._asked(method, path, body, token or self._current())
        except VaultError as error:
            if error.status != 403 or token or not self._signed_in:
                raise
        self._token = ""
        return self._asked(method, path, body, self._current())

    @property
    def _signed_in(self) -> bool:
        return not self._server.auth.token_file

    def _current(self) -> str:
        if not self._signed_in:
            return self._read("token_file", self._server.auth.token_file)
        with self._signing_in:
            self._token = self._token or self._login()
            return self._token

    def _login(self) -> str:
        auth = self._server.auth
        if auth.approle is not None:
            mount, secret_id = auth.approle.mount, self._read("secret_id_file", auth.approle.secret_id_file)
            body = {"role_id": auth.approle.role_id, "secret_id": secret_id}
        elif auth.kubernetes is not None:
            mount, jwt = auth.kubernetes.mount, self._read("jwt_file", auth.kubernetes.jwt_file)
            body = {"role": auth.kubernetes.role, "jwt": jwt}
        else:
            raise CredentialError(f"{self}: nothing says how to sign in")
        token: str = self._asked("POST", f"auth/{mount}/login", body, "")["auth"]["client_token"]
        return token

    def _asked(self, method: str, path: str, body: Mapping[str, object] | None, token: str) -> Answer:
        errors = library("hvac.exceptions", "vault")
        try:
            answer = self._adapter.request(method, f"/v1/{path}", headers={"X-Vault-Token": token}, json=body)
        except errors.VaultError as error:
            raise self._refused(path, error) from None
        except OSError as error:  # as all of requests' errors are
            raise VaultError(f"{self} cannot be asked: {type(error).__name__}", 0) from None
        return answer if isinstance(answer, dict) else {}

    def _refused(self, path: str, error: Any) -> VaultError:
        status = {"InvalidRequest": 400, "Unauthorized": 401, "Forbidden": 403, "InvalidPath": 404}
        said = "; ".join(" ".join(one.split()) for one in error.errors or ()) or "nothing is there"
        code = status.get(type(error).__name__, 500)
        return VaultError(f"{self}: {path}: {said.replace('1 error occurred: * ', '')}", code)

    @cached_property
    def _adapter(self) -> Any:
        server = self._server
        client = library("hvac", "vault").Client(
            url=server.address,
            token="",  # none of the environment, nor of a file in somebody's home
            namespace=server.namespace or None,
            verify=server.ca_file or True,
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
        )
        return client.adapter

    def _read(self, field: str, file: str) -> str:
        try:
            return Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not plain text"
            raise CredentialError(f"{self}: {field}: {file} cannot be read: {why}") from None


class VaultSecret:
    """Implements `ports.SecretStore`: what is in the engine is asked for at each sign-in, as it may change there.

    Written only over the version that was read: of two who write at once, one is told."""

    writable = True

    def __init__(self, vault: Vault, place: VaultKv) -> None:
        self._vault = vault
        self._path = f"{place.mount}/data/{place.path}"
        self._version = 0

    async def read(self) -> Secret:
        answer = await self._vault.run(lambda: self._vault.ask("GET", self._path))
        return self._taken(answer.get("data", {}))

    def _taken(self, data: Answer) -> Secret:
        try:
            self._version = int(data["metadata"]["version"])
            return Secret(msgspec.json.encode(data["data"]).decode())
        except (KeyError, TypeError, ValueError):
            advice = "is the engine there version 2 of kv?"
            raise CredentialError(f"{self._vault}: {self._path}: this is no secret of it; {advice}") from None

    async def write(self, value: Secret) -> None:
        try:
            data = msgspec.json.decode(value.reveal(), type=dict[str, object])
        except msgspec.DecodeError:
            data = {"password": value.reveal()}
        body = {"data": data, "options": {"cas": self._version}}
        answer = await self._vault.run(lambda: self._vault.ask("POST", self._path, body))
        self._version = int(answer["data"]["version"])
