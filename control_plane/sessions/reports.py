"""What an agent reports about its sessions. Plain values: `agents/wire.py` maps them from the link's messages."""

from __future__ import annotations

import msgspec


class Reporter(msgspec.Struct, frozen=True):
    """The agent instance that reports; `boot_id` is the one of its Hello."""

    agent_name: str
    instance_id: str
    boot_id: str


class OpenedReport(msgspec.Struct, frozen=True):
    session_id: str
    at_ms: int
    target: str
    protocol: str
    requester_id: str
    credential_id: str
    client_address: str
    application_name: str
    snapshot_version: int
    boot_id: str


class ClosedReport(msgspec.Struct, frozen=True):
    session_id: str
    at_ms: int
    reason: str
    operations: int
    recording_hash: bytes = b""


class RefusedReport(msgspec.Struct, frozen=True):
    """A connection that did not become a session."""

    at_ms: int
    target: str
    reason: str
    client_address: str
    requester_id: str = ""


class DecisionsReport(msgspec.Struct, frozen=True):
    """DecisionBatch: `entries` as they came, sealed; the rest is what the agent tells of them."""

    session_id: str
    first_operation: int
    last_operation: int
    count: int
    allowed: int
    held: int
    denied: int
    entries: bytes
