"""Removal: tried until the account is known to be gone; people are told once of one that will not go."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from data_plane.credentials import removing
from data_plane.credentials.leases import Leases
from data_plane.credentials.ports import StuckError
from data_plane.credentials.removing import Remover
from tests.data_plane.credentials.test_leases import lease
from tests.support.accounts import Account, MemoryAccounts, MemoryTarget, Told, leases_on_disk


class Rig:
    def __init__(self, folder: Path, target: MemoryTarget) -> None:
        self.file = folder / "leases.db"
        self.leases = Leases(self.file, "own")
        self.told = Told()
        self.pauses: list[int] = []
        self.paused = asyncio.Event()
        self.remover = Remover(self.leases, self.told, self._pause)
        self.provider = MemoryAccounts(target, self.file)
        self.target = target

    def _pause(self, tries: int) -> float:
        self.pauses.append(tries)
        self.paused.set()
        return 0.0

    async def begin(self, name: str) -> None:
        await self.leases.begin(lease(name))
        self.target.accounts[f"gw_{name}"] = Account("secret", name, set())
        self.remover.start(self.provider, lease(name))

    async def until_tries(self, most: int) -> None:
        while len(self.pauses) < most:
            self.paused.clear()
            await self.paused.wait()

    async def gone(self) -> None:
        while self.remover.working_on:
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.remover.close()
        self.leases.close()


@pytest.fixture
def rig(tmp_path: Path, target: MemoryTarget) -> Rig:
    return Rig(tmp_path, target)


async def test_a_target_that_is_away_is_asked_until_it_is_back(rig: Rig) -> None:
    rig.target.broken = "the target cannot be reached"
    await rig.begin("a")
    await rig.until_tries(2)
    assert leases_on_disk(rig.file) == {"a": "ending"}
    rig.target.broken = ""
    await rig.gone()
    assert not rig.target.accounts
    assert leases_on_disk(rig.file) == {}
    assert rig.told.all == [("gone", "gw_a")]
    assert rig.told.alarms == []
    await rig.close()


async def test_trouble_that_lasts_is_reported_and_then_alarms_once(rig: Rig) -> None:
    rig.target.broken = "the target cannot be reached"
    await rig.begin("a")
    await rig.until_tries(removing._ALARM_AFTER + 4)
    assert rig.told.all == [("failed", "gw_a")]
    assert rig.told.alarms == ["orphaned-account: account gw_a at orders: the target cannot be reached"]
    assert rig.remover.orphans == 1
    rig.target.broken = ""
    await rig.gone()
    assert rig.remover.orphans == 0
    assert rig.told.all[-1] == ("gone", "gw_a")
    await rig.close()


async def test_an_account_that_will_not_go_is_disabled_alarmed_and_still_tried(rig: Rig) -> None:
    rig.target.unremovable = {"gw_a"}
    await rig.begin("a")
    await rig.until_tries(2)
    assert leases_on_disk(rig.file) == {"a": "stuck"}
    assert (rig.told.all, rig.told.alarms) == ([], []), "it may be a passing lock"
    await rig.until_tries(5)
    assert leases_on_disk(rig.file) == {"a": "stuck"}
    assert not rig.target.accounts["gw_a"].enabled
    assert rig.told.all == [("disabled", "gw_a")]
    assert len(rig.told.alarms) == 1
    assert "nobody can sign in with it" in rig.told.alarms[0]
    assert rig.remover.orphans == 1

    rig.target.unremovable = set()
    await rig.gone()
    assert rig.told.all == [("disabled", "gw_a"), ("gone", "gw_a")]
    assert rig.remover.orphans == 0
    await rig.close()


async def test_an_account_that_another_provider_made_is_not_taken_for_gone(rig: Rig) -> None:
    """The target was configured anew: its sessions get accounts from Vault now."""
    rig.provider.name = "vault-database"
    await rig.begin("a")
    await rig.until_tries(9)
    assert leases_on_disk(rig.file) != {}
    assert "gw_a" in rig.target.accounts
    assert "memory made it, and this agent is configured for vault-database by now" in rig.told.alarms[0]
    rig.provider.name = "memory"
    await rig.gone()
    assert rig.target.accounts == {}
    await rig.close()


async def test_an_account_that_can_still_be_used_alarms_at_once(rig: Rig) -> None:
    def usable(step: str) -> None:
        raise StuckError("the agent may not change it", disabled=False)

    rig.provider.at = usable
    await rig.begin("a")
    await rig.until_tries(1)
    assert rig.told.all == [("failed", "gw_a")]
    assert "IT CAN BE USED" in rig.told.alarms[0]
    rig.provider.at = lambda step: None
    await rig.gone()
    await rig.close()


async def test_a_provider_that_breaks_does_not_stop_the_tries(rig: Rig) -> None:
    def breaks(step: str) -> None:
        raise RuntimeError("a bug")

    rig.provider.at = breaks
    await rig.begin("a")
    await rig.until_tries(1)
    rig.provider.at = lambda step: None
    await rig.gone()
    assert not rig.target.accounts
    await rig.close()


async def test_a_try_that_takes_too_long_is_given_up_and_repeated(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removing, "PATIENCE", 0.05)
    rig.provider.at = lambda step: asyncio.Event() if step == "disabled" else None
    await rig.begin("a")
    await rig.until_tries(1)
    rig.provider.at = lambda step: None
    await rig.gone()
    assert not rig.target.accounts
    await rig.close()


async def test_one_account_is_removed_by_one_task(rig: Rig) -> None:
    going, tries = asyncio.Event(), 0

    def at(step: str) -> asyncio.Event | None:
        nonlocal tries
        tries += step == "remove"
        return going if step == "remove" else None

    rig.provider.at = at
    await rig.begin("a")
    rig.remover.start(rig.provider, lease("a"))
    assert list(rig.remover.working_on) == ["a"]
    going.set()
    await rig.gone()
    assert rig.told.all == [("gone", "gw_a")]
    assert tries == 1
    await rig.close()


async def test_the_end_waits_for_first_tries_only(rig: Rig) -> None:
    rig.target.unremovable = {"gw_a"}
    rig.remover = Remover(rig.leases, rig.told, lambda tries: 3600.0)
    await rig.begin("a")
    assert await rig.remover.tried(10)
    going = asyncio.Event()
    rig.provider.at = lambda step: going if step == "remove" else None
    await rig.begin("b")
    assert not await rig.remover.tried(0.05)
    await rig.close()
    assert leases_on_disk(rig.file) == {"a": "stuck", "b": "creating"}


def test_pauses_grow_up_to_a_minute(tmp_path: Path) -> None:
    pause = Remover(None, Told())._pause  # type: ignore[arg-type]  # not asked for
    assert [pause(tries) for tries in (0, 1, 5, 7, 1000)] == [0.5, 1.0, 16.0, 60.0, 60.0]
