"""The SCRAM-SHA-256 conversation with a target, over `scramp`.

Follows RFC 5802, 7677 and "SASL Authentication" (55.3). With TLS it binds to the channel (tls-server-end-point, RFC
5929). Bounded: a hostile target cannot make it compute for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import scramp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.runtime.secret import Secret

MOST_ITERATIONS: Final = 200_000
PLAIN: Final = "SCRAM-SHA-256"
BOUND: Final = "SCRAM-SHA-256-PLUS"


def end_point(certificate: bytes) -> tuple[str, bytes]:
    """The channel binding of a TLS connection by the target's certificate (DER)."""
    parsed = x509.load_der_x509_certificate(certificate)
    algorithm = parsed.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return "tls-server-end-point", parsed.fingerprint(algorithm)


class Scram:
    """One conversation. `nonce` is fresh and random; every error is the target's."""

    def __init__(self, offered: Sequence[str], password: Secret, nonce: str, certificate: bytes | None) -> None:
        known = [name for name in (BOUND, PLAIN) if name in offered and (certificate is not None or name == PLAIN)]
        if not known:
            raise RemoteProtocolError("the target offers no SASL mechanism that is known here", "0A000")
        self.mechanism = known[0]
        try:
            binding = end_point(certificate) if certificate is not None else None
            # The user name goes in the StartupMessage; PostgreSQL ignores the one of SCRAM.
            self._client = scramp.ScramClient(known, "*", password.reveal(), channel_binding=binding, c_nonce=nonce)
        except (scramp.ScramException, ValueError, UnsupportedAlgorithm) as error:
            raise RemoteProtocolError("SCRAM cannot be done with this certificate or password", "0A000") from error

    def first(self) -> bytes:
        return str(self._client.get_client_first()).encode()

    def final(self, server_first: bytes) -> bytes:
        """Proves that we know the password; costs one PBKDF2 of at most MOST_ITERATIONS."""
        try:
            self._client.set_server_first(server_first.decode())
            if int(self._client.iterations) > MOST_ITERATIONS:
                raise RemoteProtocolError(f"the target asks for more than {MOST_ITERATIONS} SCRAM iterations")
            return str(self._client.get_client_final()).encode()
        except (scramp.ScramException, ValueError) as error:
            raise RemoteProtocolError("the target's first SCRAM message is wrong") from error

    def verify(self, server_final: bytes) -> None:
        """The target proves that it knows the password, too."""
        try:
            self._client.set_server_final(server_final.decode())
        except (scramp.ScramException, ValueError) as error:
            raise RemoteProtocolError("the target does not prove that it knows the password") from error
