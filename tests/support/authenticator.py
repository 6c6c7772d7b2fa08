"""A security key in software: makes what a browser and a key make together, and what forgers would like to make.

`make` and `sign` answer the options of a ceremony as `PublicKeyCredential.toJSON` would. Every part that a forger
could change is an argument or an attribute, so that a test is wrong in exactly one of them.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from control_plane.security_keys.signed import decoded, encoded

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
ES256, EDDSA, RS256 = -7, -8, -257
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass
class SoftwareKey:
    origin: str
    algorithm: int = ES256
    counter: int = 1  # 0: it does not count
    flags: int = PRESENT | VERIFIED
    rp_id: str = ""  # empty: as asked
    client: dict[str, Any] = field(default_factory=dict)  # changes of what the browser says
    credential_id: bytes = field(default_factory=lambda: token_bytes(32))

    def __post_init__(self) -> None:
        self.private = _private(self.algorithm)

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        """What `navigator.credentials.create` gives."""
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id
        data = self._data(options["rp"]["id"], self.flags | ATTESTED) + attested + cbor2.dumps(self._cose())
        statement = {"fmt": "none", "attStmt": {}, "authData": data}
        response = {
            "clientDataJSON": encoded(self._client("webauthn.create", options)),
            "attestationObject": encoded(cbor2.dumps(statement)),
            "transports": ["usb", "telepathy"],
        }
        return self._credential(response)

    def sign(self, options: dict[str, Any], **response: Any) -> dict[str, Any]:
        """What `navigator.credentials.get` gives. `response` replaces parts of it."""
        self.counter += 1 if self.counter else 0
        client, data = self._client("webauthn.get", options), self._data(options["rpId"], self.flags)
        signature = self._signature(data + hashlib.sha256(client).digest())
        parts = {"clientDataJSON": encoded(client), "authenticatorData": encoded(data), "signature": encoded(signature)}
        return self._credential({**parts, **response})

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        name = encoded(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps({**said, **self.client}).encode()

    def _data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256((self.rp_id or rp_id).encode()).digest() + struct.pack(">BI", flags, self.counter)

    def _cose(self) -> dict[int, Any]:
        public = self.private.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            numbers = public.public_numbers()
            return {1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        if isinstance(public, rsa.RSAPublicKey):
            modulus = public.public_numbers().n
            return {1: 3, 3: RS256, -1: modulus.to_bytes(256, "big"), -2: b"\x01\x00\x01"}
        return {1: 1, 3: EDDSA, -1: 6, -2: public.public_bytes_raw()}

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return self.private.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(data)


def flipped(text: str, at: int = -1) -> str:
    """The same bytes with one bit turned."""
    raw = bytearray(decoded(text))
    raw[at] ^= 1
    return encoded(bytes(raw))


def _private(algorithm: int) -> Private:
    if algorithm == ES256:
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == RS256:
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate()
