"""The janitor: what a dead process, a lost state directory or a lost answer has left is found and removed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from data_plane.credentials import janitor
from data_plane.credentials.janitor import Janitor
from data_plane.policy.model import TargetCredential, TargetSpec
from tests.support.accounts import (
    SPEC,
    TARGET,
    Account,
    MemoryAccounts,
    MemoryTarget,
    Process,
    facts,
    leases_on_disk,
    need,
    process,
)


async def sweep(running: Process) -> None:
    await running.accounts._janitor.sweep()
    await running.settled()


async def test_the_accounts_of_a_dead_process_are_gone_before_the_next_lets_clients_in(
    tmp_path: Path, target: MemoryTarget, provider: MemoryAccounts
) -> None:
    dead = Process(tmp_path, "worker-0.boot_1", provider)
    credential = await dead.source.obtain(need())
    assert target.sign_in(credential)
    await dead.crash()
    assert target.accounts

    async with process(tmp_path, "worker-0.boot_2", provider) as running:
        assert not target.accounts
        assert leases_on_disk(tmp_path / "leases.db") == {}
        assert running.told.all == [("gone", dead.told.all[0][1])]


@pytest.mark.parametrize("step", ["create", "created", "remove", "disabled", "removed"])
async def test_a_crash_at_any_step_leaves_nothing_for_long(
    step: str, tmp_path: Path, target: MemoryTarget, provider: MemoryAccounts
) -> None:
    reached = asyncio.Event()

    def hang(name: str) -> asyncio.Event | None:
        if name != step:
            return None
        reached.set()
        return asyncio.Event()

    provider.at = hang
    dead = Process(tmp_path, "worker-0.boot_1", provider)
    opening = asyncio.ensure_future(_session(dead))
    await reached.wait()
    opening.cancel()
    await dead.crash()
    assert leases_on_disk(tmp_path / "leases.db")

    fresh = MemoryAccounts(target, tmp_path / "leases.db")
    async with process(tmp_path, "worker-0.boot_2", fresh):
        assert not target.accounts
        assert leases_on_disk(tmp_path / "leases.db") == {}


async def _session(running: Process) -> None:
    await running.source.obtain(need())
    await running.source.release(facts())
    await running.settled()


async def test_the_accounts_of_a_living_process_are_left_alone(
    tmp_path: Path, target: MemoryTarget, provider: MemoryAccounts
) -> None:
    async with process(tmp_path, "worker-0.boot_1", provider) as first:
        credential = await first.source.obtain(need())
        async with process(tmp_path, "worker-1.boot_1", provider) as second:
            await sweep(second)
            await sweep(first)
            assert target.sign_in(credential)


async def test_the_others_take_over_what_a_dead_worker_has_left_once(
    tmp_path: Path, target: MemoryTarget, provider: MemoryAccounts
) -> None:
    dead = Process(tmp_path, "worker-0.boot_1", provider)
    for number in range(10):
        await dead.source.obtain(need(f"ses_{number}"))
    async with (
        process(tmp_path, "worker-1.boot_1", provider) as one,
        process(tmp_path, "worker-2.boot_1", provider) as two,
    ):
        await dead.source.release(facts("ses_0"))
        await dead.settled()
        await dead.accounts.close()
        await asyncio.gather(sweep(one), sweep(two))
        assert not target.accounts
        gone = [told[1] for process_ in (one, two) for told in process_.told.all]
        assert len(gone) == len(set(gone)) == 9


async def test_a_lease_that_no_session_stands_behind_is_ended(
    running: Process, target: MemoryTarget, tmp_path: Path
) -> None:
    await running.source.obtain(need())
    running.source._accounts.clear()  # as a mistake elsewhere would
    await sweep(running)
    assert not target.accounts
    assert leases_on_disk(tmp_path / "leases.db") == {}


async def test_a_lost_state_directory_leaves_nobody_an_account_in_the_end(tmp_path: Path, target: MemoryTarget) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    dead = Process(lost, "worker-0.boot_1", MemoryAccounts(target, lost / "leases.db"))
    credential = await dead.source.obtain(need())
    await dead.crash()
    shutil.rmtree(lost)

    async with process(tmp_path, "worker-0.boot_2", MemoryAccounts(target, tmp_path / "leases.db")) as running:
        assert target.accounts, "somebody may be about to sign in: it could be another agent's"
        assert target.sign_in(credential)
        target.sign_in_time_over()
        await sweep(running)
        assert target.accounts, "somebody is using it"
        next(iter(target.accounts.values())).sessions = 0
        await sweep(running)
        assert not target.accounts
        assert [outcome for outcome, _ in running.told.all] == ["gone"]


async def test_an_account_of_a_living_session_is_never_taken_for_one_without_a_lease(
    running: Process, target: MemoryTarget
) -> None:
    """Its sign-in time may be over and its session not signed in yet: that is its session's business."""
    await running.source.obtain(need())
    target.sign_in_time_over()
    await sweep(running)
    assert target.accounts
    for account in target.accounts.values():
        account.lease = ""  # a target whose names tell no lease
    await sweep(running)
    assert target.accounts


