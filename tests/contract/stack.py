"""Both ends of the link over real gRPC and mutual TLS on loopback: a control plane on SQLite and agents without clients.

The control plane is `tests.control_plane.world` (real approvals, sessions and recordings; neighbours played) with the
agents feature on top. An agent is everything of `data_plane.link`; what its sessions would do is noted in `AgentSide`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from control_plane.accounts.service import AccountService
from control_plane.agents.feature import AgentsFeature, open_authority
from control_plane.agents.ports import Neighbours
from control_plane.agents.service import CERTIFICATE_LIFE
from control_plane.agents.stream import Timing
from control_plane.agents.wire import Encoder
from control_plane.approvals.grants import GrantIssuer
from control_plane.db.engine import Database, parse_url
from control_plane.db.migrate import migrate
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import SystemClock
from control_plane.kit.ids import new_id
from control_plane.kit.secret import Secret as ControlSecret
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.secrets.feature import Sealing, SecretsFeature
from data_plane.gate.interface import (
    Action,
    Decision,
    Effect,
    Operation,
    Pending,
    Requester,
    SessionFacts,
    Subject,
    TargetFacts,
)
from data_plane.gate.ports import Answered, ApprovalRequest
from data_plane.identifiers import ApprovalId, CredentialId, IdentityId, OperationId, SessionId, TargetName
from data_plane.link import enrolment, wire
from data_plane.link.approvals import LinkApprovals
from data_plane.link.client import Link, Pauses
from data_plane.link.errands import Errands, Handler
from data_plane.link.identity import Identity
from data_plane.link.journal import Journal
from data_plane.link.lease import Lease
from data_plane.link.messages import Load
from data_plane.link.nonces import SpentNonces
from data_plane.link.secrets import SealedSecrets
from data_plane.link.snapshots import SnapshotStore
from data_plane.link.stream import Parts
from data_plane.policy import model
from data_plane.policy.snapshot import PolicyState, Snapshot
from data_plane.recording.shelf import Shelf
from data_plane.recording.upload import Uploader
from data_plane.runtime import clock as agent_clock
from data_plane.runtime.secret import Secret
from data_plane.runtime.tasks import spawn
from tests.contract.played import PlayedDocuments
from tests.control_plane import world as worlds
from tests.control_plane.world import World

AGENT = "demo"
QUICK = Pauses(first=0.02, longest=0.1, refused_first=0.02, refused_longest=0.1)
SYSTEM_CLOCK = agent_clock.SystemClock()


@dataclass
class ControlSide:
    world: World
    feature: AgentsFeature
    documents: PlayedDocuments
    secrets: SecretsFeature
    folder: Path

    @property
    def link_address(self) -> str:
        return f"127.0.0.1:{self.feature.server.link_port}"

    @property
    def enrolment_address(self) -> str:
        return f"127.0.0.1:{self.feature.server.enrolment_port}"

    async def join_token(self, agent: str = AGENT, **lifetime: float) -> Secret:
        async with self.world.units() as uow:
            minted = await self.feature.service.create_token(uow, SYSTEM, agent, timedelta(**lifetime or {"hours": 1}))
        return Secret(minted.token.reveal())

    async def enrol(self, token: Secret | None = None, agent: str = AGENT, ca: bytes = b"") -> Identity:
        return await enrolment.enrol(
            address=self.enrolment_address,
            ca=ca or self.feature.authority.certificates,
            token=token or await self.join_token(agent),
            agent_name=agent,
            listener_names=("localhost", "127.0.0.1"),
            version="test",
        )

    async def publish(self, *documents: model.AnyDocument) -> int:
        for document in documents:
            self.documents.found[document.metadata.name] = document
        async with self.world.units() as uow:
            return await uow.snapshot_changed()

    async def keep(self, name: str, value: str) -> int:
        """The version of the secret."""
        async with self.world.units.reading() as uow:
            known = name in await self.secrets.service.known(uow)
        made = await self.secrets.service.put(KEEPER, name, ControlSecret(value), "*" if known else None)
        return made.row.version

    async def replaced(self, timing: Timing | None = None) -> None:
        """The server stops and another one starts on the same ports, as after a restart."""
        server = self.feature.server
        addresses = self.link_address, self.enrolment_address
        await server.stop()
        self.feature = build_feature(self.world, self.documents, self.secrets, timing or QUICK_BEAT, addresses)
        await self.feature.server.start()


KEEPER = Principal(
    identity=IdentityId("idn_ada"),
    name="ada",
    kind="person",
    groups=(),
    permissions=frozenset({Permission.SECRETS}),
    credential_id=CredentialId("crd_ada"),
    authenticated_at=datetime.now(UTC),
)
QUICK_BEAT = Timing(lease_seconds=60, heartbeat_seconds=1)


def build_feature(
    world: World,
    documents: PlayedDocuments,
    secrets: SecretsFeature,
    timing: Timing,
    addresses: tuple[str, str] = ("127.0.0.1:0", "127.0.0.1:0"),
    life: timedelta = CERTIFICATE_LIFE,
) -> AgentsFeature:
    return AgentsFeature(
        units=world.units,
        events=world.events,
        clock=SystemClock(),
        keys=world.keys,
        deployment=worlds.DEPLOYMENT,
        authority=open_authority(secrets.sealing.state_dir, SystemClock(), secrets.sealing.files),
        neighbours=Neighbours(
            [documents],
            documents,
            world.approvals,
            world.sessions,
            AccountService(),
            world.recordings,
            documents,
            secrets.delivery,
        ),
        link_address=addresses[0],
        enrolment_address=addresses[1],
        timing=timing,
        certificate_life=life,
    )


def build_secrets(world: World, targets: Any, folder: Path) -> SecretsFeature:
    sealing = Sealing("", folder, worlds.DEPLOYMENT)
    return SecretsFeature(
        units=world.units, events=world.events, targets=targets, deployment=worlds.DEPLOYMENT, sealing=sealing
    )


@contextlib.asynccontextmanager
async def control_side(
    folder: Path, timing: Timing = QUICK_BEAT, life: timedelta = CERTIFICATE_LIFE
) -> AsyncIterator[ControlSide]:
    url = f"sqlite:///{folder / 'control.sqlite3'}"
    database = Database(parse_url(url))
    await migrate(database)
    await database.close()
    async with worlds.running(url, folder) as world:
        world.clock.instant = datetime.now(UTC)
        world.review._agreement._grants = GrantIssuer(worlds.DEPLOYMENT, world.keys, Encoder())
        documents = PlayedDocuments()
        secrets = build_secrets(world, documents, folder)
        feature = build_feature(world, documents, secrets, timing, life=life)
        await feature.server.start()
        side = ControlSide(world, feature, documents, secrets, folder)
        try:
            yield side
        finally:
            await side.feature.server.stop()


class AgentSide:
    """What the link tells the agent: each kind is noted, and `happened` is set."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.terminated: list[tuple[str, str]] = []
        self.drained: list[float] = []
        self.lease_ends: list[str] = []
        self.happened = asyncio.Event()

    def load(self) -> Load:
        return Load(1, 0, 0)

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self.happened.set()

    def terminate(self, session_id: str, reason: str) -> None:
        self.terminated.append((session_id, reason))
        self.happened.set()

    def drain(self, seconds: float) -> None:
        self.drained.append(seconds)
        self.happened.set()

    def lease_ended(self, reason: str) -> None:
        self.lease_ends.append(reason)
        self.happened.set()


