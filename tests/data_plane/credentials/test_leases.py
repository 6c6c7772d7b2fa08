"""The lease store: on the disk before it returns, shared by workers, one taker for what a dead one has left."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import pytest

from data_plane.credentials.leases import Kept, Leases, LeaseState
from data_plane.credentials.ports import CredentialError, Lease
from data_plane.identifiers import SessionId
from tests.support.accounts import SPEC, leases_on_disk


def lease(lease_id: str) -> Lease:
    return Lease(lease_id, SessionId("ses_1"), "orders", "memory", f"gw_{lease_id}", "shop", 1.0, 31.0, SPEC)


async def test_a_lease_is_on_the_disk_when_begin_returns_and_reads_back_as_it_was(tmp_path: Path) -> None:
    store = Leases(tmp_path / "leases.db", "one")
    await store.begin(lease("a"))

    assert leases_on_disk(tmp_path / "leases.db") == {"a": "creating"}
    assert await store.all() == [Kept(lease("a"), "one", LeaseState.CREATING)]
    store.close()


async def test_what_happens_to_a_lease_outlives_the_process(tmp_path: Path) -> None:
    store = Leases(tmp_path / "leases.db", "one")
    for name in ("a", "b", "c", "d"):
        await store.begin(lease(name))
    await store.made(msgspec.structs.replace(lease("b"), principal="v-token-xyz"))
    await store.ending("c")
    await store.not_removed("d", LeaseState.STUCK, "2BP01")
    await store.gone("a")
    store.close()

    again = Leases(tmp_path / "leases.db", "two")
    kept = {one.lease.id: one for one in await again.all()}
    assert {name: one.state for name, one in kept.items()} == {"b": "active", "c": "ending", "d": "stuck"}
    assert kept["b"].lease.principal == "v-token-xyz"
    assert (kept["d"].tries, kept["d"].problem) == (1, "2BP01")
    again.close()


async def test_only_one_of_two_processes_takes_a_lease_over(tmp_path: Path) -> None:
    dead, one, two = (Leases(tmp_path / "leases.db", name) for name in ("dead", "one", "two"))
    await dead.begin(lease("a"))
    (kept,) = await one.all()

    taken = await asyncio.gather(one.take_over(kept), two.take_over(kept))

    assert sorted(taken) == [False, True]
    (after,) = await one.all()
    assert after.owner == ("one" if taken[0] else "two")
    assert after.state is LeaseState.ENDING
    for store in (dead, one, two):
        store.close()


async def test_what_is_stuck_stays_stuck_when_it_is_taken_over(tmp_path: Path) -> None:
    dead, one = Leases(tmp_path / "leases.db", "dead"), Leases(tmp_path / "leases.db", "one")
    await dead.begin(lease("a"))
    await dead.not_removed("a", LeaseState.STUCK, "why")
    assert await one.take_over((await one.all())[0])
    assert (await one.all())[0].state is LeaseState.STUCK
    dead.close()
    one.close()


async def test_changes_that_come_together_share_a_sync_and_all_arrive(tmp_path: Path) -> None:
    store = Leases(tmp_path / "leases.db", "one")
    batches: list[int] = []
    commit = store._commit

    def counted(batch: list[object]) -> list[int]:
        batches.append(len(batch))
        return commit(batch)  # type: ignore[arg-type]

    store._commit = counted  # type: ignore[assignment, method-assign]
    await asyncio.gather(*(store.begin(lease(str(number))) for number in range(50)))

    assert len(leases_on_disk(tmp_path / "leases.db")) == 50
    assert len(batches) < 10
    store.close()


async def test_a_disk_that_cannot_be_written_is_said_with_the_file(tmp_path: Path) -> None:
    store = Leases(tmp_path / "leases.db", "one")
    other = sqlite3.connect(tmp_path / "leases.db")
    other.execute("DROP TABLE leases")
    other.commit()
    other.close()

    with pytest.raises(CredentialError, match=r"leases\.db cannot be written"):
        await store.begin(lease("a"))
    with pytest.raises(CredentialError, match=r"leases\.db cannot be read"):
        await store.all()
    store.close()


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = Leases(tmp_path / "leases.db", "one")
    store.close()
    with pytest.raises(CredentialError):
        await store.begin(lease("a"))