async def test_an_account_without_a_lease_that_will_not_go_is_alarmed_once(
    running: Process, target: MemoryTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarmed = asyncio.Event()
    monkeypatch.setattr(running.accounts._remover, "_pause", lambda tries: 3600.0 if alarmed.is_set() else 0.0)
    monkeypatch.setattr(running.told, "alarm", lambda kind, text: (running.told.alarms.append(text), alarmed.set()))
    target.accounts["gw_left"] = Account("secret", "left", set(), in_time=False)
    target.unremovable = {"gw_left"}
    await sweep(running)
    await alarmed.wait()
    await sweep(running)
    assert len(running.told.alarms) == 1
    assert running.accounts.orphans == 1


async def test_an_account_that_goes_between_two_looks_is_left_to_whoever_removes_it(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    """Another agent of this name, with a state directory of its own."""
    target.accounts["gw_going"] = Account("secret", "going", set(), in_time=False)
    target.accounts["gw_left"] = Account("secret", "left", set(), in_time=False)
    looked, removed = 0, list[str]()

    def at(step: str) -> None:
        nonlocal looked
        if step == "existing":
            looked += 1
            if looked == 2:
                del target.accounts["gw_going"]
                target.accounts["gw_new"] = Account("secret", "new", set(), in_time=False)
        if step == "remove":
            removed.append(step)

    provider.at = at
    await sweep(running)
    assert removed == ["remove"]
    assert running.told.all == [("gone", "gw_left")]
    assert list(target.accounts) == ["gw_new"]


async def test_one_worker_searches_the_targets(tmp_path: Path, target: MemoryTarget, provider: MemoryAccounts) -> None:
    searched: list[str] = []
    other = MemoryAccounts(target, tmp_path / "leases.db")
    provider.at = lambda step: searched.append(f"one {step}")
    other.at = lambda step: searched.append(f"two {step}")
    async with (
        process(tmp_path, "worker-0.boot_1", provider) as one,
        process(tmp_path, "worker-1.boot_1", other) as two,
    ):
        await sweep(two)
        await sweep(one)
        assert searched == ["one existing", "one existing"]
        await one.accounts.close()
        await sweep(two)
        assert searched[2:] == ["two existing"]


async def test_a_target_without_session_roles_or_unknown_is_not_searched(
    running: Process, provider: MemoryAccounts
) -> None:
    searched: list[str] = []
    provider.at = searched.append
    plain = TargetSpec("postgres", "test", "demo", "db:5432", credential=TargetCredential())
    for spec in (plain, None):
        running.spec = spec
        await sweep(running)
    assert searched == []
    running.spec = SPEC
    await sweep(running)
    assert searched == ["existing"]


async def test_a_target_that_cannot_be_asked_is_asked_again_later(running: Process, target: MemoryTarget) -> None:
    target.accounts["gw_left"] = Account("secret", "left", set(), in_time=False)
    target.broken = "the target cannot be reached"
    await sweep(running)
    assert target.accounts
    target.broken = ""
    await sweep(running)
    assert not target.accounts


async def test_a_lease_of_a_target_that_the_configuration_has_lost_is_alarmed_once(
    tmp_path: Path, target: MemoryTarget, provider: MemoryAccounts
) -> None:
    dead = Process(tmp_path, "worker-0.boot_1", provider)
    await dead.source.obtain(need())
    await dead.crash()
    running = Process(tmp_path, "worker-0.boot_2", provider)
    del running.accounts._sources[TARGET]
    await sweep(running)
    await sweep(running)
    assert len(running.told.alarms) == 1
    assert "does not name the target any more" in running.told.alarms[0]
    assert running.accounts.orphans == 1
    assert len(leases_on_disk(tmp_path / "leases.db")) == 1
    await running.accounts.close()


async def test_a_removal_that_is_under_way_is_not_begun_again(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    await running.source.obtain(need())
    going, reached = asyncio.Event(), asyncio.Event()

    def at(step: str) -> asyncio.Event | None:
        if step != "remove":
            return None
        reached.set()
        return going

    provider.at = at
    await running.source.release(facts())
    await reached.wait()
    await running.accounts._janitor.sweep()
    going.set()
    await running.settled()
    assert not target.accounts
    assert len(running.told.all) == 2


async def test_a_process_that_ends_closes_what_its_providers_keep(tmp_path: Path, provider: MemoryAccounts) -> None:
    async with process(tmp_path, "worker-0.boot_1", provider):
        assert not provider.closed
    assert provider.closed


async def test_it_sweeps_every_minute_whatever_fails(running: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    swept, enough = 0, asyncio.Event()

    async def sweep_once(self: Janitor) -> None:
        nonlocal swept
        swept += 1
        if swept == 3:
            enough.set()
        raise RuntimeError("a bug")

    monkeypatch.setattr(janitor, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(Janitor, "_sweep", sweep_once)
    sweeping = asyncio.ensure_future(running.accounts.run())
    await enough.wait()
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
