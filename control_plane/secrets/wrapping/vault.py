"""A wrapping key in the transit engine of Vault or OpenBao. Its material never leaves Vault and may be rotated there.

The context is Vault's `associated_data`, so the key must be one that authenticates it: aes256-gcm96 (what Vault makes
when nothing is said), aes128-gcm96 or chacha20-poly1305. It needs `update` on MOUNT/encrypt/KEY and MOUNT/decrypt/KEY,
nothing else. https://developer.hashicorp.com/vault/api-docs/secret/transit
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError, WrapperUnavailableError
from control_plane.secrets.wrapping.sdk import ANSWER_SECONDS, CONNECT_SECONDS, KeptElsewhere, installed, library

_LOGINS: Final = {
    frozenset({"token_file"}): (),
    frozenset({"role_id", "secret_id_file"}): ("approle",),
    frozenset({"kubernetes_role", "jwt_file"}): ("kubernetes",),
}
_OPTIONS: Final = ("ca", "namespace")


class TransitKey:
    """Implements `sdk.Keeper`. A token from a login is used until Vault refuses it, one in a file as it is there."""

    def __init__(self, address: str, mount: str, key: str, options: Mapping[str, str]) -> None:
        self._address, self._mount, self._key, self._options = address, mount, key, options

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        text: str = self._call("encrypt", "ciphertext", plaintext=_base64(data_key), associated_data=_base64(context))
        return text.encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        text = wrapped.decode("latin-1")
        plain: str = self._call("decrypt", "plaintext", ciphertext=text, associated_data=_base64(context))
        return base64.b64decode(plain)

    def _call(self, operation: str, answer: str, **values: str) -> Any:
        errors = library("hvac.exceptions", "vault")
        try:
            return self._answered(f"/v1/{self._mount}/{operation}/{self._key}", values, errors.Forbidden)["data"][
                answer
            ]
        except errors.InvalidRequest as error:
            if operation == "decrypt":
                raise WrappedKeyError(f"{self._named} did not wrap this, or not for this context") from None
            raise WrapperUnavailableError(f"{self._named}: {_why(error)}") from None
        except errors.VaultError as error:
            raise WrapperUnavailableError(f"{self._named}: {operation} failed: {_why(error)}") from None
        except OSError as error:  # requests' errors are
            raise WrapperUnavailableError(f"{self._named}: cannot be asked: {type(error).__name__}") from None

    @property
    def _named(self) -> str:
        return f"vault-transit:{self._address}/{self._mount}/{self._key}"

    @cached_property
    def _client(self) -> Any:
        """Without a token: none of the environment, nor of a file in somebody's home."""
        return library("hvac", "vault").Client(
            url=self._address,
            token="",
            namespace=self._options.get("namespace"),
            verify=self._options.get("ca", True),
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
        )

    def _answered(self, path: str, values: dict[str, str], forbidden: type[Exception]) -> Any:
        """Once more with a new token when the one at hand is refused."""
        if self._client.token and "token_file" not in self._options:
            try:
                return self._client.adapter.post(path, json=values)
            except forbidden:
                self._client.token = ""
        self._client.token = self._login()
        return self._client.adapter.post(path, json=values)

    def _login(self) -> str:
        told, auth = self._options, self._client.auth
        if "token_file" in told:
            return self._read("token_file")
        if "role_id" in told:
            mount, secret_id = told.get("approle", "approle"), self._read("secret_id_file")
            answer = auth.approle.login(told["role_id"], secret_id, use_token=False, mount_point=mount)
        else:
            mount, jwt = told.get("kubernetes", "kubernetes"), self._read("jwt_file")
            answer = auth.kubernetes.login(told["kubernetes_role"], jwt, use_token=False, mount_point=mount)
        token: str = answer["auth"]["client_token"]
        return token

    def _read(self, option: str) -> str:
        try:
            return Path(self._options[option]).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = f"{self._options[option]} cannot be read: {getattr(error, 'strerror', 'not plain text')}"
            raise WrapperUnavailableError(f"{self._named}: {option}: {why}") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _why(error: Any) -> str:
    """What Vault says, on one line; it never repeats what it was sent."""
    said = "; ".join(" ".join(one.split()) for one in error.errors or ())
    return said.replace("1 error occurred: * ", "") or type(error).__name__


def vault_transit(text: str, where: str) -> KeptElsewhere:
    """`https://HOST:PORT/MOUNT/KEY?…`. Raises WrapperConfigurationError."""
    parts = urlsplit(text)
    mount, _, key = parts.path.strip("/").rpartition("/")
    if parts.scheme != "https" or not parts.hostname or not mount or parts.username is not None:
        example = "https://vault.example.com:8200/transit/KEY?token_file=/etc/assentry/vault-token"
        raise WrapperConfigurationError(f"{where}: write it as {example}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    _checked(options, where)
    installed("hvac", "vault")
    address = f"https://{parts.netloc}"
    return KeptElsewhere(f"vault-transit:{address}/{mount}/{key}", TransitKey(address, mount, key, options))


def _checked(options: Mapping[str, str], where: str) -> None:
    for login, more in _LOGINS.items():
        if login <= options.keys() <= login | {*more, *_OPTIONS} and all(options.values()):
            return
    ways = " or ".join(" and ".join(sorted(login, reverse=True)) for login in _LOGINS)
    raise WrapperConfigurationError(f"{where}: say how to sign in to Vault: {ways}; besides: {', '.join(_OPTIONS)}")
