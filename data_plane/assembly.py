"""Puts one agent process together: the only place of the data plane that knows every part and every adapter.

A process is one agent instance: it has its own folder, journal, spool and stream. The workers of one agent share the
enrolment, the nonce database, the folder of cancel sockets and the listening ports.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import ssl
from collections.abc import Callable, Mapping
from importlib import metadata

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from data_plane.config import Config, ConfigError
from data_plane.credentials.configured import open_provider
from data_plane.credentials.feature import SessionAccounts
from data_plane.credentials.own import OwnCredentials, Told
from data_plane.credentials.ports import CredentialSource
from data_plane.gate.policy_admission import PolicyAdmission
from data_plane.gate.services import GateServices
from data_plane.gate.tickets import Tickets
from data_plane.identifiers import ApprovalId, SessionId, TargetName
from data_plane.link import wire
from data_plane.link.accounts import LinkAccounts
from data_plane.link.approvals import LinkApprovals
from data_plane.link.client import Link
from data_plane.link.errands import Errands, Handler
from data_plane.link.examination import EXAMINE, Examination
from data_plane.link.files import kept_secret, locked_directory
from data_plane.link.identity import Identity, IdentityStore
from data_plane.link.journal import Journal
from data_plane.link.lease import Lease
from data_plane.link.messages import LinkState, Load, Notice
from data_plane.link.nonces import SpentNonces
from data_plane.link.renewal import Renewal
from data_plane.link.rotation import ROTATE, SHOW, CredentialErrands
from data_plane.link.secrets import Calls, SealedSecrets
from data_plane.link.siblings import SiblingNews
from data_plane.link.snapshots import SnapshotStore
from data_plane.link.stream import Parts
from data_plane.link.tickets import StoredTickets
from data_plane.policy.model import TargetSpec
from data_plane.policy.snapshot import PolicyState
from data_plane.protocols.interface import ALPN, Endpoint, Process, ProtocolService
from data_plane.protocols.registry import PROTOCOLS
from data_plane.recording import salvage
from data_plane.recording.shelf import Shelf
from data_plane.recording.spool import Spool
from data_plane.recording.upload import Uploader
from data_plane.runtime import memory, tls
from data_plane.runtime.agent import Agent
from data_plane.runtime.clock import SystemClock
from data_plane.runtime.listener import Listener
from data_plane.runtime.metrics import Figures, MetricsServer, of_this_process
from data_plane.runtime.session import Sessions
from data_plane.runtime.tasks import spawn
from data_plane.runtime.worker_metrics import WorkerMetrics, worker_socket

log = structlog.get_logger(__name__)

VERSION = metadata.version("assentry")
_SHIP_SECONDS = 5.0
_PROTOCOL = "postgres"  # of every endpoint, until targets of others can be declared


def metrics_server(config: Config, registry: CollectorRegistry, unready: Callable[[], str]) -> MetricsServer:
    """The agent's one port. Raises ConfigError when it is taken."""
    address = config.metrics
    try:
        return MetricsServer((address.host, address.port), registry, unready)
    except OSError as error:
        raise config.cannot_listen("metrics", address, error) from error


def metrics_of_workers(config: Config) -> MetricsServer:
    """What the process that watches the workers serves for all of them."""
    workers = WorkerMetrics([worker_socket(config.state, index) for index in range(config.settings.workers)])
    return metrics_server(config, workers.registry, workers.unready)


class LinkedAgent(Agent):
    """Adds what only the spool knows."""

    shelf: Shelf
    sessions: Sessions

    def load(self) -> Load:
        return Load(self.sessions.count, self.sessions.held_count, self.shelf.size)


