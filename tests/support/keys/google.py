"""Google Cloud KMS: `encrypt` and `decrypt` of one symmetric key.

https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/encrypt
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.kms import KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport

from tests.support.sinks import Got, HttpSink, http_sink

KEY = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
_AAD = "additionalAuthenticatedData"


@dataclass
class GoogleKms:
    """`failing`: a status to answer everything with. `damaging`: its answers lose a bit on the way. `unchecked`: it did
    not look at the sums of what it got."""

    sink: HttpSink
    failing: int = 0
    damaging: bool = False
    unchecked: bool = False
    cipher: AESGCM = field(default_factory=lambda: AESGCM(AESGCM.generate_key(256)))

    def client(self) -> Any:
        host = f"127.0.0.1:{self.sink.port}"
        transport = KeyManagementServiceRestTransport(host=host, url_scheme="http", credentials=AnonymousCredentials())
        return KeyManagementServiceClient(transport=transport, client_options=ClientOptions())

    def answer(self, got: Got) -> web.StreamResponse:
        if self.failing:
            return _refused(self.failing, "PERMISSION_DENIED", "Permission denied on resource")
        path, body = got.path.partition("?")[0], json.loads(got.body)
        if path == f"/v1/{KEY}:encrypt":
            return self._encrypt(body)
        if path == f"/v1/{KEY}:decrypt":
            return self._decrypt(body)
        return _refused(404, "NOT_FOUND", f"{path} not found")

    def _encrypt(self, body: dict[str, str]) -> web.StreamResponse:
        values = _taken(body, "plaintext")
        nonce = os.urandom(12)
        sealed = nonce + self.cipher.encrypt(nonce, values["plaintext"], values[_AAD])
        checked = {"verifiedPlaintextCrc32c": not self.unchecked, "verifiedAdditionalAuthenticatedDataCrc32c": True}
        return self._answered("ciphertext", sealed, name=f"{KEY}/cryptoKeyVersions/1", **checked)

    def _decrypt(self, body: dict[str, str]) -> web.StreamResponse:
        values = _taken(body, "ciphertext")
        try:
            plain = self.cipher.decrypt(values["ciphertext"][:12], values["ciphertext"][12:], values[_AAD])
        except (InvalidTag, ValueError):
            return _refused(400, "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct key.")
        return self._answered("plaintext", plain)

    def _answered(self, field_name: str, value: bytes, **more: object) -> web.StreamResponse:
        kept = value[:-1] + bytes([value[-1] ^ 1]) if self.damaging else value
        sums = {f"{field_name}Crc32c": str(crc32c(value)), "protectionLevel": "SOFTWARE"}
        return web.json_response({field_name: base64.b64encode(kept).decode(), **sums, **more})


def _taken(body: dict[str, str], name: str) -> dict[str, bytes]:
    """Exactly what is documented, and undamaged. JSON leaves out what is empty."""
    assert body.keys() - {name, _AAD} == {f"{name}Crc32c", f"{_AAD}Crc32c"}, body.keys()
    values = {field_name: base64.b64decode(body.get(field_name, ""), validate=True) for field_name in (name, _AAD)}
    for field_name, value in values.items():
        assert int(body[f"{field_name}Crc32c"]) == crc32c(value)
    return values


def crc32c(data: bytes) -> int:
    """By table, so that it is not the same code as what it checks."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _entry(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (0x82F63B78 * (index & 1))
    return index


_TABLE = [_entry(index) for index in range(256)]


def _refused(code: int, status: str, message: str) -> web.StreamResponse:
    return web.json_response({"error": {"code": code, "message": message, "status": status}}, status=code)


@contextlib.asynccontextmanager
async def google_kms() -> AsyncIterator[GoogleKms]:
    async with http_sink() as sink:
        double = GoogleKms(sink)
        sink.answering = double.answer
        yield double
