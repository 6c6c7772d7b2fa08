"""Who this agent is: keys, certificates and pinned signing keys, in one file of the state directory.

The file is replaced whole, so a crash during a renewal leaves the old identity or the new one. Private keys never
leave the state directory; everything prints as ***.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography import x509

from data_plane.link.files import write_atomically

_RENEW_AFTER = 2 / 3  # of the certificate's life


class Identity(msgspec.Struct, frozen=True):
    agent_name: str
    agent_id: str
    deployment: str
    client_key: bytes  # PEM
    client_certificate: bytes  # PEM chain
    listener_key: bytes
    listener_certificate: bytes
    ca_certificates: bytes
    signing_keys: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Identity({self.agent_name!r}, {self.agent_id!r}, ***)"

    def renewal_at(self) -> float:
        """Unix time from which the certificates should be renewed: two thirds of the shorter life."""
        return min(_renewal_at(self.client_certificate), _renewal_at(self.listener_certificate))

    def expires_at(self) -> float:
        return x509.load_pem_x509_certificate(self.client_certificate).not_valid_after_utc.timestamp()

    def listener_names(self) -> tuple[str, ...]:
        """DNS names and addresses that the listener certificate is good for."""
        certificate = x509.load_pem_x509_certificate(self.listener_certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
        return tuple(sorted([*names.get_values_for_type(x509.DNSName), *addresses]))


def _renewal_at(certificate: bytes) -> float:
    parsed = x509.load_pem_x509_certificate(certificate)
    life: dt.timedelta = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    return (parsed.not_valid_before_utc + life * _RENEW_AFTER).timestamp()


class IdentityStore:
    """`identity` for this project, and beside it PEM files for those who need files: TLS contexts."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "identity"
        self.listener_pem = directory / "listener.pem"  # key and chain
        self.ca_pem = directory / "ca.pem"
        self.lock_file = directory / "identity.lock"  # held by the one worker that enrols or renews

    def load(self) -> Identity | None:
        try:
            return msgspec.msgpack.decode(self._file.read_bytes(), type=Identity)
        except FileNotFoundError:
            return None

    def keep(self, identity: Identity) -> None:
        write_atomically(self._file, msgspec.msgpack.encode(identity))
        self.write_pem_files(identity)

    def write_pem_files(self, identity: Identity) -> None:
        """Also at start: a crash may have come between the identity and its copies."""
        write_atomically(self.listener_pem, identity.listener_key + identity.listener_certificate)
        write_atomically(self.ca_pem, identity.ca_certificates)

    def changed_at(self) -> int:
        """Rises when another process of this agent has renewed."""
        return self._file.stat().st_mtime_ns
