"""The link of one agent instance: connects, says what it has, and connects again when the stream ends.

Back-off is exponential with full jitter, so that a thousand agents do not come back in step. While there is no
stream the agent serves from its snapshot until the lease ends; then every session ends. PERMISSION_DENIED ends the
lease at once: the agent was disabled or its certificate revoked. It goes on asking, more and more seldom, because
whoever disabled it may enable it again. No error ends the link: a disk that is full today has room tomorrow, and
nothing else would start it again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import grpc
import msgspec
import structlog
from assentry.v1 import link_pb2_grpc as stubs

from data_plane.link import channel, messages
from data_plane.link.identity import Identity
from data_plane.link.messages import LinkState
from data_plane.link.stream import Call, Parts, Stream, StreamEndedError
from data_plane.link.uploads import GrpcUploads
from data_plane.recording.upload import Uploader
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)


class Pauses(msgspec.Struct, frozen=True):
    """Between two connections, in seconds; a random part of it is waited."""

    first: float = 0.25
    longest: float = 5.0  # well below a lease, so that one heartbeat too many is not missed
    refused_first: float = 2.0  # after PERMISSION_DENIED
    refused_longest: float = 60.0


class Link:
    def __init__(
        self,
        *,
        address: str,
        identity: Callable[[], Identity],
        parts: Parts,
        uploader: Uploader,
        version: str,
        recording_keys: Sequence[str],
        pauses: Pauses | None = None,
    ) -> None:
        self._address = address
        self._identity = identity  # read anew for every connection: certificates are renewed
        self._parts = parts
        self._uploader = uploader
        self._version = version
        self._recording_keys = tuple(recording_keys)
        self._pauses = pauses or Pauses()
        self._failures = 0
        self.state = LinkState.DISCONNECTED
        self.connected = asyncio.Event()
        self.stub: stubs.LinkAsyncStub | None = None  # of the connection, while there is one

    @property
    def reachable(self) -> bool:
        return self.state is LinkState.CONNECTED

    async def calls(self) -> stubs.LinkAsyncStub:
        """Waits for a connection."""
        while self.stub is None:
            await self.connected.wait()
        return self.stub

    async def run(self) -> None:
        """Until it is cancelled."""
        watch = spawn(self._watch_lease(), "lease")
        try:
            while True:
                failures = self._failures
                try:
                    await self._once()
                except Exception:
                    log.exception("the link ended by an error of this agent; it connects again")
                    self._disconnected(LinkState.DISCONNECTED)
                    self._failures = failures  # one that comes right after each Welcome is waited for longer, too
                await asyncio.sleep(self._pause())
        finally:
            watch.cancel()
            if self.state is LinkState.CONNECTED:
                self._disconnected(LinkState.CLOSED)

    async def _once(self) -> None:
        """One connection from its start to its end."""
        try:
            async with channel.link(self._address, self._identity()) as connection:
                await self._serve(stubs.LinkStub(connection))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                self._refused(error.details() or "")
                return
            log.warning("the control plane is out of reach", reason=error.details(), code=error.code().name)
        except (StreamEndedError, TimeoutError, grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            log.warning("the link ended", reason=str(error) or type(error).__name__)
        self._disconnected(LinkState.DISCONNECTED)

    async def _serve(self, stub: stubs.LinkAsyncStub) -> None:
        call = stub.Connect(None)  # written with `write`, not by an iterator
        stream = Stream(call, self._parts)
        try:
            welcome = await stream.greet(self._hello())
            self._failures = 0
            self.state, self.stub = LinkState.CONNECTED, stub
            self.connected.set()
            log.info("connected to the control plane", agent=welcome.agent_id, reports=welcome.reports_through)
            uploads = spawn(self._uploader.run(GrpcUploads(stub, self._parts.journal.instance_id)), "uploads")
            try:
                await stream.run()
            finally:
                uploads.cancel()
                await asyncio.wait([uploads])
        except StreamEndedError:
            await self._raise_status(call)
            raise
        finally:
            call.cancel()

    async def _raise_status(self, call: Call) -> None:
        """A stream that the control plane ended says with which status; PERMISSION_DENIED must be seen."""
        if call.done() and not call.cancelled():
            code = await call.code()
            if code is not grpc.StatusCode.OK:
                details = await call.details()
                raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)

    def _hello(self) -> messages.Hello:
        journal = self._parts.journal
        return messages.Hello(
            agent_name=self._identity().agent_name,
            instance_id=journal.instance_id,
            boot_id=journal.boot_id,
            version=self._version,
            features=tuple(sorted(self._parts.policy.features)),
            snapshot_version=self._parts.policy.version,
            first_report=journal.first_report(),
            open_sessions=journal.sessions,
            pending_approvals=self._parts.approvals.waiting,
            recording_keys=self._recording_keys,
        )

    def _refused(self, reason: str) -> None:
        if self.state is LinkState.REFUSED:
            return
        log.critical("the control plane refuses this agent; its sessions end until it is enabled again", reason=reason)
        self._disconnected(LinkState.REFUSED)
        self._failures = 0
        self._parts.lease.end()
        self._lease_ended("agent-disabled")

    def _disconnected(self, state: LinkState) -> None:
        self.state, self.stub = state, None
        self.connected.clear()

    def _pause(self) -> float:
        self._failures += 1
        pauses, refused = self._pauses, self.state is LinkState.REFUSED
        first, longest = (pauses.refused_first, pauses.refused_longest) if refused else (pauses.first, pauses.longest)
        return random.uniform(0, min(longest, first * 2 ** min(self._failures, 16)))

    async def _watch_lease(self) -> None:
        """Tells once, when the lease ends; again only after there was another one."""
        lease, told = self._parts.lease, True
        while True:
            if lease.valid:
                told = False
                await asyncio.sleep(lease.seconds_left)
            elif not told:
                told = True
                log.error("the lease has ended; sessions end until the control plane is back")
                self._lease_ended("lease-ended")
            else:
                await self.connected.wait()
                await asyncio.sleep(0.01)

    def _lease_ended(self, reason: str) -> None:
        self._parts.agent.lease_ended(reason)
        self._parts.approvals.give_up(reason)
