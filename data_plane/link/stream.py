"""One stream to the control plane: Hello, Welcome, then reports, heartbeats and acks out, everything else in.

A stream remembers nothing. Whatever it had sent and not heard acknowledged is in the journal and goes out again on
the next one; whatever it had been told and not finished is told again because Hello names it. Ends with
StreamEndedError or the call's own error; never reconnects by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import grpc
import msgspec
import structlog
from assentry.v1 import link_pb2 as pb

from data_plane.gate.ports import Clock
from data_plane.link import messages, wire
from data_plane.link.approvals import LinkApprovals
from data_plane.link.errands import Errands
from data_plane.link.journal import Journal
from data_plane.link.lease import Lease
from data_plane.link.secrets import SealedSecrets
from data_plane.link.snapshots import SnapshotStore
from data_plane.policy.snapshot import Applied, PolicyState, Refused, SignedSnapshot, Snapshot
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

Call = grpc.aio.StreamStreamCall[pb.AgentMessage, pb.ControlMessage]

_WELCOME_SECONDS = 15.0
_REPORTS_AT_ONCE = 256
_BATCH_BYTES = 1024 * 1024
_MISSED_HEARTBEATS = 2  # unanswered ones after which the connection counts as dead


class StreamEndedError(Exception):
    """`args[0]` says why; the link connects again."""


class Agent(Protocol):
    """What the link tells the rest of the agent, and asks of it."""

    def load(self) -> messages.Load: ...

    def snapshot_applied(self, snapshot: Snapshot) -> None: ...

    def terminate(self, session_id: str, reason: str) -> None: ...

    def drain(self, seconds: float) -> None: ...

    def lease_ended(self, reason: str) -> None:
        """Every session ends and none opens until there is a lease again."""


class Parts(msgspec.Struct, frozen=True, eq=False):
    """What every stream of one link works on."""

    agent: Agent
    approvals: LinkApprovals
    journal: Journal
    policy: PolicyState
    snapshots: SnapshotStore
    lease: Lease
    clock: Clock
    errands: Errands
    secrets: SealedSecrets


class Stream:
    def __init__(self, call: Call, parts: Parts) -> None:
        self._call = call
        self._parts = parts
        self._writing = asyncio.Lock()
        self._reports_ready = asyncio.Event()
        self._beats: dict[int, float] = {}  # unanswered: number and when it was asked, monotonic
        self._welcome = messages.Welcome("", 0, 0, 0)

    async def greet(self, hello: messages.Hello) -> messages.Welcome:
        """The first exchange. From its end on the lease runs anew."""
        asked_at = self._parts.clock.monotonic()
        await self._write(wire.hello(hello))
        async with asyncio.timeout(_WELCOME_SECONDS):
            said = wire.received(await self._read())
        if not isinstance(said, messages.Welcome):
            raise StreamEndedError(f"the control plane said {type(said).__name__} before Welcome")
        if said.reports_through > self._parts.journal.durable:
            raise StreamEndedError(
                f"the control plane has reports up to {said.reports_through}, this journal was never that far: "
                "the state directory is an old copy; remove it and enrol again"
            )
        self._welcome = said
        self._parts.journal.acknowledge(said.reports_through)
        self._parts.lease.renewed(asked_at, said.lease_seconds)
        return said

    async def run(self) -> None:
        """Always raises: what ended the stream."""
        self._parts.journal.listen(self._wake(asyncio.get_running_loop()))
        work = [
            spawn(_ending(self._parts.errands.answering(self._answer)), "link-errands"),  # before any is received
            spawn(_ending(self._receive()), "link-receive"),
            spawn(_ending(self._send_reports()), "link-reports"),
            spawn(_ending(self._beat()), "link-heartbeat"),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        raise next(iter(done)).result()

    # ------------------------------------------------------------ out

    async def _write(self, message: pb.AgentMessage) -> None:
        async with self._writing:
            await self._call.write(message)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._reports_ready.set)

        return wake

    async def _send_reports(self) -> None:
        sent = self._welcome.reports_through
        journal = self._parts.journal
        while True:
            self._reports_ready.clear()
            batch = await asyncio.to_thread(journal.read, sent, _REPORTS_AT_ONCE, _BATCH_BYTES)
            if batch:
                await self._write(wire.report_batch(body for _, body in batch))
                sent = batch[-1][0]
            else:
                await self._reports_ready.wait()

    async def _beat(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(self._welcome.heartbeat_seconds)
            if len(self._beats) >= _MISSED_HEARTBEATS:
                raise StreamEndedError("the control plane does not answer heartbeats")
            number += 1
            self._beats[number] = self._parts.clock.monotonic()
            await self._write(wire.heartbeat(number, self._parts.agent.load()))

    # ------------------------------------------------------------ in

    async def _read(self) -> pb.ControlMessage:
        message = await self._call.read()
        if not isinstance(message, pb.ControlMessage):  # grpc.aio.EOF
            raise StreamEndedError(
                f"the control plane closed the stream: {await self._call.details() or 'no reason given'}"
            )
        return message

    async def _receive(self) -> None:
        while True:
            await self._received(wire.received(await self._read()))

    async def _received(self, said: messages.FromControlPlane) -> None:
        match said:
            case messages.LeaseRenewed(number):
                self._lease_renewed(number)
            case messages.ReportsAcknowledged(through):
                self._parts.journal.acknowledge(through)
            case messages.ApprovalPending():
                self._parts.approvals.is_pending(said)
            case messages.ApprovalDecided():
                self._parts.approvals.is_decided(said)
            case SignedSnapshot():
                await self._apply(said)
            case _:
                self._told(said)

    def _told(self, said: messages.FromControlPlane) -> None:
        match said:
            case messages.SessionTerminate(session_id, reason):
                self._parts.agent.terminate(session_id, reason)
            case messages.Drain(seconds):
                self._parts.agent.drain(seconds)
            case messages.Errand():
                self._parts.errands.asked(said)
            case messages.SecretChanged(target, version):
                self._parts.secrets.changed(target, version)
            case messages.Welcome() | messages.Unknown():
                log.info("ignored a message of the control plane", message=type(said).__name__)

    async def _answer(self, done: messages.ErrandDone) -> None:
        await self._write(wire.errand_done(done))

    def _lease_renewed(self, number: int) -> None:
        asked_at = self._beats.pop(number, None)
        if asked_at is not None:
            self._parts.lease.renewed(asked_at, self._welcome.lease_seconds)

    async def _apply(self, signed: SignedSnapshot) -> None:
        before = self._parts.policy.current
        result = self._parts.policy.apply(signed)
        match result:
            case Refused(version, reason):
                log.error("refused a snapshot; the last good one stays", version=version, reason=reason)
                await self._write(wire.snapshot_nack(version, reason))
            case Applied(snapshot):
                if snapshot is not before:
                    self._parts.secrets.documents_changed()
                    self._parts.agent.snapshot_applied(snapshot)
                    await asyncio.to_thread(self._parts.snapshots.keep, signed)
                    log.info("applied a snapshot", version=snapshot.version)
                await self._write(wire.snapshot_ack(snapshot.version))


async def _ending(work: Coroutine[Any, Any, None]) -> Exception:
    """What ended it: for whoever waits for the task, not for the log of tasks that failed."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - raised again by `run`
        return error
    return StreamEndedError("the stream ended")
