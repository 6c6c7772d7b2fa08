"""A gate with everything around it in memory: a control plane that answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_plane.gate.grants import Approver, GrantContents
from data_plane.gate.interface import Allowed, Denied, Held, Operation, Pending, SessionFacts, Subject
from data_plane.gate.policy_gate import PolicyGate
from data_plane.gate.ports import Answer, Answered, ApprovalRequest, KeptTicket, SignedGrant, TicketKey
from data_plane.gate.services import GateServices
from data_plane.gate.tickets import Tickets
from data_plane.identifiers import ApprovalId, OperationId
from data_plane.policy import documents, signatures
from data_plane.policy.evaluate import SessionPolicy
from data_plane.policy.snapshot import (
    Applied,
    NamedJson,
    PolicyState,
    RawTarget,
    SignedSnapshot,
    SnapshotContents,
    SnapshotIdentity,
)
from data_plane.recording import interface
from data_plane.recording.interface import RecordingError
from tests.support.policies import ORDERS, READS, ROBOT, WRITES, allow, hold, policy, session, subject

KEY = Ed25519PrivateKey.generate()
KEYS = {"k1": KEY.public_key().public_bytes_raw()}
NOW = 1_700_000_000.0
TARGET_JSON = '{"protocol":"postgres","environment":"production","agent":"edge","address":"db:5432"}'
RULES = [allow(match=READS), hold(match=WRITES, hold={"wait": "10m", "in_transaction": "60s"})]
IDENTITIES = (
    SnapshotIdentity(ROBOT.id, ROBOT.name, ROBOT.kind, ROBOT.groups, ROBOT.owner_id),
    SnapshotIdentity("idn_ada", "ada", "person", ("dba",)),
    SnapshotIdentity("idn_other", "other-robot", "machine", ()),
)
RAW = b"Q\0\0\0\x10DELETE 1;\0"
WRITE, READ = subject("write", "DELETE", tables=("public.a",)), subject()


class Clock:
    def __init__(self) -> None:
        self.at = NOW
        self.ticks = 100.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.ticks


class Lease:
    valid = True


class Recorder(interface.Recorder):
    """Remembers what was recorded, in order with what else happened (`log`)."""

    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.log = log
        self.broken = ""
        self.disk = asyncio.Event()
        self.disk.set()

    def decided(self, number, effect, action, rules, code="", message="") -> None:
        self._check()
        self.log.append(("decided", number, effect, action, tuple(rules), code))

    def held(self, number, approval_id, digest, short_code, reviewers) -> None:
        self._check()
        self.log.append(("held", number, approval_id, digest, short_code, reviewers))

    def hold_ended(self, number, approval_id, outcome, reason, approvers=()) -> None:
        self._check()
        self.log.append(("hold-ended", number, approval_id, outcome, reason, tuple(approvers)))

    def closed(self, reason) -> None:
        self.log.append(("closed", reason))

    async def durable(self) -> None:
        await self.disk.wait()
        self._check()
        self.log.append(("durable",))

    def _check(self) -> None:
        if self.broken:
            raise RecordingError(self.broken)


class Approvals:
    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.log = log
        self.requests: list[ApprovalRequest] = []
        self._callbacks: dict[ApprovalId, tuple] = {}
        self.watched: dict[ApprovalId, Callable[[str], None]] = {}

    def request(self, request, pending, answered) -> None:
        self.log.append(("requested", request.id))
        self.requests.append(request)
        self._callbacks[request.id] = (pending, answered)

    def resume(self, ticket, pending, answered) -> None:
        self._callbacks[ticket.approval] = (pending, answered)

    def forget(self, approval) -> None:
        self._callbacks.pop(approval, None)
        self.log.append(("forgotten", approval))

    def cancel(self, approval, reason) -> None:
        self._callbacks.pop(approval, None)
        self.watched.pop(approval, None)
        self.log.append(("cancelled", approval, reason))

    def consumed(self, approval, nonce, use=0, digest=b"") -> None:
        self.log.append(("consumed", approval, nonce, *((use, digest) if use else ())))

    def finished(self, approval, outcome, detail, use=0) -> None:
        self.log.append(("finished", approval, outcome, detail, *((use,) if use else ())))

    def watch(self, approval, over) -> None:
        self.watched[approval] = over

    def is_pending(self, reviewers: str = "1 of group dba", seconds: float = 3600) -> None:
        request = self.requests[-1]
        told = Pending(request.id, "K7F3", "https://x/a", reviewers, request.decision.rules, seconds)
        self._callbacks[request.id][0](told)

    def answer(self, answered: Answered) -> None:
        self._callbacks.pop(self.requests[-1].id)[1](answered)


class Nonces:
    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.log = log
        self.spent: dict[bytes, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    async def spend(self, nonce, approval, use=0) -> bool:
        await self.gate.wait()
        if self.broken:
            raise OSError("the disk is full")
        self.log.append(("spent", nonce, *((use,) if use else ())))
        fresh = nonce not in self.spent if use <= 1 else self.spent.get(nonce) == use - 1
        if fresh:
            self.spent[nonce] = use
        return fresh


class TicketDisk:
    """What the workers of one agent share."""

    def __init__(self) -> None:
        self.rows: dict[TicketKey, KeptTicket] = {}
        self.held: dict[ApprovalId, object] = {}
        self.workers: list[SharedTickets] = []
        self.broken = False


class SharedTickets:
    """Implements `TicketStore` for one worker, in memory."""

    def __init__(self, disk: TicketDisk) -> None:
        self.disk = disk
        self.changed: Callable[[ApprovalId], None] = lambda _: None
        disk.workers.append(self)

    async def take(self, key, fresh):
        if self.disk.broken:
            raise OSError("the disk is full")
        kept = self.disk.rows.setdefault(key, fresh)
        if kept.approval in self.disk.held:
            return None
        self.disk.held[kept.approval] = self
        return kept

    async def read(self, approval):
        return next((kept for kept in self.disk.rows.values() if kept.approval == approval), None)

    async def leave(self, approval):
        self.disk.held.pop(approval, None)
        self._replace(approval, issued=True)

    async def tell(self, approval, pending, answered):
        told = {"pending": pending, "answered": answered}
        self._replace(approval, **{name: value for name, value in told.items() if value is not None})
        self._poke(approval)

    async def remove(self, approval):
        self.disk.held.pop(approval, None)
        keys = [key for key, kept in self.disk.rows.items() if kept.approval == approval]
        for key in keys:
            del self.disk.rows[key]
        self._poke(approval)
        return bool(keys)

    def _replace(self, approval, **changed) -> None:
        for key, kept in self.disk.rows.items():
            if kept.approval == approval:
                self.disk.rows[key] = msgspec.structs.replace(kept, **changed)

    def _poke(self, approval) -> None:
        for other in self.disk.workers:
            if other is not self:
                other.changed(approval)


class Listener:
    def __init__(self) -> None:
        self.pendings: list[Pending] = []
        self.verdicts: list[Allowed | Denied] = []
        self.some = asyncio.Event()

    def hold_pending(self, pending) -> None:
        self.pendings.append(pending)

    def hold_decided(self, verdict) -> None:
        self.verdicts.append(verdict)
        self.some.set()

    async def verdict(self) -> Allowed | Denied:
        await self.some.wait()
        assert len(self.verdicts) == 1
        return self.verdicts[0]


def decode_grant(payload: bytes) -> GrantContents:
    return msgspec.msgpack.decode(payload, type=GrantContents)


def decode_snapshot(payload: bytes) -> SnapshotContents:
    return msgspec.msgpack.decode(payload, type=SnapshotContents)


def sign(contents: GrantContents, key: Ed25519PrivateKey = KEY, key_id: str = "k1") -> SignedGrant:
    payload = msgspec.msgpack.encode(contents)
    return SignedGrant(payload, key.sign(signatures.GRANT + payload), key_id)


class World:
    def __init__(self, rules: list[dict] | None = None, *, beside: World | None = None, **snapshot: Any) -> None:
        """`beside`: another worker of the same agent."""
        self.instance = "ins_2" if beside else "ins_1"
        self.log: list[tuple[Any, ...]] = []
        self.clock, self.lease = Clock(), Lease()
        self.approvals, self.nonces, self.recorder = Approvals(self.log), Nonces(self.log), Recorder(self.log)
        self.state = PolicyState(deployment="dep", agent_name="edge", keys=KEYS, decode=decode_snapshot)
        self.apply(rules, **snapshot)
        self._ids = iter(range(101, 1000) if beside else range(1, 100))
        self.ticket_disk = beside.ticket_disk if beside else TicketDisk()
        stored = SharedTickets(self.ticket_disk)
        tickets = Tickets(self.approvals, stored, self.clock, self.instance)
        stored.changed = tickets.changed
        if beside:
            self.nonces.spent = beside.nonces.spent
        self.services = GateServices(
            state=self.state,
            lease=self.lease,
            approvals=self.approvals,
            nonces=self.nonces,
            clock=self.clock,
            decode_grant=decode_grant,
            agent_instance=self.instance,
            new_approval_id=lambda: ApprovalId(f"apr_{next(self._ids)}"),
            tickets=tickets,
        )
        self.gate = self.open()

    def apply(self, rules: list[dict] | None = None, **changed: Any) -> None:
        """The next snapshot."""
        fields: dict[str, Any] = {
            "deployment": "dep",
            "version": self.state.version + 1,
            "issued_at_ms": 0,
            "agent_name": "edge",
            "policies": (NamedJson("p", documents.encode(policy("p", RULES if rules is None else rules))),),
            "targets": (RawTarget(ORDERS.name, ORDERS.labels, TARGET_JSON),),
            "identities": IDENTITIES,
        }
        payload = msgspec.msgpack.encode(SnapshotContents(**{**fields, **changed}))
        applied = self.state.apply(SignedSnapshot(payload, KEY.sign(signatures.SNAPSHOT + payload), "k1"))
        assert isinstance(applied, Applied), applied

    def open(self, facts: SessionFacts | None = None) -> PolicyGate:
        snapshot, facts = self.state.current, facts or session()
        assert snapshot is not None
        chosen = SessionPolicy(snapshot.policies, facts, "shop")
        return PolicyGate(self.services, facts, self.recorder, "shop", snapshot, chosen, lambda _: None)

    def operation(self, raw: bytes = RAW, subjects: tuple[Subject, ...] = (WRITE,), **changed: Any) -> Operation:
        fields: dict[str, Any] = {
            "id": OperationId("op_1"), "number": 1, "session": session().id, "protocol": "postgres",
            "target": ORDERS.name, "subjects": subjects, "text": "DELETE 1;", "parts": (b"DELETE 1;", raw),
            "state": (("role", "app"),),
        }  # fmt: skip
        return Operation(**{**fields, **changed})

    def hold(
        self, listener: Listener, *, gate: PolicyGate | None = None, raw: bytes = RAW, preview: Any = None,
        **changed: Any,
    ):  # fmt: skip
        gate = gate or self.gate
        held = gate.judge(1, (WRITE,), raw)
        assert isinstance(held, Held)
        return gate.hold(self.operation(raw, **changed), held, raw, listener, preview)

    def contents(self, **changed: Any) -> GrantContents:
        """A good grant for the last request."""
        request = self.approvals.requests[-1]
        fields: dict[str, Any] = {
            "deployment": "dep", "agent_instance": "ins_1",
            "session_id": "" if request.decision.ticket else request.session.id,
            "credential_id": request.session.credential_id, "requester_id": request.session.requester.id,
            "target": request.operation.target, "policy_version": request.policy_version,
            "digest": request.operation.digest, "approval_id": request.id, "nonce": b"n" * 16,
            "not_before_ms": int(NOW * 1000), "execute_by_ms": int((NOW + 300) * 1000), "scope": "once",
            "approvals": (Approver("idn_ada", "ada", int(NOW * 1000), "console"),),
        }  # fmt: skip
        return GrantContents(**{**fields, **changed})

    def approve(self, **changed: Any) -> None:
        self.approvals.answer(Answered(Answer.APPROVED, grant=sign(self.contents(**changed))))

    def logged(self, *kinds: str) -> list[str]:
        return [entry[0] for entry in self.log if not kinds or entry[0] in kinds]


async def settled() -> None:
    """What was put on the loop has run."""
    for _ in range(10):
        await asyncio.sleep(0)
