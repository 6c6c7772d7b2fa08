"""An endpoint without policy for tests of the wire: admits one token, lets every byte through, keeps what was said."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from data_plane.credentials.local import LocalCredential
from data_plane.gate import admission
from data_plane.gate.interface import (
    Allowed,
    Code,
    Decision,
    Denied,
    Effect,
    Held,
    Pending,
    Permit,
    Requester,
    SessionFacts,
    Subject,
    TargetFacts,
)
from data_plane.identifiers import CredentialId, IdentityId, SessionId, TargetName
from data_plane.policy.in_force import InForce
from data_plane.policy.model import MaskSpec, TargetSpec
from data_plane.protocols.interface import Endpoint, Process
from data_plane.protocols.postgres.cancellation import CancelRegistry, NoSiblings
from data_plane.protocols.postgres.core.ports import Output
from data_plane.protocols.postgres.service import PostgresService
from data_plane.protocols.postgres.session import MakeCore, Opening, PostgresCore
from data_plane.recording.interface import Recorder
from data_plane.runtime.clock import SystemClock
from data_plane.runtime.listener import Listener
from data_plane.runtime.secret import Secret
from data_plane.runtime.session import Sessions

TOKEN = "a-good-token"
DECISION = Decision(Effect.ALLOW, ("test/relay",))
REFUSED = Decision(Effect.DENY, ("test/relay",))


class FakeHold:
    def __init__(self) -> None:
        self.cancelled = ""

    def cancel(self, reason: str) -> None:
        self.cancelled = reason


class FakeGate(admission.SessionGate):
    def __init__(self, rule: Callable[[Sequence[Subject]], bool] = lambda _: True) -> None:
        self.rule = rule
        self.masks: tuple[str, ...] = ()
        self.closed_with: list[str] = []
        self.executions: list[tuple[str, str]] = []
        self.holds: list[FakeHold] = []

    def ground(self):
        return self

    def decide(self, subjects):
        return DECISION if self.rule(subjects) else REFUSED

    def judge(self, number, subjects, raw):
        if not self.rule(subjects):
            return Denied(Code.POLICY, "refused by the rule of the test")
        return Allowed(Permit(raw, DECISION), self.masks)

    def hold(self, operation, held, raw, listener, preview=None):
        del preview
        self.holds.append(FakeHold())
        return self.holds[-1]

    def stands(self, permit):
        del permit

    def executed(self, permit, outcome, detail):
        self.executions.append((outcome, detail))

    def close(self, reason):
        self.closed_with.append(reason)


class FakeRecorder(Recorder):
    """Remembers how it was closed and nothing else."""

    def __init__(self) -> None:
        self.closed_with: list[str] = []

    def closed(self, reason):
        self.closed_with.append(reason)

    def _forgotten(self, *_, **__):
        pass

    input = asked = decided = held = hold_ended = output = completed = answered = _forgotten

    async def durable(self):
        pass


class FakeAdmission:
    """Admits TOKEN and every verified certificate."""

    def __init__(self, spec: TargetSpec, masks: Mapping[str, MaskSpec]) -> None:
        self.spec = spec
        self.masks = masks
        self.rule: Callable[[Sequence[Subject]], bool] = lambda _: True
        self.seen: list[tuple] = []
        self.admitted: list[admission.Admitted] = []
        self.expires_at = time.time() + 3600
        self.refusal: admission.Refused | None = None
        self.make_gate: Callable[[], FakeGate] = lambda: FakeGate(self.rule)
        self.actions: frozenset[str] = frozenset()

    async def admit(self, credential, target, client_address, application_name, details: Mapping[str, str]):
        self.seen.append((credential, target, client_address, application_name, dict(details)))
        if self.refusal is not None:
            return self.refusal
        if isinstance(credential, admission.TokenCredential) and credential.token != Secret(TOKEN):
            return admission.Refused(Code.POLICY, "the token is not valid: get a new one", authentication=True)
        facts = SessionFacts(
            SessionId(f"ses_{len(self.seen)}"),
            TargetFacts(TargetName(target), "postgres", "test", {}),
            Requester(IdentityId("idn_1"), "robot", "machine", ()),
            CredentialId("crd_1"),
            client_address,
            application_name,
        )
        admitted = admission.Admitted(
            facts=facts,
            gate=self.make_gate(),
            recorder=FakeRecorder(),
            masks=tuple(self.masks),
            target=self.spec,
            row_limit=100,
            expires_at=self.expires_at,
            snapshot_version=1,
            actions=self.actions,
        )
        self.admitted.append(admitted)
        return admitted


class RelayCore:
    """Lets everything through. A query that begins with `hold` is held until the test decides."""

    def __init__(self, output: Output, parameters: Mapping[str, str]) -> None:
        self.output = output
        self.parameters = parameters
        self.held = self.idle = False
        self.waiting = b""
        self.heard: list[str] = []
        self.reminders = 0
        self.hold_limit = 0.0
        self.forward_cancel = True
        self.sent = 0  # bytes, by the client
        self.closed = False

    def client_sent(self, data: bytes) -> None:
        self.sent += len(data)
        if data[5:9] == b"hold":
            self.waiting, self.held = data, True
            self.output.hold(None, Held(DECISION), data, self.hold_limit)  # type: ignore[arg-type]
        elif data[5:9] == b"boom":
            raise RuntimeError("a bug")
        else:
            self.output.to_target(Permit(data, DECISION))

    def target_sent(self, data: bytes) -> None:
        self.output.to_client(data)

    def client_closed(self) -> None:
        self.heard.append("client closed")
        if self.held:
            self.held = False
            self.output.hold_ended("the client disconnected")

    def target_closed(self) -> None:
        self.heard.append("target closed")
        self.output.end("the target closed")

    def cancel_requested(self) -> bool:
        self.heard.append("cancel")
        return self.forward_cancel

    def hold_pending(self, pending: Pending) -> None:
        self.heard.append(f"pending {pending.short_code}")

    def hold_decided(self, verdict: Allowed | Denied) -> None:
        self.held = False
        self.output.hold_ended()
        if isinstance(verdict, Allowed):
            self.output.to_target(verdict.permit)

    def hold_overdue(self) -> None:
        self.heard.append("overdue")
        self.output.hold_ended("overdue")

    def remind(self) -> None:
        self.reminders += 1

    def account_changed(self, problem: str) -> None:
        self.heard.append(f"account {problem or 'changed'}")

    def over(self) -> None:
        self.closed = True

    def terminate(self, reason: str, message: str) -> None:
        from data_plane.protocols.postgres.answers import encode_error

        self.output.to_client(encode_error("57P01", message, severity="FATAL"))
        self.output.end(reason)


class Relay:
    """A running endpoint; `cores` are those of its sessions in order. With a `folder` it has the real core instead,
    and `masks` hold for every session; `in_force` may change them."""

    def __init__(self, spec: TargetSpec, username: str, password: str, **settings) -> None:
        masks: Mapping[str, MaskSpec] = settings.pop("masks", {})
        self.in_force = InForce(masks)
        self.admission = FakeAdmission(spec, masks)
        self.sessions = Sessions(**settings.pop("sessions", {}))
        self.cancels = CancelRegistry(settings.pop("siblings", NoSiblings()))
        self.cores: list[RelayCore] = []
        tls: ssl.SSLContext | None = settings.pop("tls", None)
        self.endpoint = Endpoint(
            target=TargetName("orders"),
            admission=settings.pop("admission", self.admission),
            credentials=settings.pop("credentials", None) or LocalCredential(username, Secret(password)),
            sessions=self.sessions,
            clock=SystemClock(),
            in_force=self.in_force,
            mask_key=b"k" * 32,
            tls=lambda: tls,
            tls_required=settings.pop("tls_required", False),
        )
        folder = settings.pop("folder", None)
        self.service = PostgresService(Process(folder, "worker-0")) if folder else None
        serve = self.service.serving(self.endpoint) if self.service else self.serve
        self.listener = Listener(serve, tls=lambda: tls, **settings)

    async def serve(self, accepted) -> None:
        await Opening(accepted, self.endpoint, self.cancels, self.prepare).serve()

    @contextlib.asynccontextmanager
    async def prepare(self, admitted, database) -> AsyncIterator[MakeCore]:
        def make(output: Output, parameters: Mapping[str, str]) -> PostgresCore:
            self.cores.append(RelayCore(output, parameters))
            return self.cores[-1]

        yield make

    @property
    def port(self) -> int:
        return self.listener.port


@contextlib.asynccontextmanager
async def relaying(spec: TargetSpec, username: str, password: str, **settings) -> AsyncIterator[Relay]:
    relay = Relay(spec, username, password, **settings)
    await relay.listener.start("127.0.0.1", 0)
    try:
        yield relay
    finally:
        await relay.listener.close()
        await relay.sessions.drain(0)


def certificates(folder: Path) -> tuple[ssl.SSLContext, str, Path, Path]:
    """A serving context that verifies client certificates; the authority's PEM; a client certificate and its key."""
    import trustme

    from data_plane.runtime import tls

    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    client = authority.issue_cert("robot@example.org")
    server.private_key_pem.write_to_path(folder / "server.key")
    server.cert_chain_pems[0].write_to_path(folder / "server.crt")
    client.private_key_pem.write_to_path(folder / "client.key")
    (folder / "client.key").chmod(0o600)
    client.cert_chain_pems[0].write_to_path(folder / "client.crt")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    ca = (folder / "ca.crt").read_text()
    context = tls.serving(folder / "server.crt", folder / "server.key", ca, ("postgresql",))
    return context, ca, folder / "client.crt", folder / "client.key"
