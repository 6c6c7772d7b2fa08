"""One wrapping key takes the place of another while secrets are written and delivered. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.kit.access import Permission, Principal
from control_plane.kit.secret import Secret
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.secrets.delivery import CannotOpenError, Entitled
from control_plane.secrets.envelope import Envelope, Sealed
from control_plane.secrets.feature import SecretsFeature
from control_plane.secrets.sealed_files import SealedFiles
from control_plane.secrets.tables import SecretRow
from data_plane.identifiers import CredentialId, IdentityId
from tests.control_plane.secrets.keys import PlayedKey

KEEPER = Principal(
    identity=IdentityId("idn_ada"),
    name="ada",
    kind="person",
    groups=(),
    permissions=frozenset({Permission.SECRETS}),
    credential_id=CredentialId("crd_ada"),
    authenticated_at=datetime.now(UTC),
)


class PlayedSealing:
    def __init__(self, *keys: PlayedKey) -> None:
        self.envelope = Envelope(keys)
        self.files = SealedFiles(self.envelope, "test")


def replica(control_plane: ControlPlane, *keys: PlayedKey) -> SecretsFeature:
    """The secrets of one process over this database, with these wrapping keys."""
    sealing: Any = PlayedSealing(*keys)
    return SecretsFeature(
        units=control_plane.units,
        events=control_plane.events,
        targets=control_plane.targets,
        deployment="test",
        sealing=sealing,
    )


async def put(secrets: SecretsFeature, name: str, value: str) -> None:
    await secrets.service.put(KEEPER, name, Secret(value), None if value.endswith("first") else "*")


async def value_of(control_plane: ControlPlane, secrets: SecretsFeature, name: str) -> str:
    """Opened as a delivery opens it."""
    async with control_plane.units.reading() as uow:
        row = await uow.session.get(SecretRow, name)
    assert row is not None
    one = Entitled("t", name, row.version, Sealed(row.sealed, row.wrapped_key, row.wrapping_key), rotated=False)
    return (await secrets.delivery.opened(one)).reveal()


async def ask(control_plane: ControlPlane, secrets: SecretsFeature) -> None:
    async with control_plane.units() as uow:
        await secrets.rewrapping.ask(uow, SYSTEM)


async def left(control_plane: ControlPlane, secrets: SecretsFeature) -> dict[str, int]:
    async with control_plane.units.reading() as uow:
        status = await secrets.rewrapping.status(uow)
    return {one.wrapping_key: one.secrets for one in status.keys}


async def kinds(admin: httpx.AsyncClient) -> list[str]:
    items = (await admin.get("/v1/audit?limit=200")).json()["items"]
    return [one["kind"] for one in items if one["kind"].startswith("secrets.")][::-1]


@pytest.fixture
def old() -> PlayedKey:
    return PlayedKey("old")


@pytest.fixture
def new() -> PlayedKey:
    return PlayedKey("new")


async def filled(control_plane: ControlPlane, secrets: SecretsFeature, names: Sequence[str]) -> None:
    for name in names:
        await put(secrets, name, f"{name} first")


async def test_everything_is_wrapped_anew_and_the_old_key_can_go(
    control_plane: ControlPlane, admin: httpx.AsyncClient, old: PlayedKey, new: PlayedKey
) -> None:
    names = [f"s{number:03}" for number in range(120)]
    await filled(control_plane, replica(control_plane, old), names)
    both = replica(control_plane, new, old)
    assert await left(control_plane, both) == {new.id: 0, old.id: 120}
    await ask(control_plane, both)
    assert await both.rewrapping.go_on()
    assert await left(control_plane, both) == {new.id: 120, old.id: 0}
    alone = replica(control_plane, new)
    assert [await value_of(control_plane, alone, name) for name in names] == [f"{name} first" for name in names]
    assert await kinds(admin) == ["secrets.rewrap-asked", "secrets.rewrapped"]
    count = new.wrapped
    assert await both.rewrapping.go_on(), "what is done is not done again"
    assert new.wrapped == count


async def test_secrets_are_written_and_delivered_all_the_while(
    control_plane: ControlPlane, old: PlayedKey, new: PlayedKey
) -> None:
    """Two replicas, one of which still writes with the old key, and the exchange runs in both."""
    names = [f"s{number:02}" for number in range(30)]
    behind, ahead = replica(control_plane, old, new), replica(control_plane, new, old)
    await filled(control_plane, behind, names)
    written = {name: f"{name} first" for name in names}
    running = [spawn(one.rewrapping.run(), "rewrap") for one in (behind, ahead)]

    async def write(secrets: SecretsFeature, mine: Sequence[str]) -> None:
        for turn in range(3):
            for name in mine:
                await put(secrets, name, f"{name} {turn}")
                written[name] = f"{name} {turn}"

    async def deliver() -> None:
        for _ in range(3):
            for name in names:
                assert (await value_of(control_plane, ahead, name)).startswith(name)

    try:
        await ask(control_plane, ahead)
        await asyncio.gather(write(behind, names[:15]), write(ahead, names[15:]), deliver())
        await ask(control_plane, ahead)
        async with asyncio.timeout(30):
            while (await left(control_plane, ahead))[old.id]:
                await asyncio.sleep(0.05)
    finally:
        for task in running:
            await stop(task)
    alone = replica(control_plane, new)
    assert {name: await value_of(control_plane, alone, name) for name in names} == written


async def test_a_value_that_is_written_in_between_is_not_overwritten(
    control_plane: ControlPlane, old: PlayedKey, new: PlayedKey
) -> None:
    before = replica(control_plane, old)
    await put(before, "orders", "first")
    both = replica(control_plane, new, old)
    await ask(control_plane, both)

    async def somebody_writes() -> None:
        new.before_wrap = None
        await put(before, "orders", "second")

    new.before_wrap = somebody_writes
    assert not await both.rewrapping.go_on(), "what was written with the old key is still to be done"
    assert await value_of(control_plane, both, "orders") == "second"
    assert await both.rewrapping.go_on()
    assert await value_of(control_plane, replica(control_plane, new), "orders") == "second"


async def test_it_goes_on_where_it_was_cut_short(control_plane: ControlPlane, old: PlayedKey, new: PlayedKey) -> None:
    names = [f"s{number}" for number in range(6)]
    await filled(control_plane, replica(control_plane, old), names)
    both = replica(control_plane, new, old)
    await ask(control_plane, both)

    async def crash_at_the_fourth() -> None:
        if new.wrapped == 3:
            raise SystemExit

    new.before_wrap = crash_at_the_fourth
    with pytest.raises(SystemExit):
        await both.rewrapping.go_on()
    new.before_wrap = None
    assert await left(control_plane, both) == {new.id: 3, old.id: 3}
    again = replica(control_plane, new, old)
    assert await again.rewrapping.go_on()
    assert (await left(control_plane, again), new.wrapped) == ({new.id: 6, old.id: 0}, 6)


async def test_a_key_that_is_away_stops_nothing_but_the_exchange_and_is_tried_again(
    control_plane: ControlPlane, admin: httpx.AsyncClient, old: PlayedKey, new: PlayedKey
) -> None:
    await filled(control_plane, replica(control_plane, old), ["one", "two"])
    both = replica(control_plane, new, old)
    await ask(control_plane, both)
    new.away = True
    assert not await both.rewrapping.go_on()
    async with control_plane.units.reading() as uow:
        asked = (await both.rewrapping.status(uow)).asked
    assert asked is not None
    assert (asked.done_at, asked.problem) == (None, "played:new cannot be asked now")
    assert await value_of(control_plane, both, "one") == "one first"
    new.away = False
    assert await both.rewrapping.go_on()
    async with control_plane.units.reading() as uow:
        asked = (await both.rewrapping.status(uow)).asked
    assert asked is not None
    assert asked.done_at is not None
    assert asked.problem == ""
    assert await kinds(admin) == ["secrets.rewrap-asked", "secrets.rewrapped"]


async def test_a_row_that_does_not_open_is_told_and_keeps_no_other_back(
    control_plane: ControlPlane, old: PlayedKey, new: PlayedKey
) -> None:
    await filled(control_plane, replica(control_plane, old), ["a", "b", "c"])
    async with control_plane.units() as uow:
        row = await uow.session.get(SecretRow, "a")
        assert row is not None
        row.wrapped_key = b"something else"
        uow.session.add(row)
    both = replica(control_plane, new, old)
    await ask(control_plane, both)
    assert not await both.rewrapping.go_on()
    assert await left(control_plane, both) == {new.id: 2, old.id: 1}
    with pytest.raises(CannotOpenError, match="set it again"):
        await value_of(control_plane, both, "a")
    await put(both, "a", "mended")
    assert await both.rewrapping.go_on()


async def test_a_replica_with_another_first_key_leaves_it_to_the_one_that_was_asked(
    control_plane: ControlPlane, old: PlayedKey, new: PlayedKey
) -> None:
    behind, ahead = replica(control_plane, old, new), replica(control_plane, new, old)
    await filled(control_plane, behind, ["a"])
    await ask(control_plane, ahead)
    assert await behind.rewrapping.go_on()
    assert await left(control_plane, behind) == {old.id: 1, new.id: 0}
    assert await ahead.rewrapping.go_on()


async def test_what_no_configured_key_opens_is_shown(
    control_plane: ControlPlane, old: PlayedKey, new: PlayedKey
) -> None:
    await filled(control_plane, replica(control_plane, old), ["a"])
    alone = replica(control_plane, new)
    async with control_plane.units.reading() as uow:
        status = await alone.rewrapping.status(uow)
    assert [(one.wrapping_key, one.configured, one.secrets) for one in status.keys] == [
        (new.id, True, 0),
        (old.id, False, 1),
    ]
    with pytest.raises(CannotOpenError, match="cannot be used now"):
        await value_of(control_plane, alone, "a")


async def test_over_rest_it_is_asked_for_and_runs_by_itself(
    control_plane: ControlPlane, admin: httpx.AsyncClient
) -> None:
    assert (await admin.put("/v1/secrets/orders", json={"value": "v"})).is_success
    asked = await admin.post("/v1/secrets/rewrap")
    assert (asked.status_code, asked.json()["rewrap"]["asked_by"]) == (202, "admin")
    assert asked.json()["rewrap"]["done_at"] is None
    assert await control_plane.secrets.rewrapping.go_on()
    found = (await admin.get("/v1/sealing")).json()
    assert found["rewrap"]["done_at"] is not None
    assert [(one["wraps"], one["secrets"], one["files"]) for one in found["keys"]] == [(True, 1, 3)]
