"""The driver between real sockets: flow, holds, cancels, and how each end's death ends the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest

from data_plane.credentials.of_session import SessionAccount
from data_plane.gate.interface import Allowed, Code, Denied, Permit
from data_plane.protocols.postgres.refusal import farewell
from data_plane.recording.interface import RecordingError
from data_plane.runtime import driver as module
from data_plane.runtime.connection import Connection
from data_plane.runtime.driver import Driver
from tests.support.relaying import DECISION, FakeGate, RelayCore


@dataclass
class Line:
    driver: Driver
    core: RelayCore
    gate: FakeGate
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    target: tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ends() -> tuple[Connection, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    connection = Connection()
    await loop.create_connection(lambda: connection, sock=ours)
    return connection, await asyncio.open_connection(sock=theirs)


@contextlib.asynccontextmanager
async def line(remind_seconds: float = 15.0, account: SessionAccount | None = None) -> AsyncIterator[Line]:
    (client, client_end), (target, target_end) = await ends(), await ends()
    gate = FakeGate()
    driver = Driver(client, target, gate, farewell, remind_seconds, account)
    core = RelayCore(driver, {})
    driver.start(core)
    try:
        yield Line(driver, core, gate, client_end, target_end)
    finally:
        driver.end("the test is over")
        client_end[1].close()
        target_end[1].close()
        async with asyncio.timeout(10):
            await asyncio.shield(driver.finished)


async def test_bytes_flow_both_ways() -> None:
    async with line() as it:
        it.client[1].write(b"question")
        assert await it.target[0].readexactly(8) == b"question"
        it.target[1].write(b"answer")
        assert await it.client[0].readexactly(6) == b"answer"


@pytest.mark.parametrize("side", ["client", "target"])
async def test_the_death_of_either_end_ends_the_other(side: str) -> None:
    async with line() as it:
        dying, other = (it.client, it.target) if side == "client" else (it.target, it.client)
        dying[1].transport.abort()
        async with asyncio.timeout(5):
            assert await other[0].read() == b""
            await it.driver.finished
        assert f"{side} closed" in it.core.heard


async def test_a_client_that_only_stops_writing_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with line() as it:
        it.client[1].write(b"question")
        await it.target[0].readexactly(8)
        it.client[1].write_eof()
        while "client closed" not in it.core.heard:
            await asyncio.sleep(0)
        it.target[1].write(b"answer")
        assert await it.client[0].readexactly(6) == b"answer"


async def test_a_client_that_stopped_writing_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HALF_CLOSED_SECONDS", 0.05)
    async with line() as it:
        it.client[1].write_eof()
        async with asyncio.timeout(5):
            assert await it.target[0].read() == b""


async def test_a_slow_client_stops_the_target_from_being_read() -> None:
    async with line() as it:
        it.target[1].write(b"x" * 20_000_000)
        async with asyncio.timeout(5):
            while not it.driver.target.paused:
                await asyncio.sleep(0)
        assert it.driver.client.transport.get_write_buffer_size() < 2_000_000
        received = 0
        async with asyncio.timeout(20):
            while received < 20_000_000:
                received += len(await it.client[0].read(1 << 20))
        assert not it.driver.target.paused


async def test_the_core_can_stop_the_client_from_being_read() -> None:
    async with line() as it:
        it.driver.pause_client()
        it.client[1].write(b"later")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await it.target[0].readexactly(5)
        it.driver.resume_client()
        assert await it.target[0].readexactly(5) == b"later"


async def test_an_approved_hold_is_sent() -> None:
    async with line() as it:
        it.client[1].write(b"Q....hold this")
        async with asyncio.timeout(5):
            while not it.gate.holds:
                await asyncio.sleep(0)
        it.driver.hold_decided(Allowed(Permit(it.core.waiting, DECISION)))
        assert await it.target[0].readexactly(14) == b"Q....hold this"
        assert it.gate.executions == []


async def held(it: Line) -> None:
    it.client[1].write(b"Q....hold this")
    async with asyncio.timeout(5):
        while not it.gate.holds:
            await asyncio.sleep(0)


@pytest.mark.parametrize("read", [True, False])
async def test_an_approval_for_a_client_that_is_gone_runs_nothing(read: bool) -> None:
    """Also when the client is not being read and nobody has noticed yet."""
    async with line() as it:
        await held(it)
        if not read:
            it.driver.pause_client()
        it.client[1].transport.abort()
        await asyncio.sleep(0)
        it.driver.hold_decided(Allowed(Permit(it.core.waiting, DECISION)))
        async with asyncio.timeout(5):
            assert await it.target[0].read() == b""
        assert it.gate.executions == [("failed", "the client was gone before it was sent")]


async def test_a_hold_is_cancelled_when_the_client_goes() -> None:
    async with line() as it:
        await held(it)
        it.client[1].transport.abort()
        async with asyncio.timeout(5):
            await asyncio.shield(it.driver.finished)
        assert it.gate.holds[0].cancelled == "the client disconnected"


async def test_a_held_client_that_is_not_read_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    async with line() as it:
        await held(it)
        it.driver.pause_client()
        it.client[1].transport.abort()
        async with asyncio.timeout(5):
            await asyncio.shield(it.driver.finished)
        assert it.gate.holds[0].cancelled


async def test_a_hold_ends_when_the_limit_of_the_client_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 1000.0)
    async with line() as it:
        it.core.hold_limit = 0.03
        await held(it)
        async with asyncio.timeout(0.9):  # and no look has helped
            while "overdue" not in it.core.heard:
                await asyncio.sleep(0.005)
        assert it.gate.holds[0].cancelled == "overdue"


async def test_reminders_become_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen at a clock of our own, look by look."""
    now = 0.0
    monkeypatch.setattr(module, "LOOK_SECONDS", 1000.0)
    async with line() as it:
        monkeypatch.setattr(it.driver, "_loop", SimpleNamespace(time=lambda: now, call_later=lambda *_: Timer()))
        it.driver.hold(None, None, b"")  # type: ignore[arg-type]
        at = []
        for now in range(1, 2000):
            reminded = it.core.reminders
            it.driver._look()
            at += [now] * (it.core.reminders - reminded)
        monkeypatch.undo()
    waits = [after - before for before, after in pairwise([0, *at])]
    assert waits == [15, 30, 60, 120, 240, *[300] * 5]


