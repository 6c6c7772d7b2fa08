"""Messages that a browser carries in an address: packed and signed, opened and verified. Pure.

SAML 2.0 Bindings §3.4 (HTTP-Redirect, DEFLATE encoding). The signature covers the octets of the query as they came, so
they are taken apart without being decoded; a parameter that stands there twice is refused, whoever would read which.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from control_plane.sign_on.saml_keys import SIGNATURE, KeyPair
from control_plane.sign_on.saml_shape import SIGNATURES
from control_plane.sign_on.saml_xml import XmlRefusedError

LARGEST: Final = 64 * 1024
_HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


class Opened(msgspec.Struct, frozen=True):
    message: bytes
    relay: str  # goes back as it came


def redirect(address: str, message: bytes, pair: KeyPair, parameter: str = "SAMLRequest", relay: str = "") -> str:
    """The address that carries the message, signed over exactly these octets (§3.4.4.1)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(message) + packer.flush()
    query = f"{parameter}={_escaped(packed)}"
    if relay:
        query += f"&RelayState={quote(relay, safe='')}"
    query += f"&SigAlg={quote(SIGNATURE, safe='')}"
    joined = "&" if urlsplit(address).query else "?"
    return f"{address}{joined}{query}&Signature={_escaped(pair.sign(query.encode()))}"


def opened(query: str, parameter: str, keys: Sequence[str]) -> Opened:
    """`keys`: certificates, base64 of DER, one of which has signed. Raises XmlRefusedError."""
    told = _parts(query)
    if parameter not in told or "Signature" not in told or "SigAlg" not in told:
        raise XmlRefusedError(f"the address holds no signed {parameter}")
    signed = "&".join(f"{name}={told[name]}" for name in (parameter, "RelayState", "SigAlg") if name in told)
    algorithm, signature = unquote(told["SigAlg"]), _decoded(told["Signature"])
    if algorithm not in SIGNATURES:
        raise XmlRefusedError(f"the signature {algorithm[:200]} is not accepted")
    if not any(_signed_by(key, algorithm, signature, signed.encode()) for key in keys):
        raise XmlRefusedError("the signature is wrong, or not by a key of the provider")
    return Opened(_unpacked(_decoded(told[parameter])), unquote(told.get("RelayState", "")))


def _parts(query: str) -> dict[str, str]:
    told: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in told:
            raise XmlRefusedError(f"the address holds {name[:32]!r} twice")
        told[name] = value
    return told


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(unquote(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise XmlRefusedError("a part of the address is not base64") from error


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(-15)
    try:
        message = unpacker.decompress(packed, LARGEST)
    except zlib.error as error:
        raise XmlRefusedError("the message cannot be unpacked") from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise XmlRefusedError(f"the message has more than {LARGEST} bytes, or ends too early")
    return message


def _signed_by(key: str, algorithm: str, signature: bytes, signed: bytes) -> bool:
    public = x509.load_der_x509_certificate(base64.b64decode(key)).public_key()
    kind, _, digest = algorithm.rpartition("#")[2].partition("-")
    try:
        if kind == "rsa" and isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, signed, padding.PKCS1v15(), _HASHES[digest])
            return True
        if kind == "ecdsa" and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(_der(signature), signed, ec.ECDSA(_HASHES[digest]))
            return True
    except InvalidSignature:
        return False
    return False


def _der(signature: bytes) -> bytes:
    """XML signatures write both numbers one behind the other (RFC 4050 §3.3)."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))


def _escaped(content: bytes) -> str:
    return quote(base64.b64encode(content).decode(), safe="")
