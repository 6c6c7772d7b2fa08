"""A wrapping key in Google Cloud KMS: a symmetric key (ENCRYPT_DECRYPT), by its resource name, any of its versions.

Who may use it is Google's business: application default credentials. The context is KMS's additional data.
Both directions carry CRC32C sums, as Google asks of its callers, so that a bit that flipped on the way is not kept.
https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/encrypt
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError, WrapperUnavailableError
from control_plane.secrets.wrapping.sdk import ANSWER_SECONDS, KeptElsewhere, installed, library

_KEY: Final = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


def default_client() -> Any:
    """Over REST: the control plane's own gRPC runs in an event loop, which the library's must not share."""
    return library("google.cloud.kms", "gcp").KeyManagementServiceClient(transport="rest")


class CloudKey:
    """Implements `sdk.Keeper`."""

    def __init__(self, name: str, client: Callable[[], Any] = default_client) -> None:
        self._name, self._make_client = name, client

    @cached_property
    def _client(self) -> Any:
        return self._make_client()

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        values = {"plaintext": data_key, "plaintext_crc32c": _crc32c(data_key)}
        answered = self._call("encrypt", values, context)
        intact = answered.verified_plaintext_crc32c and answered.verified_additional_authenticated_data_crc32c
        if not intact or answered.ciphertext_crc32c != _crc32c(answered.ciphertext):
            raise WrapperUnavailableError(f"gcp-kms:{self._name}: the key was damaged on the way")
        result: bytes = answered.ciphertext
        return result

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        answered = self._call("decrypt", {"ciphertext": wrapped, "ciphertext_crc32c": _crc32c(wrapped)}, context)
        if answered.plaintext_crc32c != _crc32c(answered.plaintext):
            raise WrapperUnavailableError(f"gcp-kms:{self._name}: the key was damaged on the way")
        result: bytes = answered.plaintext
        return result

    def _call(self, operation: str, values: dict[str, object], context: bytes) -> Any:
        errors, auth = library("google.api_core.exceptions", "gcp"), library("google.auth.exceptions", "gcp")
        bound = {
            "additional_authenticated_data": context,
            "additional_authenticated_data_crc32c": _crc32c(context),
        }
        request = {"name": self._name, **values, **bound}
        try:
            return getattr(self._client, operation)(request=request, timeout=ANSWER_SECONDS, retry=None)
        except errors.BadRequest as error:
            if operation == "decrypt":
                raise WrappedKeyError(f"gcp-kms:{self._name} did not wrap this, or not for this context") from None
            raise WrapperUnavailableError(f"gcp-kms:{self._name}: {error.message}") from None
        except errors.GoogleAPICallError as error:
            raise WrapperUnavailableError(f"gcp-kms:{self._name}: {operation} was refused: {error.message}") from None
        except (errors.GoogleAPIError, auth.GoogleAuthError, OSError) as error:
            raise WrapperUnavailableError(f"gcp-kms:{self._name}: {type(error).__name__}: {error}") from None


def _crc32c(data: bytes) -> int:
    """Castagnoli's, bit by bit: a few hundred bytes at most."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def gcp_kms(name: str, where: str) -> KeptElsewhere:
    """Raises WrapperConfigurationError."""
    if not _KEY.fullmatch(name):
        example = "projects/P/locations/L/keyRings/R/cryptoKeys/K"
        raise WrapperConfigurationError(f"{where}: write the name of a key, without a version: {example}")
    installed("google.cloud.kms", "gcp")
    return KeptElsewhere(f"gcp-kms:{name}", CloudKey(name))
