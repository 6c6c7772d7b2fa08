"""Cancel keys: ours, unguessable, and good for one session only; workers pass on what is not theirs, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.cancellation import CancelRegistry, NoSiblings
from data_plane.protocols.postgres.messages import PROTOCOL_3_0, PROTOCOL_3_2
from data_plane.protocols.postgres.sibling_cancels import UnixSiblings

BACKEND = CancelKey(4711, b"target's")


class Session:
    def __init__(self) -> None:
        self.cancelled = 0

    async def cancel(self) -> None:
        self.cancelled += 1


class Forwarding(NoSiblings):
    def __init__(self) -> None:
        self.keys: list[CancelKey] = []

    async def forward(self, key: CancelKey) -> None:
        self.keys.append(key)


@pytest.mark.parametrize(("version", "size"), [(PROTOCOL_3_0, 4), (PROTOCOL_3_2, 32)])
def test_a_key_has_the_backends_process_and_a_secret_of_its_own(version: int, size: int) -> None:
    registry = CancelRegistry(NoSiblings())
    keys = {registry.issue(version, BACKEND, Session()).secret for _ in range(50)}
    assert len(keys) == 50
    assert {len(secret) for secret in keys} == {size}
    assert registry.issue(version, BACKEND, Session()).process_id == 4711


def test_a_target_without_keys_gets_a_positive_process_id() -> None:
    key = CancelRegistry(NoSiblings(), lambda size: b"\xff" * size).issue(PROTOCOL_3_0, None, Session())
    assert key.process_id == 2**31 - 1


async def test_a_key_cancels_its_own_session_only() -> None:
    registry, one, other = CancelRegistry(NoSiblings()), Session(), Session()
    key = registry.issue(PROTOCOL_3_0, BACKEND, one)
    registry.issue(PROTOCOL_3_0, BACKEND, other)
    await registry.cancel(key)
    assert (one.cancelled, other.cancelled) == (1, 0)


async def test_the_targets_own_key_and_unknown_keys_cancel_nothing_and_go_to_the_siblings() -> None:
    siblings = Forwarding()
    registry, session = CancelRegistry(siblings), Session()
    registry.issue(PROTOCOL_3_2, BACKEND, session)
    for key in (BACKEND, CancelKey(1, b"1234"), CancelKey(4711, b"")):
        await registry.cancel(key)
        assert not await registry.cancel_here(key)
    assert session.cancelled == 0
    assert len(siblings.keys) == 3


async def test_a_revoked_key_cancels_nothing() -> None:
    registry, session = CancelRegistry(NoSiblings()), Session()
    key = registry.issue(PROTOCOL_3_0, BACKEND, session)
    registry.revoke(key)
    registry.revoke(key)
    await registry.cancel(key)
    assert (session.cancelled, len(registry)) == (0, 0)


async def test_workers_pass_unknown_keys_to_each_other_and_never_in_circles(tmp_path: Path) -> None:
    workers = []
    for name in ("worker-0", "worker-1", "worker-2"):
        siblings = UnixSiblings(tmp_path / "cancels", name)
        registry = CancelRegistry(siblings)
        await siblings.listen(registry)
        workers.append((siblings, registry))
    session = Session()
    key = workers[2][1].issue(PROTOCOL_3_2, BACKEND, session)
    async with asyncio.timeout(5):
        await workers[0][1].cancel(key)
        await workers[0][1].cancel(CancelKey(1, b"nobody's"))
    assert session.cancelled == 1
    assert (tmp_path / "cancels").stat().st_mode & 0o777 == 0o700
    for siblings, _ in workers:
        await siblings.close()
    assert list((tmp_path / "cancels").iterdir()) == []


async def test_a_dead_worker_keeps_no_cancel_waiting(tmp_path: Path) -> None:
    siblings = UnixSiblings(tmp_path, "worker-0")
    (tmp_path / "worker-9.cancel").touch()
    async with asyncio.timeout(5):
        await siblings.forward(BACKEND)
