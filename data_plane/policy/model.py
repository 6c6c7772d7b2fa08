"""The documents that an admin writes: Policy, ApprovalChain, Mask, Target. Shape only, no evaluation.

Read by both planes (the control plane validates with it what the agent will evaluate). Unknown fields
are errors. Durations are written `15m`, `60s`, `2h` and become seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

API_VERSION = "assentry.dev/v1"


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every document has around its spec."""


class Metadata(Document, frozen=True):
    name: str
    labels: dict[str, str] = {}
    description: str = ""


Effect = Literal["allow", "hold", "deny"]
ActionName = Literal["read", "write", "ddl", "admin", "exec", "connect", "session", "unknown"]


class TargetSelector(Document, frozen=True):
    """Empty fields match everything; a list matches any of its members."""

    names: str | tuple[str, ...] = ()
    environment: str | tuple[str, ...] = ()
    protocol: str | tuple[str, ...] = ()
    labels: dict[str, str] = {}


class RequesterSelector(Document, frozen=True):
    """Any of the named groups or identities; empty matches everybody."""

    groups: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    kind: Literal["", "person", "machine"] = ""


class Match(Document, frozen=True):
    """All given fields must hold. Lists match any member; globs (`public.*`) where names are given."""

    action: ActionName | tuple[ActionName, ...] = ()
    verbs: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


class HoldLimits(Document, frozen=True):
    wait: str = "10m"
    in_transaction: str = "60s"
    then: Literal["", "ticket"] = ""


class Rule(Document, frozen=True):
    """With an effect: decides. With only `mask`: attaches masks to whatever is allowed."""

    name: str
    match: Match = Match()
    when: str = ""  # CEL over op, requester, target, session
    effect: Effect | None = None
    approval: str = ""
    hold: HoldLimits = HoldLimits()
    message: str = ""
    mask: tuple[str, ...] = ()


class PolicySpec(Document, frozen=True):
    rules: tuple[Rule, ...]
    targets: TargetSelector = TargetSelector()
    requesters: RequesterSelector = RequesterSelector()


class Policy(Document, frozen=True, tag_field="kind", tag="Policy"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: PolicySpec


class Stage(Document, frozen=True):
    groups: tuple[str, ...]
    require: int = 1
    timeout: str = "15m"


class ChainSpec(Document, frozen=True):
    stages: tuple[Stage, ...]  # exactly one for now
    execute_within: str = "5m"


class ApprovalChain(Document, frozen=True, tag_field="kind", tag="ApprovalChain"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: ChainSpec


Strategy = Literal["redact", "partial", "hash", "null"]
DetectorName = Literal["email", "card", "iban", "national-id", "jwt", "cloud-key", "private-key", "phone", "ip"]


class ColumnMask(Document, frozen=True):
    column: str  # "schema.table.column"
    strategy: Strategy = "redact"


class DetectorMask(Document, frozen=True):
    detect: DetectorName
    strategy: Strategy = "redact"


class MaskSpec(Document, frozen=True):
    columns: tuple[ColumnMask, ...] = ()
    detectors: tuple[DetectorMask, ...] = ()


class Mask(Document, frozen=True, tag_field="kind", tag="Mask"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: MaskSpec


class TargetTls(Document, frozen=True):
    mode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    ca: str = ""  # PEM


class RecordingLimits(Document, frozen=True):
    rows: int = 100  # rows kept of each result; beyond it only counts


class TargetSpec(Document, frozen=True):
    protocol: Literal["postgres"]
    environment: str
    agent: str
    address: str  # host:port
    database: str = ""  # empty: the client chooses
    tls: TargetTls = TargetTls()
    recording: RecordingLimits = RecordingLimits()


class Target(Document, frozen=True, tag_field="kind", tag="Target"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: TargetSpec


AnyDocument = Policy | ApprovalChain | Mask | Target
