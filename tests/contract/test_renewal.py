"""Certificates that are renewed in time by one of the workers, and signing keys that change."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from data_plane.link import identity as identity_module
from data_plane.link import renewal as renewal_module
from data_plane.link.files import private_directory
from data_plane.link.identity import Identity, IdentityStore
from data_plane.link.renewal import Renewal
from data_plane.runtime.tasks import spawn
from tests.contract.stack import SYSTEM_CLOCK, ControlSide


class Shifted:
    """The machine's clock, ahead by some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return SYSTEM_CLOCK.now() + self.seconds

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic()


def renewal(store: IdentityStore, identity: Identity, address: str, ahead: float, keys=None) -> Renewal:
    return Renewal(store, identity, address, Shifted(ahead), lambda: keys or identity.signing_keys)


TWO_DAYS_AND_A_BIT = 2.2 * 86_400  # of three


async def test_nothing_is_renewed_before_it_is_time(control: ControlSide, identity: Identity, tmp_path: Path) -> None:
    store = IdentityStore(private_directory(tmp_path / "state"))
    store.keep(identity)
    worker = renewal(store, identity, control.link_address, 0)
    await worker.once()
    assert worker.identity is identity


async def test_one_worker_renews_and_the_others_take_it_over(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    store = IdentityStore(private_directory(tmp_path / "state"))
    store.keep(identity)
    control.world.clock.advance(60)
    one, two = (renewal(store, identity, control.link_address, TWO_DAYS_AND_A_BIT) for _ in range(2))
    await one.once()
    assert one.identity.client_certificate != identity.client_certificate
    assert store.listener_pem.read_bytes() == one.identity.listener_key + one.identity.listener_certificate
    two._clock = Shifted(0)
    await two.once()
    assert two.identity == one.identity
    assert [row.kind for row in await control.world.audited("agent.renewed")] == ["agent.renewed"]


async def test_a_renewal_that_fails_keeps_the_old_identity(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    store = IdentityStore(private_directory(tmp_path / "state"))
    store.keep(identity)
    await control.feature.server.stop()
    worker = renewal(store, identity, control.link_address, TWO_DAYS_AND_A_BIT)
    await worker.once()
    assert worker.identity is identity
    assert store.load() == identity


async def test_signing_keys_of_the_snapshot_in_force_are_pinned_for_the_next_start(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    store = IdentityStore(private_directory(tmp_path / "state"))
    store.keep(identity)
    rotated = {**identity.signing_keys, "key_2": bytes(32)}
    worker = renewal(store, identity, control.link_address, 0, rotated)
    await worker.once()
    kept = store.load()
    assert kept is not None
    assert kept.signing_keys == rotated
    assert kept.client_key == identity.client_key


@pytest.mark.parametrize("refused", ["identity", "listener.pem"])
async def test_what_a_full_disk_did_not_take_is_kept_at_the_next_look(
    control: ControlSide, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    store = IdentityStore(private_directory(tmp_path / "state"))
    store.keep(identity)
    control.world.clock.advance(60)
    write, left, kept = identity_module.write_atomically, [refused], asyncio.Event()

    def full_once(file: Path, content: bytes) -> None:
        if file.name in left:
            left.remove(file.name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, content)
        if file == store.ca_pem:  # the last of them
            kept.set()

    monkeypatch.setattr(identity_module, "write_atomically", full_once)
    monkeypatch.setattr(renewal_module, "_LOOK_SECONDS", 0.01)
    worker = renewal(store, identity, control.link_address, TWO_DAYS_AND_A_BIT)
    task = spawn(worker.run(), "renewal")
    waiting = spawn(kept.wait(), "kept")
    async with asyncio.timeout(10):
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    task.cancel()
    assert store.load() == worker.identity != identity
    assert store.listener_pem.read_bytes() == worker.identity.listener_key + worker.identity.listener_certificate
