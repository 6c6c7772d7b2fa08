"""Key revocation lists as OpenSSH reads them (PROTOCOL.krl, format 1): which certificates a server must refuse.

Certificates are named by their key id, which is the id of the credential, below each key of the authority. Pure. The
list is not signed: OpenSSH has no such thing any more, so it is fetched over TLS.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Final

_MAGIC: Final = b"SSHKRL\n\0"
_FORMAT: Final = 1
_CERTIFICATES: Final = 1  # KRL_SECTION_CERTIFICATES
_BY_KEY_ID: Final = 0x23  # KRL_SECTION_CERT_KEY_ID


def revocation_list(authorities: Sequence[bytes], key_ids: Sequence[str], generated_at: int) -> bytes:
    """`authorities`: public keys as OpenSSH writes them. `generated_at`: Unix seconds; also the list's number."""
    header = _MAGIC + struct.pack(">IQQQ", _FORMAT, generated_at, generated_at, 0) + _string(b"") + _string(b"Assentry")
    if not key_ids:
        return header
    named = b"".join(_string(key_id.encode()) for key_id in key_ids)
    sections = (_string(_blob(one)) + _string(b"") + bytes([_BY_KEY_ID]) + _string(named) for one in authorities)
    return header + b"".join(bytes([_CERTIFICATES]) + _string(section) for section in sections)


def _blob(public_key: bytes) -> bytes:
    return base64.b64decode(public_key.split()[1])


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
