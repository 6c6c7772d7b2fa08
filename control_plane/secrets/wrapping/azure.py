"""A wrapping key in Azure Key Vault (RSA) or a managed HSM (RSA, or AES with `?algorithm=A256KW`), by its URL.

Who may use it is Azure's business: `DefaultAzureCredential`. A newer version of the key wraps as soon as there is one;
which version wrapped is kept beside the wrapped key. Key Vault binds no context, so the context's hash is wrapped with
the data key. **With RSA, whoever has the public half could wrap a data key of their own**: somebody who can write the
database and read the key's public half could put a value of their own in place of a secret (not read one). An AES key
of a managed HSM has no public half.
https://learn.microsoft.com/rest/api/keyvault/keys/wrap-key
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError, WrapperUnavailableError
from control_plane.secrets.wrapping.local import KEY_BYTES
from control_plane.secrets.wrapping.sdk import ANSWER_SECONDS, CONNECT_SECONDS, KeptElsewhere, installed, library

_PATH: Final = re.compile(r"/keys/[A-Za-z0-9-]+")
_VERSION: Final = re.compile(r"[0-9a-f]{32}")
_ALGORITHMS: Final = ("RSA-OAEP-256", "A256KW")
_REFUSED: Final = (400, 404)  # what it answers when the bytes are none of its own


class DefaultClients:
    """One for each call, because a client keeps to the version that it saw first; the sign-in is shared."""

    @cached_property
    def _credential(self) -> Any:
        return library("azure.identity", "azure").DefaultAzureCredential()

    def __call__(self, url: str) -> Any:
        return library("azure.keyvault.keys.crypto", "azure").CryptographyClient(
            url, self._credential, connection_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, retry_total=1
        )


class KeyVaultKey:
    """Implements `sdk.Keeper`. What it gives is the version that wrapped, a colon, and what Key Vault gave."""

    def __init__(self, url: str, algorithm: str, clients: Callable[[str], Any]) -> None:
        self._url, self._algorithm, self._clients = url, algorithm, clients

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        wrapped = self._call(self._url, "wrap_key", data_key + hashlib.sha256(context).digest())
        version, encrypted = str(wrapped.key_id).rpartition("/")[2], bytes(wrapped.encrypted_key)
        if not _VERSION.fullmatch(version):
            advice = "allow the control plane get, wrapKey and unwrapKey"
            raise WrapperUnavailableError(f"azure-kms:{self._url}: it does not tell the key's version; {advice}")
        return version.encode() + b":" + encrypted

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        version, _, encrypted = wrapped.partition(b":")
        if not _VERSION.fullmatch(version.decode("latin-1")):
            raise self._not_ours()
        plain: bytes = self._call(f"{self._url}/{version.decode()}", "unwrap_key", encrypted).key
        if not hmac.compare_digest(plain[KEY_BYTES:], hashlib.sha256(context).digest()):
            raise self._not_ours()
        return plain[:KEY_BYTES]

    def _call(self, url: str, operation: str, value: bytes) -> Any:
        errors, crypto = library("azure.core.exceptions", "azure"), library("azure.keyvault.keys.crypto", "azure")
        try:
            with self._clients(url) as client:
                return getattr(client, operation)(crypto.KeyWrapAlgorithm(self._algorithm), value)
        except errors.HttpResponseError as error:
            if operation == "unwrap_key" and error.status_code in _REFUSED:
                raise self._not_ours() from None
            raise WrapperUnavailableError(f"azure-kms:{self._url}: {operation} was refused: {error.message}") from None
        except errors.AzureError as error:
            raise WrapperUnavailableError(f"azure-kms:{self._url}: {error.message}") from None

    def _not_ours(self) -> WrappedKeyError:
        return WrappedKeyError(f"azure-kms:{self._url} did not wrap this, or not for this context")


def azure_kms(text: str, where: str) -> KeptElsewhere:
    """Raises WrapperConfigurationError."""
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    algorithm = options.pop("algorithm", _ALGORITHMS[0])
    if parts.scheme != "https" or not parts.hostname or not _PATH.fullmatch(parts.path.rstrip("/")) or options:
        example = "https://NAME.vault.azure.net/keys/KEY"
        raise WrapperConfigurationError(f"{where}: write the URL of a key, without a version: {example}")
    if algorithm not in _ALGORITHMS:
        raise WrapperConfigurationError(f"{where}: algorithm must be one of: {', '.join(_ALGORITHMS)}")
    for module in ("azure.keyvault.keys", "azure.identity"):
        installed(module, "azure")
    url = f"https://{parts.netloc}{parts.path.rstrip('/')}"
    return KeptElsewhere(f"azure-kms:{url}", KeyVaultKey(url, algorithm, DefaultClients()))