class Timer:
    def cancel(self) -> None: ...


async def test_a_held_client_is_reminded_until_the_hold_ends() -> None:
    async with line(remind_seconds=0.02) as it:
        await held(it)
        async with asyncio.timeout(5):
            while it.core.reminders < 3:
                await asyncio.sleep(0.005)
        it.driver.hold_decided(Denied(Code.DENIED, "no"))
        so_far = it.core.reminders
        await asyncio.sleep(0.1)
        assert it.core.reminders == so_far


async def test_nothing_is_sent_while_a_cancel_is_on_its_way() -> None:
    async with line() as it:
        async with it.driver.nothing_to_target():
            it.driver.to_target(Permit(b"first", DECISION))
            it.driver.control_to_target(b"second")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await it.target[0].read(1)
        assert await it.target[0].readexactly(11) == b"firstsecond"


@pytest.mark.parametrize(
    ("error", "sqlstate"), [(RuntimeError("secret detail"), b"XX000"), (RecordingError("disk full"), b"58030")]
)
async def test_an_exception_ends_the_session_with_a_word_to_the_client(error: Exception, sqlstate: bytes) -> None:
    async with line() as it:
        it.driver.failed(error)
        async with asyncio.timeout(5):
            told = await it.client[0].read()
        assert sqlstate in told
        assert b"secret detail" not in told


async def test_what_is_written_at_the_end_still_arrives() -> None:
    async with line() as it:
        it.driver.to_client(b"x" * 1_000_000)
        it.driver.end("done")
        async with asyncio.timeout(5):
            assert len(await it.client[0].read()) == 1_000_000
        assert await asyncio.shield(it.driver.finished) == "done"


async def test_a_peer_that_takes_nothing_does_not_keep_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.05)
    async with line() as it:
        it.driver.to_client(b"x" * 20_000_000)
        it.driver.end("done")
        async with asyncio.timeout(5):
            await asyncio.shield(it.driver.finished)