@dataclass
class RunningAgent:
    side: AgentSide
    link: Link
    parts: Parts
    approvals: LinkApprovals
    journal: Journal
    policy: PolicyState
    lease: Lease
    shelf: Shelf
    uploader: Uploader
    task: asyncio.Task[None]
    pendings: asyncio.Queue[Pending] = field(default_factory=asyncio.Queue)
    answers: asyncio.Queue[Answered] = field(default_factory=asyncio.Queue)

    async def until(self, holds: Callable[[], object], seconds: float = 10) -> None:
        """Awaits something that no event announces."""
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.005)

    def open_session(self, session_id: str = "") -> SessionFacts:
        facts = session_facts(session_id or new_id("ses"))
        self.journal.opened(facts, 1)
        return facts

    def ask(self, facts: SessionFacts, text: str = "DELETE FROM orders") -> ApprovalId:
        request = approval_request(facts, text)
        self.approvals.request(request, self.pendings.put_nowait, self.answers.put_nowait)
        return request.id

    async def acknowledged(self) -> None:
        """Everything reported so far has been taken by the control plane."""
        await asyncio.to_thread(self.journal.flush, 5)
        await self.until(lambda: self.journal.first_report() > self.journal.durable)


@contextlib.asynccontextmanager
async def running_agent(
    folder: Path,
    identity: Identity,
    address: str,
    *,
    pauses: Pauses = QUICK,
    recording_keys: Sequence[str] = (),
    handlers: Mapping[str, Handler] | None = None,
) -> AsyncIterator[RunningAgent]:
    folder.mkdir(parents=True, exist_ok=True)
    side = AgentSide()
    journal = Journal(folder / "journal.db", SYSTEM_CLOCK)
    nonces = SpentNonces(folder / "nonces.db", SYSTEM_CLOCK)
    journal.recover(nonces)
    lease = Lease(folder / "lease", SYSTEM_CLOCK)
    policy = PolicyState(
        deployment=identity.deployment,
        agent_name=identity.agent_name,
        keys=identity.signing_keys,
        decode=wire.snapshot_contents,
    )
    store = SnapshotStore(folder / "snapshot")
    if (kept := store.load()) is not None:
        policy.apply(kept)
    reach: list[Link] = []
    approvals = LinkApprovals(journal, SYSTEM_CLOCK, lambda: reach[0].reachable)
    errands = Errands(handlers or {}, lambda target: True)

    async def calls() -> Any:
        return await reach[0].calls()

    secrets = SealedSecrets(identity.deployment, calls, lambda target: secret_of(policy, target))
    parts = Parts(side, approvals, journal, policy, store, lease, SYSTEM_CLOCK, errands, secrets)
    shelf = Shelf(folder / "spool", 1 << 30)
    uploader = Uploader(shelf, lambda session, why: None)
    link = Link(
        address=address,
        identity=lambda: identity,
        parts=parts,
        uploader=uploader,
        version="test",
        recording_keys=recording_keys,
        pauses=pauses,
    )
    reach.append(link)
    task = spawn(link.run(), "link")
    try:
        yield RunningAgent(side, link, parts, approvals, journal, policy, lease, shelf, uploader, task)
    finally:
        task.cancel()
        await asyncio.wait([task])
        journal.close()
        nonces.close()


