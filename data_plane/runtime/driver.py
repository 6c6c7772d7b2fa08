"""Moves bytes between the sockets of a session and its core: the only socket code for cores.

Callbacks only: what a peer sends goes straight into the core, what the core gives out goes straight to a transport, and
no task or await is made for a message. Buffers are bounded both ways: a peer that does not read stops the other from
being read. Either end's death ends the other. It knows no protocol: the core decides about every byte, and an operation
reaches the target only inside a `Permit`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Final, Protocol

import structlog

from data_plane.credentials.of_session import SessionAccount
from data_plane.credentials.ports import CredentialError
from data_plane.gate.interface import Allowed, Denied, Gate, Held, Hold, Operation, Pending, Permit, Preview
from data_plane.runtime.connection import Connection
from data_plane.runtime.leg import BY_CANCEL, BY_CORE, Leg
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

LINGER_SECONDS: Final = 5.0  # for a peer to take what was written at the end
HALF_CLOSED_SECONDS: Final = 2.0  # for answers to a client that has stopped writing
REMIND_SECONDS: Final = 15.0  # the first time; each wait is twice the one before
SELDOM: Final = 20  # times that: the longest wait
LOOK_SECONDS: Final = 1.0  # how often a held client that is not read is looked at


class Core(Protocol):
    """What every protocol's core hears. Synchronous; exceptions end the session."""

    def client_sent(self, data: bytes) -> None: ...

    def target_sent(self, data: bytes) -> None: ...

    def client_closed(self) -> None: ...

    def target_closed(self) -> None: ...

    def hold_pending(self, pending: Pending) -> None: ...

    def hold_decided(self, verdict: Allowed | Denied) -> None: ...

    def hold_overdue(self) -> None:
        """The limit that came with `hold` has passed."""

    def remind(self) -> None: ...

    def account_changed(self, problem: str) -> None:
        """It has been widened or narrowed, or could not be; `problem` is empty when it was."""

    def told(self, number: int) -> None:
        """What it asked to be told of with `tell` has come about."""

    def terminate(self, reason: str, message: str) -> None: ...

    @property
    def held(self) -> bool: ...


