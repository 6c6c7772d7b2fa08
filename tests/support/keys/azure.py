"""Azure Key Vault: `get`, `wrapkey` and `unwrapkey` of one RSA key with versions, behind its sign-in challenge.

https://learn.microsoft.com/rest/api/keyvault/keys/wrap-key
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.sinks import Got, HttpSink, http_sink

_OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
_TOKEN = "azure-token"


class _Credential:
    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://vault.azure.net/.default",)
        return AccessToken(_TOKEN, 4_000_000_000)


@dataclass
class KeyVault:
    """`hidden`: the caller may wrap and unwrap, but not read the public half."""

    sink: HttpSink
    ca: Path
    failing: int = 0
    hidden: bool = False
    versions: dict[str, RSAPrivateKey] = field(default_factory=dict)

    def rotate(self) -> None:
        self.versions[uuid.uuid4().hex] = generate_private_key(65537, 2048)

    @property
    def key_url(self) -> str:
        return f"{self.sink.url}/keys/k"

    def client(self, url: str) -> Any:
        return CryptographyClient(
            url, _Credential(), connection_verify=str(self.ca), verify_challenge_resource=False, retry_total=0
        )

    def answer(self, got: Got) -> web.StreamResponse:
        if got.headers.get("authorization") != f"Bearer {_TOKEN}":
            challenge = 'Bearer authorization="https://login.windows.net/tenant", resource="https://vault.azure.net"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if self.failing:
            return _refused(self.failing, "Forbidden", "The user does not have keys permission")
        path = [part for part in got.path.partition("?")[0].split("/") if part]
        assert path[:2] == ["keys", "k"]
        if got.method == "GET":
            return _refused(403, "Forbidden", "no get permission") if self.hidden else self._shown(path[2:])
        return self._operated(path[2:], json.loads(got.body))

    def _shown(self, rest: list[str]) -> web.StreamResponse:
        version = rest[0] if rest else list(self.versions)[-1]
        if version not in self.versions:
            return _refused(404, "KeyNotFound", f"no version {version}")
        numbers = self.versions[version].public_key().public_numbers()
        key = {"kid": f"{self.key_url}/{version}", "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"]}
        return web.json_response(
            {"key": key | {"n": _integer(numbers.n), "e": _integer(numbers.e)}, "attributes": {"enabled": True}}
        )

    def _operated(self, rest: list[str], body: dict[str, str]) -> web.StreamResponse:
        version, operation = (rest[0], rest[1]) if len(rest) == 2 else (list(self.versions)[-1], rest[0])
        assert body.keys() == {"alg", "value"}
        assert body["alg"] == "RSA-OAEP-256"
        if version not in self.versions:
            return _refused(404, "KeyNotFound", f"no version {version}")
        value = base64.urlsafe_b64decode(body["value"] + "==")
        key = self.versions[version]
        try:
            done = key.public_key().encrypt(value, _OAEP) if operation == "wrapkey" else key.decrypt(value, _OAEP)
        except ValueError:
            return _refused(400, "BadParameter", "The parameter is incorrect.")
        return web.json_response({"kid": f"{self.key_url}/{version}", "value": _base64url(done)})


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _integer(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8))


def _refused(status: int, code: str, message: str) -> web.StreamResponse:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


@contextlib.asynccontextmanager
async def key_vault(folder: Path) -> AsyncIterator[KeyVault]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "key-vault-ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with http_sink(tls=tls) as sink:
        double = KeyVault(sink, folder / "key-vault-ca.pem")
        double.rotate()
        sink.answering = double.answer
        yield double
