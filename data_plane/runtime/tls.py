"""TLS settings of both legs: what the agent serves clients with, and how it checks a target."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

TargetMode = Literal["require", "verify-ca", "verify-full"]
_NO_CHECK_TIME: Final = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


def serving(certificate: Path, key: Path, client_ca: str, alpn: Sequence[str]) -> ssl.SSLContext:
    """For clients. Those that show a certificate must have it from `client_ca` (PEM); the others show a token.

    Whether it is in time the admission says (`gate.identity`), so that an expired one is refused in words, and audited:
    a handshake that fails here ends without its alert. No certificate of `client_ca` outlives it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(alpn)
    if client_ca:
        context.load_verify_locations(cadata=client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


def dialling(mode: TargetMode, ca: str, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """For a target: `verify-full` checks the chain and the name, `verify-ca` the chain, `require` nothing.

    `ca` is PEM; empty: what the machine trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    if ca:
        context.load_verify_locations(cadata=ca)
    elif mode != "require":
        context.load_default_certs()
    if alpn:
        context.set_alpn_protocols(alpn)
    return context
