"""The errands of the agent's own account: done once for each name, one worker at a time, and nothing secret is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_plane.credentials import rotation, stored
from data_plane.credentials.ports import PasswordCredential
from data_plane.credentials.stored import StoredCredential
from data_plane.identifiers import TargetName
from data_plane.link.errands import ErrandError
from data_plane.link.rotation import CredentialErrands
from data_plane.policy.model import AccountRotation, TargetCredential, TargetSpec
from data_plane.runtime.secret import Secret

ORDERS = TargetName("orders")


class Target:
    """A target that takes every password that was set; one rotation can be held up in it."""

    def __init__(self) -> None:
        self.changes = 0
        self.inside = self.most_inside = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    def rotating(self, spec: TargetSpec) -> Target:
        return self

    async def opens(self, credential: PasswordCredential) -> bool:
        return True

    async def lacks(self, active: PasswordCredential, other: str) -> Sequence[str]:
        return ()

    async def change(self, credential: PasswordCredential, password: Secret) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await self.go_on.wait()
        self.changes += 1
        self.inside -= 1


class Memory:
    writable = True

    def __init__(self) -> None:
        self.value = Secret("first")

    async def read(self) -> Secret:
        return self.value

    async def write(self, value: Secret) -> None:
        self.value = value


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SETTLE_SECONDS", 0)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.target, self.store = folder, Target(), Memory()
        self.rotate: AccountRotation | None = AccountRotation()

    def worker(self) -> CredentialErrands:
        service: Any = self.target
        return CredentialErrands(self.folder, lambda _: self.spec, service, self)

    def source(self, name: TargetName) -> StoredCredential:
        return StoredCredential(self.store, "app")

    def kept(self, name: TargetName) -> str:
        return "file: app.password"

    @property
    def spec(self) -> TargetSpec:
        credential = TargetCredential(rotate=self.rotate)
        return TargetSpec(
            protocol="postgres", environment="test", agent="demo", address="db:5432", credential=credential
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "rotations")


async def test_asked_again_for_the_same_rotation_any_worker_only_tells_what_became_of_it(world: World) -> None:
    first = await world.worker().rotate(ORDERS, {"rotation": "rot_1"})
    password = stored.account(world.store.value, "app").password
    assert await world.worker().rotate(ORDERS, {"rotation": "rot_1"}) == first
    assert stored.account(world.store.value, "app").password == password
    await world.worker().rotate(ORDERS, {"rotation": "rot_2"})
    assert world.target.changes == 2


async def test_two_workers_do_not_rotate_one_target_at_the_same_time(world: World) -> None:
    world.target.go_on.clear()
    both = [asyncio.ensure_future(world.worker().rotate(ORDERS, {"rotation": "rot_1"})) for _ in range(2)]
    async with asyncio.timeout(5):
        while not world.target.inside:
            await asyncio.sleep(0.01)
    world.target.go_on.set()
    assert await both[0] == await both[1]
    assert (world.target.most_inside, world.target.changes) == (1, 1)


async def test_what_is_told_and_kept_holds_no_password(world: World) -> None:
    told = [await world.worker().rotate(ORDERS, {"rotation": "rot_1"}), await world.worker().show(ORDERS, {})]
    password = stored.account(world.store.value, "app").password.reveal()
    kept = (world.folder / ORDERS / "last").read_text()
    for text in (json.dumps(told), kept):
        assert password not in text
        assert "first" not in text
    assert told[1] == {"account": "app", "kept": "file: app.password", "writable": True, "unfinished": False}


async def test_a_target_whose_document_says_nothing_of_rotation_is_left_alone(world: World) -> None:
    world.rotate = None
    with pytest.raises(ErrandError, match="says nothing of rotation"):
        await world.worker().rotate(ORDERS, {})
    assert world.store.value == Secret("first")