class Worker:
    """One process. Made inside a running event loop, after enrolment."""

    def __init__(self, config: Config, index: int, store: IdentityStore, identity: Identity) -> None:
        self._config, self._index, self._store, self._identity = config, index, store, identity
        self._folder = config.state / f"worker-{index}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = SystemClock()
        self._tls: tuple[Identity, ssl.SSLContext] | None = None
        self.sessions = Sessions()
        self._storage()
        self._policy()
        self._recording()
        self._admission()
        self._credentials()
        self._link()

    # -------------------------------------------------------------- parts

    def _storage(self) -> None:
        """Two processes that write one journal would number two reports alike and repeat what has run."""
        try:
            self._lock = locked_directory(self._folder)
        except BlockingIOError as error:
            raise ConfigError(f"{self._folder}: another agent works here; give each a state of its own") from error
        self._journal = Journal(self._folder / "journal.db", self._clock)
        spent, instance = self._config.state / "nonces.db", self._journal.instance_id
        self._nonces = SpentNonces(spent, self._clock, instance)
        shared = self._config.state / "workers"
        self._news = SiblingNews(shared, f"worker-{self._index}")
        self._stored = StoredTickets(spent, self._clock, instance, self._news, self._journal.flush)
        self._left = self._stored.recover(self._journal.open_approvals)
        self._journal.recover(self._nonces, [one.approval for one in self._left.tickets], self._left.used)
        if self._left.used and self._journal.flush(_SHIP_SECONDS):
            self._stored.forget(self._left.used)
        self._lease = Lease(self._folder / "lease", self._clock)
        self._snapshots = SnapshotStore(self._folder / "snapshot")

    def _policy(self) -> None:
        """The snapshot that is kept on disk is verified like one that arrives."""
        self.policy = PolicyState(
            deployment=self._identity.deployment,
            agent_name=self._identity.agent_name,
            keys=self._identity.signing_keys,
            decode=wire.snapshot_contents,
            pins=self._config.pins,
            misplaced=lambda name, why: self._journal.append(
                Notice("target-misplaced", f"{name} is not served: {why}")
            ),
        )
        kept = self._snapshots.load()
        if kept is not None:
            log.info("the snapshot of the last run", outcome=type(self.policy.apply(kept)).__name__)

    def _recording(self) -> None:
        seed = kept_secret(self._folder / "recording.key", lambda: secrets.token_bytes(32))
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._shelf = Shelf(self._folder / "spool", self._config.settings.spool_bytes)
        self._shelf.recover()
        salvage.report_left(self._shelf, self._journal)
        self._uploader = Uploader(self._shelf, self._recording_broken, self._journal.stored, self._journal.flush)
        self._spool = Spool(
            self._shelf,
            clock=self._clock,
            reports=self._journal,
            sign=self._key.sign,
            on_sealed=self._uploader.sealed,
        )

    def _recording_broken(self, session_id: str, why: str) -> None:
        self._journal.append(Notice("recording-broken", f"{session_id}: {why}"))

    def _admission(self) -> None:
        self._approvals = LinkApprovals(self._journal, self._clock, lambda: self._stream.reachable)
        self._tickets = Tickets(self._approvals, self._stored, self._clock, self._journal.instance_id)
        self._tickets.resume(self._left.tickets)
        services = GateServices(
            state=self.policy,
            lease=self._lease,
            approvals=self._approvals,
            nonces=self._nonces,
            clock=self._clock,
            decode_grant=wire.grant_contents,
            agent_instance=self._journal.instance_id,
            new_approval_id=lambda: ApprovalId(f"apr_{secrets.token_hex(16)}"),
            tickets=self._tickets,
        )
        self._doors = PolicyAdmission(
            services,
            recorders=self._spool,
            reports=self._journal,
            new_session_id=lambda: SessionId(f"ses_{secrets.token_hex(12)}"),
            end_session=self.sessions.terminate,
        )

    def _credentials(self) -> None:
        self._accounts = SessionAccounts(
            self._config.state,
            f"worker-{self._index}.{self._journal.boot_id}",
            reports=LinkAccounts(self._journal),
            clock=self._clock,
            end_session=self.sessions.terminate,
            spec=self._spec_of,
        )

    def _spec_of(self, name: TargetName) -> TargetSpec | None:
        """As the current snapshot has it."""
        found = self.policy.current.targets.get(name) if self.policy.current else None
        return found.spec if found else None

    def _link(self) -> None:
        self.agent = LinkedAgent(self.sessions, self._doors, self._config.settings.drain_seconds)
        self.agent.shelf, self.agent.sessions = self._shelf, self.sessions
        self._sealed = SealedSecrets(self._identity.deployment, self._calls, self._secret_of)
        told = {name: self._told(name) for name in self._target_names}
        self._own = OwnCredentials(told, self._sealed.store, self._spec_of, self._clock)
        self._handlers: dict[str, Handler] = {}  # by kind; filled when the endpoints are made
        self._errands = Errands(self._handlers, self._config.listeners.__contains__)
        self._parts = Parts(
            self.agent,
            self._approvals,
            self._journal,
            self.policy,
            self._snapshots,
            self._lease,
            self._clock,
            self._errands,
            self._sealed,
        )
        self._renewal = Renewal(
            self._store, self._identity, self._config.settings.control_plane, self._clock, lambda: self.policy.keys
        )
        self._stream = Link(
            address=self._config.settings.control_plane,
            identity=lambda: self._renewal.identity,
            parts=self._parts,
            uploader=self._uploader,
            version=VERSION,
            recording_keys=[base64.b64encode(self._key.public_key().public_bytes_raw()).decode()],
        )

    async def _calls(self) -> Calls:
        return await self._stream.calls()

    def _secret_of(self, target: str) -> str:
        """What the document of the target calls its secret; empty: none."""
        spec = self._spec_of(TargetName(target))
        return spec.credential.secret if spec is not None else ""

    # -------------------------------------------------------------- life

    async def run(self) -> None:
        """Serves until `agent.stop` is set, then drains."""
        self._spool.start()
        self._news.listen(self._tickets.changed)
        service = PROTOCOLS[_PROTOCOL](self._process())
        await service.start()
        linked = spawn(self._stream.run(), "link")
        renewing = spawn(self._renewal.run(), "renewal")
        sweeping = spawn(self._accounts.run(), "janitor")
        metrics = self._metrics()
        try:
            await self._listen(service)
            memory.keep_what_is_there()
            await self.agent.stop.wait()
            await self._errands.finished()
            await self.agent.drained(self._shipped)
        finally:
            metrics.close()
            for task in (linked, renewing, sweeping):
                task.cancel()
            await asyncio.wait([linked, renewing, sweeping])
            await self._accounts.close()
            await service.close()
            self._news.close()
            await asyncio.to_thread(self._close)

    def _process(self) -> Process:
        identity = self._identity
        folder, worker = self._config.state / "workers", f"worker-{self._index}"
        return Process(folder, worker, identity.deployment, identity.agent_name)

    async def _listen(self, service: ProtocolService) -> None:
        """Nobody is let in before what the last run has left at the targets was looked through."""
        mask_key = kept_secret(self._config.state / "mask.key", lambda: secrets.token_bytes(32))
        endpoints = [self._with_accounts(service, self._endpoint(name, mask_key)) for name in self._target_names]
        self._handle(service, {endpoint.target: endpoint.credentials for endpoint in endpoints})
        await self._accounts.begin()
        listeners = []
        for endpoint in endpoints:
            name, address = endpoint.target, self._config.listeners[endpoint.target]
            listener = Listener(service.serving(endpoint), tls=self._listener_tls)
            try:
                await listener.start(address.host, address.port, reuse_port=self._config.settings.workers > 1)
            except OSError as error:
                raise self._config.cannot_listen(f"targets.{name}.listen", address, error) from error
            listeners.append(listener)
            log.info("listening", target=name, host=address.host, port=listener.port)
        self.agent.listeners = listeners

    def _handle(self, service: ProtocolService, sources: Mapping[TargetName, CredentialSource]) -> None:
        """What the control plane may ask this agent to do at a target."""
        examination = Examination(self.policy, service, sources.__getitem__)
        own = CredentialErrands(self._config.state / "rotations", self._spec_of, service, self._own)
        self._handlers[EXAMINE] = Handler(examination.examine, harmless=True)
        self._handlers[SHOW] = Handler(own.show, harmless=True)
        self._handlers[ROTATE] = Handler(own.rotate)

    @property
    def _target_names(self) -> list[TargetName]:
        return [TargetName(name) for name in self._config.listeners]

    def _with_accounts(self, service: ProtocolService, endpoint: Endpoint) -> Endpoint:
        """Sessions of a target that names `session_roles` get accounts of their own, and all where Vault makes them."""
        elsewhere = open_provider(self._config.places.get(endpoint.target), self._clock)
        own = service.accounts(endpoint)
        source = self._accounts.source(endpoint.target, endpoint.credentials, own, elsewhere)
        return msgspec.structs.replace(endpoint, credentials=source)

    def _told(self, name: TargetName) -> Told:
        settings, config = self._config.settings.targets[name], self._config
        return Told(
            config.places.get(name), settings.username, config.preview_places.get(name), settings.preview_username
        )

    def _endpoint(self, name: TargetName, mask_key: bytes) -> Endpoint:
        settings = self._config.settings.targets[name]
        return Endpoint(
            target=name,
            admission=self._doors,
            credentials=self._own.source(name),
            sessions=self.sessions,
            clock=self._clock,
            in_force=self.policy,
            mask_key=mask_key,
            tls=self._listener_tls,
            tls_required=settings.client_tls == "required",
        )

    def _listener_tls(self) -> ssl.SSLContext:
        """Made anew when the certificate has been renewed."""
        identity = self._renewal.identity
        if self._tls is None or self._tls[0] is not identity:
            pem = self._store.listener_pem
            ca = identity.ca_certificates.decode()
            self._tls = (identity, tls.serving(pem, pem, ca, ALPN[_PROTOCOL]))
        return self._tls[1]

    def _metrics(self) -> MetricsServer:
        figures = {
            "open_sessions": ("Sessions that are open", lambda: float(self.sessions.count)),
            "held_operations": ("Operations that wait for people", lambda: float(self.sessions.held_count)),
            "spool_bytes": ("Recordings that wait for upload", lambda: float(self._shelf.size)),
            "link_connected": ("1: there is a stream to the control plane", lambda: float(self._stream.reachable)),
            "lease_seconds": ("How long the lease still runs", lambda: float(self._lease.seconds_left)),
            "orphaned_accounts": ("Accounts of sessions that will not go away", lambda: float(self._accounts.orphans)),
            "snapshot_version": ("The policy snapshot in force", lambda: float(self.policy.version)),
        }
        registry = of_this_process(Figures(figures))
        if self._config.settings.workers > 1:
            path = worker_socket(self._config.state, self._index)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return MetricsServer(path, registry, self._unready)
        return metrics_server(self._config, registry, self._unready)

    def _unready(self) -> str:
        if not self.agent.listeners:
            return "not listening yet"
        if self.policy.current is None:
            return "no policy snapshot yet"
        if self._doors.draining:
            return "draining"
        if self._stream.state is LinkState.REFUSED:
            return "refused by the control plane: enable the agent there"
        return "" if self._lease.valid else "no lease: the control plane is out of reach"

    async def _shipped(self) -> None:
        """The accounts of the last sessions go. Recordings are ended, and leave with the last reports while there is
        somebody to take them."""
        await self._accounts.ended(_SHIP_SECONDS)
        await asyncio.to_thread(self._spool.stop)
        await asyncio.to_thread(self._journal.flush, _SHIP_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHIP_SECONDS):
                while self._stream.reachable and not (self._uploader.idle and self._acknowledged):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    @property
    def _acknowledged(self) -> bool:
        return self._journal.first_report() > self._journal.durable

    def _close(self) -> None:
        self._spool.stop()
        self._stored.close()
        self._journal.close()
        self._nonces.close()
