"""What agents must know, built from the database at one revision and signed.

The version of a snapshot is the deployment's snapshot revision, which rises with every change of documents,
identities, groups and revocations; so every replica gives the same version the same meaning. The newest snapshot of
each agent is kept in memory and built again when the revision has risen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from control_plane.agents.domain import SignedSnapshot
from control_plane.agents.ports import Documents, Identities
from control_plane.identities.domain import SnapshotIdentities
from control_plane.kit.clock import milliseconds
from control_plane.kit.keys import SNAPSHOT_CONTEXT, PublicKey, SigningKeys
from control_plane.kit.revision import current_revision
from control_plane.kit.unit_of_work import SNAPSHOT, UnitOfWork, Units
from data_plane.policy import model
from data_plane.policy.snapshot import required_features


class SnapshotContents(msgspec.Struct, frozen=True):
    deployment: str
    version: int
    issued_at_ms: int
    agent_name: str
    required_features: tuple[str, ...]
    targets: Sequence[model.Target]
    policies: Sequence[model.Policy]
    masks: Sequence[model.Mask]
    chains: Sequence[model.ApprovalChain]
    identities: SnapshotIdentities
    signing_keys: Sequence[PublicKey]


class SnapshotEncoder(Protocol):
    def encode_snapshot(self, contents: SnapshotContents) -> bytes:
        """The serialized SnapshotPayload, deterministic. What it returns is what is signed and sent."""


class Snapshots:
    def __init__(
        self,
        units: Units,
        keys: SigningKeys,
        deployment: str,
        documents: Sequence[Documents],
        identities: Identities,
        encoder: SnapshotEncoder,
    ) -> None:
        """`documents`: the kinds; those that agents need not know are passed over."""
        self._units = units
        self._keys = keys
        self._deployment = deployment
        self._documents = documents
        self._identities = identities
        self._encoder = encoder
        self._built: dict[str, SignedSnapshot] = {}
        self._building = asyncio.Lock()

    async def newest(self, agent_name: str) -> SignedSnapshot:
        async with self._building, self._units.reading() as uow:
            revision = await current_revision(uow.session, SNAPSHOT)
            built = self._built.get(agent_name)
            if built is None or built.version < revision:
                built = self._signed(await self._contents(uow, agent_name, revision))
                self._built[agent_name] = built
            return built

    async def _contents(self, uow: UnitOfWork, agent_name: str, revision: int) -> SnapshotContents:
        """`revision` was read first: what is newer in here comes again with its own revision."""
        found: list[model.AnyDocument] = []
        for kind in self._documents:
            stored = await kind.stored(uow)
            found += [one.document for _, one in sorted(stored.items()) if isinstance(one.document, model.AnyDocument)]
        targets = [one for one in found if isinstance(one, model.Target) and one.spec.agent == agent_name]
        return SnapshotContents(
            deployment=self._deployment,
            version=revision,
            issued_at_ms=milliseconds(uow.now),
            agent_name=agent_name,
            required_features=required_features(
                [*targets, *(one for one in found if not isinstance(one, model.Target))]
            ),
            targets=targets,
            policies=[one for one in found if isinstance(one, model.Policy)],
            masks=[one for one in found if isinstance(one, model.Mask)],
            chains=[one for one in found if isinstance(one, model.ApprovalChain)],
            identities=await self._identities.snapshot(uow),
            signing_keys=self._keys.public_keys(),
        )

    def _signed(self, contents: SnapshotContents) -> SignedSnapshot:
        payload = self._encoder.encode_snapshot(contents)
        signed = self._keys.sign(SNAPSHOT_CONTEXT, payload)
        return SignedSnapshot(contents.version, payload, signed.signature, signed.key_id)
