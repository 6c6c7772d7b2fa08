"""What the agent was told by the control plane, decoded, and the one place that says which snapshot is current.

`SnapshotContents` is the payload as plain values (the link maps the protobuf message to it); `Snapshot` has its
documents decoded and its policies compiled. A snapshot is applied whole or refused with the reason, which the
link sends as the nack; the last good one stays. Refused: a bad signature, another deployment or agent, an older
version, a feature this agent does not know, a document it cannot read or rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from data_plane.identifiers import CredentialId, IdentityId, TargetName
from data_plane.policy import documents, model, rules, signatures
from data_plane.policy.in_force import InForce
from data_plane.policy.pins import NO_PINS, Pin

FEATURES = frozenset(
    {
        "policies/1", "cel/1", "masks/1", "chains/1", "chains/2", "plans/1", "tickets/1", "previews/1", "row-guards/1",
        "credentials/1",
    }
)  # fmt: skip


class SignedSnapshot(msgspec.Struct, frozen=True):
    """As it came over the link or from disk: nothing in it is believed before its signature."""

    payload: bytes
    signature: bytes
    key_id: str


class NamedJson(msgspec.Struct, frozen=True):
    name: str
    json: str


class SnapshotTarget(msgspec.Struct, frozen=True):
    name: TargetName
    labels: Mapping[str, str]
    spec: model.TargetSpec


class SnapshotIdentity(msgspec.Struct, frozen=True):
    id: IdentityId
    name: str
    kind: str  # person, machine
    groups: tuple[str, ...]
    owner_id: IdentityId | None = None
    disabled: bool = False


class RawTarget(msgspec.Struct, frozen=True):
    name: str
    labels: Mapping[str, str]
    json: str  # the Target's spec


class SnapshotContents(msgspec.Struct, frozen=True):
    """SnapshotPayload of link.proto as plain values."""

    deployment: str
    version: int
    issued_at_ms: int
    agent_name: str
    required_features: tuple[str, ...] = ()
    targets: tuple[RawTarget, ...] = ()
    policies: tuple[NamedJson, ...] = ()
    masks: tuple[NamedJson, ...] = ()
    chains: tuple[NamedJson, ...] = ()
    identities: tuple[SnapshotIdentity, ...] = ()
    revoked_credentials: tuple[str, ...] = ()
    signing_keys: Mapping[str, bytes] = {}


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """Compared by identity: a gate drops what it decided as soon as the current snapshot is another one."""

    deployment: str
    version: int
    issued_at_ms: int
    targets: Mapping[TargetName, SnapshotTarget]
    policies: tuple[rules.CompiledPolicy, ...]
    masks: Mapping[str, model.MaskSpec]
    chains: Mapping[str, model.ChainSpec]
    identities: Mapping[IdentityId, SnapshotIdentity]
    revoked: frozenset[CredentialId]


class Applied(msgspec.Struct, frozen=True):
    snapshot: Snapshot


class Refused(msgspec.Struct, frozen=True):
    version: int  # 0: could not be read
    reason: str


_Document = TypeVar("_Document", bound=msgspec.Struct)

Decoder = Callable[[bytes], SnapshotContents]  # raises ValueError for what is not a SnapshotPayload


class PolicyState(InForce):
    """The current snapshot and the keys that the next one must be signed with. One per process, one thread."""

    def __init__(
        self,
        *,
        deployment: str,
        agent_name: str,
        keys: Mapping[str, bytes],
        decode: Decoder,
        pins: Mapping[str, Pin] = NO_PINS,
        misplaced: Callable[[str, str], object] | None = None,
    ) -> None:
        """`misplaced` hears of each target that is not served because its document contradicts its pin."""
        super().__init__(masks={})
        self.keys: Mapping[str, bytes] = dict(keys)
        self.deployment = deployment
        self._agent_name = agent_name
        self._decode = decode
        self._pins = pins
        self._misplaced = misplaced

    @property
    def features(self) -> frozenset[str]:
        """What this agent understands, for Hello."""
        return FEATURES

    @property
    def version(self) -> int:
        return self.current.version if self.current else 0

    def apply(self, signed: SignedSnapshot) -> Applied | Refused:
        """Makes it current, or says why not. The same version again changes nothing and is Applied."""
        wrong = signatures.refusal(self.keys, signed.key_id, signatures.SNAPSHOT, signed.payload, signed.signature)
        if wrong:
            return Refused(0, wrong)
        try:
            contents = self._decode(signed.payload)
        except ValueError as error:
            return Refused(0, f"not a snapshot: {error}")
        return self._apply(contents)

    def _apply(self, contents: SnapshotContents) -> Applied | Refused:
        reason = self._unfit(contents)
        if reason:
            return Refused(contents.version, reason)
        if self.current is not None and contents.version == self.current.version:
            return Applied(self.current)
        snapshot = _decoded(contents)
        if isinstance(snapshot, Refused):
            return snapshot
        self.current = snapshot = self._in_place(snapshot)
        self.masks = snapshot.masks
        if contents.signing_keys:
            self.keys = dict(contents.signing_keys)
        return Applied(snapshot)

    def _in_place(self, snapshot: Snapshot) -> Snapshot:
        targets = dict(snapshot.targets)
        for name, pin in self._pins.items():
            target = targets.get(TargetName(name))
            if target is not None and (why := pin.problem(target.spec)):
                del targets[target.name]
                if self._misplaced is not None:
                    self._misplaced(name, why)
        return msgspec.structs.replace(snapshot, targets=targets)

    def _unfit(self, contents: SnapshotContents) -> str:
        if contents.deployment != self.deployment:
            return f"meant for deployment {contents.deployment!r}, this agent belongs to {self.deployment!r}"
        if contents.agent_name != self._agent_name:
            return f"meant for agent {contents.agent_name!r}, this is {self._agent_name!r}"
        unknown = sorted(set(contents.required_features) - FEATURES)
        if unknown:
            return f"needs features this agent does not have: {', '.join(unknown)}; update the agent"
        if contents.version < max(self.version, 1):
            return f"version {contents.version} is older than {self.version}, which is in force"
        return ""


def required_features(all_documents: Iterable[model.AnyDocument]) -> tuple[str, ...]:
    """What an agent must understand to obey these documents; the control plane writes it into the snapshot."""
    needed = set()
    for document in all_documents:
        if isinstance(document, model.Policy):
            needed |= {"policies/1"} | _rule_features(document.spec.rules)
            if document.spec.plans is not None:
                needed.add("plans/1")
        elif isinstance(document, model.Mask):
            needed.add("masks/1")
        elif isinstance(document, model.ApprovalChain):
            needed |= {"chains/2"} | ({"row-guards/1"} if document.spec.row_guard else set())
        elif isinstance(document, model.Target) and document.spec.credential != model.TargetCredential():
            needed.add("credentials/1")
    return tuple(sorted(needed))


def _rule_features(written: Iterable[model.Rule]) -> set[str]:
    conditions = {"cel/1" for rule in written if rule.when}
    previews = {"previews/1" for rule in written if rule.hold.preview}
    return conditions | previews | {"tickets/1" for rule in written if rule.hold.then == "ticket"}


class _BadDocumentError(Exception):
    """Carries the Problem to the one place that turns it into a refusal."""


def _decoded(contents: SnapshotContents) -> Snapshot | Refused:
    try:
        policies = tuple(_document(model.Policy, item) for item in contents.policies)
        masks = {item.name: _document(model.Mask, item).spec for item in contents.masks}
        chains = {item.name: _document(model.ApprovalChain, item).spec for item in contents.chains}
        targets = {TargetName(item.name): _target(item) for item in contents.targets}
        compiled = tuple(rules.compile_policy(policy) for policy in policies)
    except (_BadDocumentError, rules.PolicyError) as error:
        return Refused(contents.version, str(error))
    return Snapshot(
        deployment=contents.deployment,
        version=contents.version,
        issued_at_ms=contents.issued_at_ms,
        targets=targets,
        policies=compiled,
        masks=masks,
        chains=chains,
        identities={identity.id: identity for identity in contents.identities},
        revoked=frozenset(CredentialId(name) for name in contents.revoked_credentials),
    )


def _document(kind: type[_Document], item: NamedJson) -> _Document:
    document = documents.decode(item.json)
    if isinstance(document, documents.Problem):
        raise _BadDocumentError(document)
    if not isinstance(document, kind):
        raise _BadDocumentError(f"document {item.name!r} is not a {kind.__name__}")
    return document


def _target(item: RawTarget) -> SnapshotTarget:
    spec = documents.decode_spec(model.TargetSpec, "Target", item.name, item.json)
    if isinstance(spec, documents.Problem):
        raise _BadDocumentError(spec)
    return SnapshotTarget(name=TargetName(item.name), labels=item.labels, spec=spec)
