"""Agents and how they come to be trusted. Pure.

An *agent* is a name that targets refer to; it may be served by several *instances*, each with a state directory,
a stream and a numbered journal of its own. A join token lets one installation of one agent enrol, once.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from control_plane.kit.ids import random_text
from control_plane.kit.secret import Secret

_PREFIX: Final = "ajt_"
_TOKEN_LENGTH: Final = 52  # 260 bits


def new_token() -> Secret:
    return Secret(_PREFIX + random_text(_TOKEN_LENGTH))


def token_hash(token: str) -> str:
    """The token has 260 random bits, so a plain hash cannot be searched for it."""
    return hashlib.sha256(token.encode()).hexdigest()


class NotEnrolled(enum.StrEnum):
    """Why an enrolment was refused; told in the audit log only."""

    UNKNOWN = "the join token is not known"
    USED = "the join token was used before"
    EXPIRED = "the join token has expired"
    OTHER_AGENT = "the join token is for another agent"
    DISABLED = "the agent is disabled"


class Certificates(msgspec.Struct, frozen=True):
    client: bytes  # PEM chain
    listener: bytes
    ca: bytes
    serial: str  # of the client certificate, hexadecimal
    expires_at: datetime
    listener_names: tuple[str, ...]


class Enrolled(msgspec.Struct, frozen=True):
    agent_id: str
    agent_name: str
    certificates: Certificates


class Agent(msgspec.Struct, frozen=True):
    """Who holds the client certificate of a call."""

    id: str
    name: str
    certificate_expires_at: datetime


class Hello(msgspec.Struct, frozen=True):
    agent_name: str
    instance_id: str
    boot_id: str
    version: str
    features: tuple[str, ...]
    snapshot_version: int
    first_report: int
    open_sessions: tuple[str, ...]
    pending_approvals: tuple[str, ...]
    recording_keys: tuple[str, ...]  # base64 Ed25519


class Heartbeat(msgspec.Struct, frozen=True):
    number: int
    open_sessions: int
    held_operations: int
    spool_bytes: int


class SnapshotAck(msgspec.Struct, frozen=True):
    version: int


class SnapshotNack(msgspec.Struct, frozen=True):
    version: int
    reason: str


class Notice(msgspec.Struct, frozen=True):
    kind: str
    text: str


class Numbered(msgspec.Struct, frozen=True):
    """One report and its number. `report` None: a kind that this control plane does not know."""

    number: int
    report: object


class Reports(msgspec.Struct, frozen=True):
    reports: Sequence[Numbered]


class Errand(msgspec.Struct, frozen=True):
    """What one instance is asked to do at a target."""

    id: str
    kind: str
    target: str
    arguments: str  # JSON


class ErrandDone(msgspec.Struct, frozen=True):
    errand_id: str
    result: str  # JSON
    problem: str  # empty: it is done


FromAgent = Hello | Heartbeat | SnapshotAck | SnapshotNack | Reports | ErrandDone


class SignedSnapshot(msgspec.Struct, frozen=True):
    version: int
    payload: bytes
    signature: bytes
    key_id: str
