"""One agent's stream, from Hello to its end: takes reports in, renews the lease, and tells what is new at once.

What is new comes as news of kit/events: a decided approval, a changed snapshot, a session to terminate, a disabled
agent. After news that may have been lost everything is told again, which an agent hears as nothing new. Knows no
gRPC but the two functions that read and write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import msgspec
import structlog
from assentry.v1 import link_pb2 as pb

from control_plane.agents import errands, repository, service, wire
from control_plane.agents.domain import Agent, ErrandDone, Heartbeat, Hello, Reports, SnapshotAck, SnapshotNack
from control_plane.agents.errands import Errands
from control_plane.agents.errors import End, StreamEndedError
from control_plane.agents.ports import Approvals, Secrets, Sessions
from control_plane.agents.reports import ReportIntake, reporter
from control_plane.agents.service import AgentService
from control_plane.agents.snapshots import Snapshots
from control_plane.approvals.domain import Outcome
from control_plane.approvals.reports import Answer, DecidedAnswer, PendingAnswer, RequestedReport
from control_plane.kit.events import RESYNC, Events, News, Subscription
from control_plane.kit.keys import SigningKeys
from control_plane.kit.tasks import spawn
from control_plane.kit.unit_of_work import SNAPSHOT, Units
from control_plane.secrets import service as secrets
from control_plane.secrets.delivery import Current

_log = structlog.get_logger(__name__)

APPROVAL: Final = "approval"
TERMINATE: Final = "session-terminate"
TOPICS: Final = (APPROVAL, SNAPSHOT, TERMINATE, errands.ASKED, secrets.TOPIC, service.TOPIC, service.DRAIN)

_DEBOUNCE_SECONDS: Final = 0.005  # documents are often applied many at a time
_READ_TOGETHER: Final = 50  # approvals, in one transaction: the first of them must not wait for all
_HELLO_SECONDS: Final = 15.0


class Timing(msgspec.Struct, frozen=True):
    lease_seconds: int = 60
    heartbeat_seconds: int = 10


class Parts(msgspec.Struct, frozen=True, eq=False):
    """What every stream works with."""

    units: Units
    events: Events
    agents: AgentService
    intake: ReportIntake
    approvals: Approvals
    sessions: Sessions
    snapshots: Snapshots
    keys: SigningKeys
    errands: Errands
    secrets: Secrets
    timing: Timing = Timing()


T = TypeVar("T")
Read = Callable[[], Awaitable[pb.AgentMessage | None]]  # None: the agent has ended the stream
Write = Callable[[pb.ControlMessage], Awaitable[None]]


class AgentStream:
    def __init__(self, agent: Agent, serial: str, parts: Parts, read: Read, write: Write) -> None:
        self._agent = agent
        self._serial = serial
        self._parts = parts
        self._read = read
        self._send = write
        self._writing = asyncio.Lock()
        self._waiting: set[str] = set()  # approvals of which this agent is still to be told something
        self._open: set[str] = set()  # those of them that were granted for a window, as it has been told
        self._asked: dict[str, str] = {}  # whom those of them that are pending ask, as it has been told
        self._snapshot_changed = asyncio.Event()
        self._snapshot_sent = 0
        self._hello = Hello("", "", "", "", (), 0, 0, (), (), ())
        self._connected_at: datetime | None = None

    @property
    def instance_id(self) -> str:
        return self._hello.instance_id

    async def hello(self) -> Hello:
        """The first message. Raises StreamEndedError."""
        async with asyncio.timeout(_HELLO_SECONDS):
            message = await self._read()
        said = wire.received(message) if message is not None else None
        if not isinstance(said, Hello):
            raise StreamEndedError(End.CONFUSED, "say Hello first")
        if said.agent_name != self._agent.name:
            raise StreamEndedError(End.REFUSED, f"the certificate is for agent {self._agent.name!r}")
        self._hello = said
        return said

    async def run(self) -> None:
        """After `hello`. Returns when the agent ends the stream; raises StreamEndedError."""
        async with self._parts.events.subscribe(*TOPICS) as news:  # before anything is read
            await self._greet()
            work = [
                spawn(_outcome(self._listen()), f"agent {self._agent.name} reports"),
                spawn(_outcome(self._tell(news)), f"agent {self._agent.name} news"),
                spawn(_outcome(self._tell_snapshots()), f"agent {self._agent.name} snapshots"),
            ]
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        for task in done:
            _, error = task.result()
            if error is not None:
                raise error

    async def _greet(self) -> None:
        through = await unbroken(self._greeted())
        timing = self._parts.timing
        keys = self._parts.keys.public_keys()
        await self._write(wire.welcome(self._agent.id, timing.lease_seconds, timing.heartbeat_seconds, through, keys))
        await self._tell_snapshot()
        self._waiting.update(self._hello.pending_approvals)
        await self._tell_everything()

    async def _greeted(self) -> int:
        async with self._parts.units() as uow:
            through = await self._parts.intake.greet(uow, self._agent, self._hello)  # first: it locks the instance
            row = await repository.instance(uow.session, self.instance_id)
            self._connected_at = row.connected_at if row is not None else None
            await self._parts.errands.left(uow, self.instance_id)  # taken by an older stream, which has ended
            return through

    async def _write(self, message: pb.ControlMessage) -> None:
        async with self._writing:
            await self._send(message)

    # -------------------------------------------------------------- in

    async def _listen(self) -> None:
        while (message := await self._read()) is not None:
            match wire.received(message):
                case Reports() as batch:
                    await self._take(batch)
                case Heartbeat() as heartbeat:
                    await self._renew(heartbeat)
                case SnapshotAck(version):
                    await unbroken(self._snapshot_answered(version, ""))
                case SnapshotNack(version, reason):
                    _log.warning("an agent refused a snapshot", agent=self._agent.name, version=version, reason=reason)
                    await unbroken(self._snapshot_answered(version, reason))
                case ErrandDone() as done:
                    await unbroken(self._errand_done(done))
                case Hello():
                    raise StreamEndedError(End.CONFUSED, "Hello comes once")

    async def _take(self, batch: Reports) -> None:
        asked = {one.report.approval_id for one in batch.reports if isinstance(one.report, RequestedReport)}
        self._waiting |= asked  # before the commit: whoever decides right after it must find us waiting
        through, answers = await unbroken(self._taken(batch))
        await self._write(wire.acknowledged(through))
        for answer in answers:
            await self._answer(answer)

    async def _taken(self, batch: Reports) -> tuple[int, list[Answer]]:
        async with self._parts.units() as uow:
            return await self._parts.intake.take(uow, reporter(self._agent, self._hello), batch.reports)

    async def _renew(self, heartbeat: Heartbeat) -> None:
        """Not for an agent that was disabled or whose certificate has ended, even when that was not heard of."""
        await unbroken(self._still_trusted())
        await self._write(wire.lease_renewed(heartbeat.number))
        await unbroken(self._beaten(heartbeat))

    async def _beaten(self, heartbeat: Heartbeat) -> None:
        async with self._parts.units() as uow:
            await self._parts.intake.beat(uow, self.instance_id, heartbeat)

    async def _still_trusted(self) -> None:
        async with self._parts.units.reading() as uow:
            if await self._parts.agents.holder(uow, self._serial) is not None:
                return
            expired = uow.now >= self._agent.certificate_expires_at
        if expired:
            raise StreamEndedError(End.EXPIRED, "the certificate has ended; connect with the renewed one")
        raise StreamEndedError(End.REFUSED, "this agent is disabled")

    async def _snapshot_answered(self, version: int, problem: str) -> None:
        async with self._parts.units() as uow:
            await self._parts.intake.snapshot_answered(uow, self._agent, self.instance_id, version, problem)

    # -------------------------------------------------------------- out

    async def _tell(self, subscription: Subscription) -> None:
        """Thousands may be asked for at once: of what is news together, approvals are read together, and first."""
        while True:
            some = await subscription.some()
            await self._tell_approvals([one.key for one in some if one.topic == APPROVAL and one.key in self._waiting])
            for news in some:
                await self._heard(news)

    async def _heard(self, news: News) -> None:
        match news.topic:
            case "session-terminate":
                await self._tell_terminations(news.key)
            case "snapshot":
                self._snapshot_changed.set()
            case RESYNC.topic:
                await unbroken(self._still_trusted())
                self._snapshot_changed.set()
                await self._tell_everything()
            case _:
                await self._heard_of_agent(news)

    async def _heard_of_agent(self, news: News) -> None:
        match news.topic:
            case service.TOPIC if news.key == self._agent.id:
                await unbroken(self._still_trusted())
            case errands.ASKED:
                errand_id, _, agent = news.key.partition(" ")
                if agent == self._agent.name:
                    await self._hand_over([errand_id])
            case secrets.TOPIC:
                await self._tell_secrets(news.key)
            case service.DRAIN:
                agent_id, _, seconds = news.key.partition(" ")
                if agent_id == self._agent.id:
                    await self._write(wire.drain(int(seconds)))

    async def _tell_everything(self) -> None:
        await self._tell_terminations()
        await self._tell_approvals(sorted(self._waiting))
        await self._tell_secrets()
        await self._hand_over(await unbroken(self._parts.errands.open(self._agent.name)))

    async def _tell_approvals(self, approval_ids: list[str]) -> None:
        """The answers of those that are known here; others are still on their way in a report. What is cancelled may be
        so because its session is to end: a client that heard of it first could run on behind it."""
        for start in range(0, len(approval_ids), _READ_TOGETHER):
            for answer in await unbroken(self._decisions(approval_ids[start : start + _READ_TOGETHER])):
                if isinstance(answer, DecidedAnswer) and answer.outcome is Outcome.CANCELLED:
                    await self._tell_terminations()
                await self._answer(answer)

    async def _answer(self, answer: Answer) -> None:
        """A window that is open is told once, and waited for until it can be told that it is over; what is pending
        whenever others are asked."""
        if isinstance(answer, PendingAnswer):
            if self._asked.get(answer.approval_id) == answer.reviewers:
                return
            self._asked[answer.approval_id] = answer.reviewers
        if isinstance(answer, DecidedAnswer):
            if answer.open and answer.approval_id in self._open:
                return
            told = self._open.add if answer.open else self._open.discard
            told(answer.approval_id)
            self._asked.pop(answer.approval_id, None)
            if not answer.open:
                self._waiting.discard(answer.approval_id)
        await self._write(wire.answer(answer))

    async def _decisions(self, approval_ids: Sequence[str]) -> list[Answer]:
        approvals, mine = self._parts.approvals, self.instance_id
        async with self._parts.units.reading() as uow:
            found = [await approvals.decision_for(uow, mine, one) for one in approval_ids]
        return [answer for answer in found if answer is not None]

    async def _tell_terminations(self, session_id: str = "") -> None:
        for one, reason in await unbroken(self._terminations()):
            if session_id in {"", one}:
                await self._write(wire.terminate(one, reason))

    async def _terminations(self) -> list[tuple[str, str]]:
        async with self._parts.units.reading() as uow:
            return await self._parts.sessions.terminations(uow, self.instance_id)

    async def _hand_over(self, errand_ids: Sequence[str]) -> None:
        """Those that no other stream has taken."""
        if errands.FEATURE not in self._hello.features:
            return
        for errand_id in errand_ids:
            taken = await unbroken(self._parts.errands.take(errand_id, self._agent.name, self.instance_id))
            if taken is not None:
                await self._write(wire.errand(taken))

    async def _errand_done(self, done: ErrandDone) -> None:
        async with self._parts.units() as uow:
            await self._parts.errands.done(uow, self.instance_id, done)

    async def _tell_secrets(self, name: str = "") -> None:
        for one in await unbroken(self._current_secrets(name)):
            await self._write(wire.secret_changed(one))

    async def _current_secrets(self, name: str) -> Sequence[Current]:
        async with self._parts.units.reading() as uow:
            return await self._parts.secrets.current(uow, self._agent.name, name)

    async def _tell_snapshots(self) -> None:
        while True:
            await self._snapshot_changed.wait()
            await asyncio.sleep(_DEBOUNCE_SECONDS)
            self._snapshot_changed.clear()
            await self._tell_snapshot()

    async def _tell_snapshot(self) -> None:
        newest = await unbroken(self._parts.snapshots.newest(self._agent.name))
        if newest.version > self._snapshot_sent:
            self._snapshot_sent = newest.version
            await self._write(wire.snapshot(newest))

    async def disconnected(self) -> None:
        """Whatever ended the stream, and whichever has come after it: nothing is done when that one has greeted."""
        await unbroken(self._disconnected())

    async def _disconnected(self) -> None:
        async with self._parts.units() as uow:
            row = await repository.locked_instance(uow.session, self.instance_id)
            if row is None or row.connected_at != self._connected_at:
                return  # it has connected again meanwhile, perhaps to another replica: what it took is that stream's
            row.connected = False
            uow.session.add(row)
            await self._parts.errands.left(uow, self.instance_id)


_transactions: set[asyncio.Task[Any]] = set()


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Work with the database that is finished even when the stream ends in the middle of it."""
    task = spawn(_outcome(work), "a transaction of an agent")
    _transactions.add(task)
    task.add_done_callback(_transactions.discard)
    try:
        value, error = await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
    if error is not None:
        raise error
    return cast("T", value)


async def finished() -> None:
    """Returns when no such work is left: before the database is closed."""
    while _transactions:
        await asyncio.wait(set(_transactions))
        await asyncio.sleep(0)  # whoever waited for it may have more to finish


async def _outcome(work: Coroutine[Any, Any, T]) -> tuple[T | None, Exception | None]:
    """An error is heard by whoever waits for the task, not in the log of tasks that died."""
    try:
        return await work, None
    except Exception as error:  # noqa: BLE001 - raised again by whoever waits
        return None, error