def secret_of(policy: PolicyState, target: str) -> str:
    found = policy.current.targets.get(TargetName(target)) if policy.current else None
    return found.spec.credential.secret if found else ""


def session_facts(session_id: str) -> SessionFacts:
    return SessionFacts(
        id=SessionId(session_id),
        target=TargetFacts(TargetName("orders"), "postgres", "production", {}),
        requester=Requester(IdentityId("idn_bot"), "bot", "machine", ("ai-agents",)),
        credential_id=CredentialId("crd_1"),
        client_address="127.0.0.1:5",
        application_name="psql",
    )


def approval_request(facts: SessionFacts, text: str = "DELETE FROM orders") -> ApprovalRequest:
    operation = Operation(
        id=OperationId(new_id("opn")),
        number=1,
        session=facts.id,
        protocol="postgres",
        target=facts.target.name,
        subjects=(Subject(Action.WRITE, ("DELETE",), (), {"has_where": False}, understood=True),),
        text=text,
        parts=(text.encode(), b"Q" + text.encode()),
        state=(("database", "shop"),),
    )
    decision = Decision(Effect.HOLD, ("production/writes",), chain="dba", wait_seconds=600)
    return ApprovalRequest(ApprovalId(new_id("apr")), facts, operation, decision, 1, 600)


def policy_document(name: str, *rules: str) -> model.Policy:
    return model.Policy(
        apiVersion="assentry.dev/v1",
        metadata=model.Metadata(name=name),
        spec=model.PolicySpec(rules=tuple(model.Rule(name=rule, effect="allow") for rule in rules)),
    )


def target_document(name: str, agent: str = AGENT, **credential: Any) -> model.Target:
    spec = model.TargetSpec(
        protocol="postgres",
        environment="production",
        agent=agent,
        address="127.0.0.1:5432",
        credential=model.TargetCredential(**credential),
    )
    return model.Target(apiVersion="assentry.dev/v1", metadata=model.Metadata(name=name), spec=spec)


def changed(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)
