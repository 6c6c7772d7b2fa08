"""How a connection becomes a session: what a protocol shows, and what it gets. Values and the port only.

A protocol authenticates nobody: it hands over the credential as it came and gets a session's facts, gate and
open recorder, or a refusal. `policy_admission` implements the port.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from data_plane.gate.interface import Code, SessionFacts
from data_plane.gate.permit import SessionGate as SessionGate  # noqa: PLC0414  # told of from here
from data_plane.identifiers import TargetName
from data_plane.policy.model import TargetSpec
from data_plane.recording.interface import Recorder
from data_plane.runtime.secret import Secret


class TokenCredential(msgspec.Struct, frozen=True):
    """The short-lived token that a client sent as its password."""

    token: Secret


class CertificateCredential(msgspec.Struct, frozen=True):
    """The client certificate, DER. The handshake has verified its chain against the control plane's CA."""

    certificate: bytes


Credential = TokenCredential | CertificateCredential


class Admitted(msgspec.Struct, frozen=True, eq=False):
    facts: SessionFacts
    gate: SessionGate
    recorder: Recorder  # open; the protocol calls `closed` on it when the session is over, whatever happened
    masks: tuple[str, ...]  # hold for the whole session
    target: TargetSpec
    row_limit: int  # rows of each result that are recorded
    expires_at: float  # Unix time: from then on the session ends at the next idle point
    snapshot_version: int
    actions: frozenset[str] = frozenset()  # that policy may allow without people, when the session opens


class Refused(msgspec.Struct, frozen=True):
    """`message` is for the client and tells nothing that an attacker could use; the audit has the reason."""

    code: Code
    message: str
    authentication: bool = False  # True: the credential was not accepted; else who it is was clear


class Admission(Protocol):
    async def admit(
        self,
        credential: Credential,
        target: TargetName,
        client_address: str,
        application_name: str,
        details: Mapping[str, str],
    ) -> Admitted | Refused:
        """Never raises. `details`: what the client asked for, such as database and user; they are recorded. `database`
        is what conditions see as `session.database`, unless the target names its own. The refusal has been reported
        when it returns."""
