"""A disk that refuses for a moment: the link connects again and nothing that was to be told is lost."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from data_plane.link import lease as lease_module
from data_plane.link import messages, wire
from data_plane.link.identity import Identity
from data_plane.link.snapshots import SnapshotStore
from tests.contract.stack import ControlSide, RunningAgent, policy_document, running_agent

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
UNREADABLE = sqlite3.OperationalError("disk I/O error")


class Failing:
    """In place of a function: raises the first times, then does what it stands for."""

    def __init__(self, real: Callable[..., Any], error: Exception, times: int = 1) -> None:
        self._real, self._error, self.left = real, error, times

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self._error
        return self._real(*arguments, **named)


async def works(agent: RunningAgent) -> None:
    """It is connected, and what is reported now is taken."""
    await agent.until(lambda: agent.link.reachable)
    agent.journal.append(messages.Notice("test", "still here"))
    await agent.acknowledged()


async def test_a_journal_that_cannot_be_read_ends_the_stream_and_the_next_one_sends_all(
    agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Failing(agent.journal.read, UNREADABLE, times=3)
    monkeypatch.setattr(agent.journal, "read", read)
    with structlog.testing.capture_logs() as logs:
        agent.journal.append(messages.Notice("test", "waits"))
        await agent.until(lambda: not read.left)
        await works(agent)
    told = [line for line in logs if line.get("exc_info")]
    assert len(told) == 3
    assert not agent.task.done()


async def test_a_journal_that_cannot_be_read_for_the_hello_is_tried_again(
    control: ControlSide, agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Failing(agent.journal.first_report, UNREADABLE)
    monkeypatch.setattr(agent.journal, "first_report", first)
    await control.replaced()
    await agent.until(lambda: not first.left)
    await works(agent)


async def test_a_lease_that_cannot_be_written_does_not_end_the_stream(
    control: ControlSide, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Failing(lease_module.write_atomically, NO_SPACE, times=2)  # at Welcome and at the first heartbeat
    monkeypatch.setattr(lease_module, "write_atomically", write)
    async with running_agent(tmp_path / "agent", identity, control.link_address) as agent:
        await agent.until(lambda: agent.link.reachable)
        first = agent.link.stub
        await agent.until(lambda: not write.left)
        await works(agent)
        assert agent.link.stub is first
        assert agent.lease.valid


async def test_a_snapshot_that_cannot_be_kept_is_in_force_and_no_older_one_is_at_a_restart(
    control: ControlSide, agent: RunningAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await control.publish(policy_document("p", "reads"))
    store = SnapshotStore(tmp_path / "agent" / "snapshot")
    await agent.until(lambda: (kept := store.load()) and wire.snapshot_contents(kept.payload).version == old)
    write = Failing(lease_module.write_atomically, NO_SPACE)
    monkeypatch.setattr("data_plane.link.snapshots.write_atomically", write)
    new = await control.publish(policy_document("p", "reads", "writes"))
    await agent.until(lambda: store.load() is None)
    await works(agent)
    assert agent.policy.version == new
