"""The documents that an admin writes: Policy, ApprovalChain, OnCallSchedule, Mask, Target. Shape only, no evaluation.

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


PreviewKind = Literal["facts", "estimate", "count", "dry-run"]


class HoldLimits(Document, frozen=True):
    wait: str = "10m"
    in_transaction: str = "60s"
    then: Literal["", "ticket"] = ""
    preview: tuple[PreviewKind, ...] = ()  # what reviewers are told of the impact; empty: nothing is looked up


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


class Plans(Document, frozen=True):
    """Operations may be told beforehand, many as one request, and are approved together by this chain. What is held
    for another chain is not covered, and what is denied stays denied."""

    approval: str
    most: int = 20  # operations in one plan


class PolicySpec(Document, frozen=True):
    rules: tuple[Rule, ...]
    targets: TargetSelector = TargetSelector()
    requesters: RequesterSelector = RequesterSelector()
    plans: Plans | None = None  # None: each operation is asked for when it is held


class Policy(Document, frozen=True, tag_field="kind", tag="Policy"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: PolicySpec


class Requirement(Document, frozen=True):
    """`require` distinct people out of all that groups, people and on_call name; or every one of `all`; or one of
    `any`. People are named by their identities, groups by their names, on_call by schedules."""

    groups: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()
    require: int = 1
    all_of: tuple[Requirement, ...] = msgspec.field(default=(), name="all")
    any_of: tuple[Requirement, ...] = msgspec.field(default=(), name="any")


class Escalation(Document, frozen=True):
    """Who is asked besides, any of whom may then take a place of the stage that is still free, and for how long."""

    groups: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()
    timeout: str = "15m"


class OnTimeout(Document, frozen=True):
    escalate: Escalation


class Stage(Requirement, frozen=True):
    name: str = ""
    timeout: str = "15m"
    on_timeout: Literal["deny"] | OnTimeout = "deny"


class Window(Document, frozen=True):
    """What a reviewer may choose: an approval for operations of the same shape, so long and so many."""

    longest: str = "30m"
    most: int = 20


class RowGuard(Document, frozen=True):
    """A change that touches more rows than the reviewers were told (by a count or dry run) is undone. Both margins are
    added to what they were told."""

    margin_percent: int = 0
    margin_rows: int = 0
    required: bool = False  # an operation whose rows cannot be counted is refused; else it runs without a guard


ChannelName = Literal["console", "cli", "rest", "slack", "webhook"]


class Reauthenticate(Document, frozen=True):
    """How well whoever decides must have proven who they are. A security key signs each approval by itself, over what
    was shown. `acr` and `amr` are what an identity provider says of its sign-ins, or this control plane of its own:
    `phr` and `pop` of a security key, `pwd` of a password."""

    within: str = ""  # how old the sign-in may be; empty: as old as it is
    method: Literal["sign-in", "security-key"] = "sign-in"
    acr: tuple[str, ...] = ()  # one of these; empty: any
    amr: tuple[str, ...] = ()  # all of these


class ChainSpec(Document, frozen=True):
    stages: tuple[Stage, ...]
    approve_within: str = ""  # the whole chain; empty: all the time of its stages
    execute_within: str = "5m"
    remind_every: str = ""  # empty: never
    window: Window | None = None  # None: an approval is for one operation
    row_guard: RowGuard | None = None
    break_glass: bool = False
    channels: tuple[ChannelName, ...] | None = None  # through which decisions count; None: all that can
    reauthenticate: str | Reauthenticate = ""  # a duration alone is `within`; empty: a sign-in is enough

    @property
    def proof(self) -> Reauthenticate | None:
        """None: a sign-in is enough."""
        if isinstance(self.reauthenticate, str):
            return Reauthenticate(self.reauthenticate) if self.reauthenticate else None
        return self.reauthenticate


class ApprovalChain(Document, frozen=True, tag_field="kind", tag="ApprovalChain"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: ChainSpec


class Rotation(Document, frozen=True):
    """`people` in turn, the first from `start` on, each for as long as `every` says by the clock on the wall of the
    time zone: where daylight saving begins or ends, the hand-over stays at its hour."""

    people: tuple[str, ...]
    start: str  # 2026-01-05T09:00:00
    every: str = "7d"
    timezone: str = "UTC"  # as in the IANA database: Europe/Berlin


class Override(Document, frozen=True):
    """Instead of whose turn it is. Times as in the rotation's zone, or with an offset of their own."""

    person: str
    start: str = msgspec.field(name="from")
    until: str


class OnCallSpec(Document, frozen=True):
    rotation: Rotation
    overrides: tuple[Override, ...] = ()  # where two overlap, the later in the list


class OnCallSchedule(Document, frozen=True, tag_field="kind", tag="OnCallSchedule"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: OnCallSpec


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


class TargetPreview(Document, frozen=True):
    """The limits of impact previews, and whether the target allows dry runs: executed, then rolled back."""

    statement_timeout: str = "2s"
    lock_timeout: str = "200ms"
    dry_run: bool = False


RoleAction = Literal["read", "write", "ddl", "admin", "exec"]


class SessionRoles(Document, frozen=True):
    """The agent makes an account for each session, a member of the roles that policy may let it use: those of every
    action that a rule could allow without people. What people approve gets its roles for that operation only."""

    roles: dict[RoleAction, tuple[str, ...]]  # group roles at the target, by what operations need them
    owner: str = ""  # to whom what a session makes belongs; empty: to the first role of `ddl`, else nothing can be made
    sign_in_within: str = "30s"  # from then on nobody can sign in with the account any more; running sessions go on


class AccountRotation(Document, frozen=True):
    """The account of the agent itself takes turns between two: the idle one gets a new password, is tried, takes over,
    and the other one is disabled."""

    every: str = ""  # empty: only on demand
    accounts: tuple[str, str] | None = None  # None: one account, whose password is changed


class TargetCredential(Document, frozen=True):
    """Where the credential comes from and what it is used for. Never the credential itself."""

    secret: str = ""  # a secret that the control plane keeps sealed; empty: the agent's own configuration says
    session_roles: SessionRoles | None = None  # None: all sessions use the credential itself
    rotate: AccountRotation | None = None  # None: never


class TargetSpec(Document, frozen=True):
    protocol: Literal["postgres"]
    environment: str
    agent: str
    address: str  # host:port
    database: str = ""  # empty: the client chooses
    tls: TargetTls = TargetTls()
    recording: RecordingLimits = RecordingLimits()
    preview: TargetPreview = TargetPreview()
    credential: TargetCredential = TargetCredential()


class Target(Document, frozen=True, tag_field="kind", tag="Target"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: Metadata
    spec: TargetSpec


AnyDocument = Policy | ApprovalChain | OnCallSchedule | Mask | Target