class Driver:
    """Implements the `Output` of every core and is the gate's `HoldListener` for it.

    `farewell` makes the last message to the client out of an exception that ended the session."""

    def __init__(
        self,
        client: Connection,
        target: Connection,
        gate: Gate,
        farewell: Callable[[Exception], bytes],
        remind_seconds: float = REMIND_SECONDS,
        account: SessionAccount | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.client, self.target = Leg(self, client), Leg(self, target)
        self.client.other, self.target.other = self.target, self.client
        # Of `Output`: as they are, for they are called for every statement.
        self.to_client: Callable[[bytes], None] = self.client.write
        self.to_target: Callable[[Permit], None] = self.target.write_permitted
        self.control_to_target: Callable[[bytes], None] = self.target.write
        self._gate = gate
        self._account = account
        self._farewell = farewell
        self._remind_seconds = remind_seconds
        self._remind_after = remind_seconds
        self._remind_at = 0.0
        self._overdue_at = 0.0  # 0: never
        self._hold: Hold | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._cancels = 0  # requests to cancel that are not delivered yet
        self.reason = ""  # why the session ended; empty while it runs
        self.finished: asyncio.Future[str] = self._loop.create_future()
        self._core: Core

    def start(self, core: Core, from_client: bytes = b"", from_target: bytes = b"") -> None:
        """Both handshakes are complete; the bytes came in behind them."""
        self._core = core
        self.client.sent, self.client.closed = core.client_sent, core.client_closed
        self.target.sent, self.target.closed = core.target_sent, core.target_closed
        if from_target:
            self.target.data_received(from_target)
        self.target.open()
        if from_client:
            self.client.data_received(from_client)
        self.client.open()

    # -------------------------------------------------------------- Output: called by the core

    def pause_client(self) -> None:
        self.client.pause(BY_CORE)

    def resume_client(self) -> None:
        self.client.resume(BY_CORE)

    def hold(
        self, operation: Operation, held: Held, raw: bytes, limit_seconds: float = 0, preview: Preview | None = None
    ) -> None:
        self._hold = self._gate.hold(operation, held, raw, self, preview)
        now = self._loop.time()
        self._remind_after = self._remind_seconds
        self._remind_at = now + self._remind_after
        self._overdue_at = now + limit_seconds if limit_seconds else 0.0
        self._look()

    def hold_ended(self, cancelled: str = "") -> None:
        """`cancelled` is empty when it was decided, else why nobody waits for the decision any more."""
        hold, self._hold = self._hold, None
        if hold is not None and cancelled:
            hold.cancel(cancelled)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def lacks(self, actions: Iterable[str]) -> bool:
        return self._account is not None and self._account.lacks(actions)

    def widen(self, actions: Iterable[str]) -> None:
        if self._account is not None:
            spawn(self._widened(self._account.widen(actions)), name="wider account")

    def narrow(self) -> None:
        if self._account is not None:
            spawn(self._changed(self._account.narrow()), name="narrow account")

    def tell(self, when: Callable[[Callable[[], None]], None], number: int) -> None:
        when(lambda: self._go_on(lambda: self._core.told(number)))

    def end(self, reason: str) -> None:
        if self.reason:
            return
        self.reason = reason or "ended"
        self.hold_ended("the session has ended")
        self.target.undelay()
        self.client.close()
        self.target.close()
        if self._linger is not None:
            self._linger.cancel()
        self._linger = self._loop.call_later(LINGER_SECONDS, self._abort)

    # -------------------------------------------------------------- the session's account

    async def _widened(self, change: Coroutine[Any, Any, None]) -> None:
        problem = await self._problem(change)
        self._go_on(lambda: self._core.account_changed(problem))

    def _go_on(self, call: Callable[[], None]) -> None:
        """As with what people decide: the client is looked at before anything runs for it."""

        def looked() -> None:
            if self.client.hung_up():
                self.client.eof_received()
            if not self.reason:
                call()

        self._guarded(looked)

    async def _changed(self, change: Coroutine[Any, Any, None]) -> None:
        problem = await self._problem(change)
        if not self.reason:
            self._guarded(lambda: self._core.account_changed(problem))

    async def _problem(self, change: Coroutine[Any, Any, None]) -> str:
        """Whatever else than a CredentialError comes, nobody knows what the account can do now."""
        try:
            await change
        except CredentialError as error:
            log.warning("the account of a session could not be changed", error=str(error))
            return str(error) or "no reason was given"
        except Exception as error:
            self.failed(error)
            raise
        return ""

    # -------------------------------------------------------------- HoldListener: called by the gate

    def hold_pending(self, pending: Pending) -> None:
        self._guarded(lambda: self._core.hold_pending(pending))

    def hold_decided(self, verdict: Allowed | Denied) -> None:
        """An approval must not run what nobody waits for any more: the client is looked at first."""
        self._hold = None
        if isinstance(verdict, Allowed) and self.client.hung_up():
            self._gate.executed(verdict.permit, "failed", "the client was gone before it was sent")
            self.client.eof_received()
            self.end("the client disconnected")
            return
        self._guarded(lambda: self._core.hold_decided(verdict))

    def _look(self) -> None:
        """While held: reminds the client, more and more seldom, and finds out that it is gone though it is not read."""
        if self._hold is None:
            return
        if self.client.paused and self.client.hung_up():
            self.client.connection.abort()
            return
        now = self._loop.time()
        if self._overdue_at and now >= self._overdue_at:
            self._guarded(self._core.hold_overdue)
            return
        if now >= self._remind_at:
            self._remind_after = min(2 * self._remind_after, SELDOM * self._remind_seconds)
            self._remind_at = now + self._remind_after
            self._guarded(self._core.remind)
        self._look_later(now)

    def _look_later(self, now: float) -> None:
        seconds = min(LOOK_SECONDS, self._remind_seconds)
        if self._overdue_at:
            seconds = min(seconds, max(0.0, self._overdue_at - now))
        self._timer = self._loop.call_later(seconds, self._look)

    # -------------------------------------------------------------- called by the protocol's session

    def terminate(self, reason: str, message: str) -> None:
        if not self.reason:
            self._guarded(lambda: self._core.terminate(reason, message))

    def cut_target(self) -> None:
        """Before `terminate`, where what was sent must not run any more."""
        self.target.cut()

    @contextlib.asynccontextmanager
    async def nothing_to_target(self) -> AsyncIterator[None]:
        """While a cancel request is on its way, so that it cannot hit what the client sends next."""
        self._cancels += 1
        if self._cancels == 1:
            self.target.delay()
            self.client.pause(BY_CANCEL)
        try:
            yield
        finally:
            self._cancels -= 1
            if not self._cancels:
                self.target.undelay()
                self.client.resume(BY_CANCEL)

    # -------------------------------------------------------------- supervision

    def failed(self, error: Exception) -> None:
        """Something below threw: the client is told what can be told, and the session is over."""
        if self.reason:
            return
        log.warning("session failed", error=type(error).__name__, exc_info=error)
        self.client.write(self._farewell(error))
        self.end(f"failed: {type(error).__name__}")

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # ends this session, not the process
            self.failed(error)

    def client_stopped_writing(self) -> None:
        """It cannot be told from one that has died, so the answers that are on their way get a moment only."""
        if not self.reason:
            self._linger = self._loop.call_later(HALF_CLOSED_SECONDS, self.end, "the client disconnected")

    def leg_lost(self, leg: Leg) -> None:
        self.end("the client disconnected" if leg is self.client else "the target closed the connection")
        if self.client.lost and self.target.lost and not self.finished.done():
            if self._linger is not None:
                self._linger.cancel()
            self.finished.set_result(self.reason)

    def _abort(self) -> None:
        for leg in (self.client, self.target):
            if not leg.lost:
                leg.transport.abort()
