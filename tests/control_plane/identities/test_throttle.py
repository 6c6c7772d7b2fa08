"""Failed sign-ins: by name and by address, bounded, and forgiven in time."""

from __future__ import annotations

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.identities import throttle
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import ManualClock

PASSWORD = "correct horse battery"
HOST, NEIGHBOUR = "203.0.113.7", "203.0.113.8"


async def fail(control_plane: ControlPlane, name: str, address: str, times: int = 1) -> int:
    async with control_plane.units() as uow:
        return [await throttle.failed(uow, name, address) for _ in range(times)][-1]


async def wait(control_plane: ControlPlane, name: str, address: str) -> int:
    async with control_plane.units.reading() as uow:
        return await throttle.locked_for(uow, name, address)


async def spray(control_plane: ControlPlane, address: str, times: int = throttle.FREE_FAILURES_OF_AN_ADDRESS) -> None:
    """One guess for each of many names."""
    for number in range(times):
        await fail(control_plane, f"name-{number}", address)


async def test_an_address_that_tries_many_names_is_locked_for_all_of_them_longer_and_longer(
    control_plane: ControlPlane, clock: ManualClock
) -> None:
    await spray(control_plane, HOST)
    assert await wait(control_plane, "ada", HOST) == 31
    assert await wait(control_plane, "ada", NEIGHBOUR) == 0
    clock.advance(seconds=31)
    assert await wait(control_plane, "ada", HOST) == 0
    await fail(control_plane, "another", HOST)
    assert await wait(control_plane, "ada", HOST) == 61


async def test_an_address_is_forgiven_sooner_than_a_name(control_plane: ControlPlane, clock: ManualClock) -> None:
    await spray(control_plane, HOST)
    assert await fail(control_plane, "ada", NEIGHBOUR, throttle.FREE_FAILURES) == throttle.FREE_FAILURES
    clock.advance(hours=2)
    assert await fail(control_plane, "eve", HOST) == 1
    assert await wait(control_plane, "eve", HOST) == 0
    assert await fail(control_plane, "ada", NEIGHBOUR) == throttle.FREE_FAILURES + 1


async def test_success_forgives_the_name_and_not_the_address(control_plane: ControlPlane) -> None:
    await spray(control_plane, HOST)
    async with control_plane.units() as uow:
        await throttle.succeeded(uow, "name-0")
    assert await wait(control_plane, "name-0", HOST) == 31


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "", "testclient"])
async def test_this_machine_and_what_is_no_address_are_not_counted(control_plane: ControlPlane, address: str) -> None:
    await spray(control_plane, address)
    assert await wait(control_plane, "ada", address) == 0


async def test_a_client_cannot_hide_in_its_site_nor_behind_another_notation(control_plane: ControlPlane) -> None:
    await spray(control_plane, "2001:db8::1")
    assert await wait(control_plane, "ada", "2001:db8::ffff%eth0") == 31
    assert await wait(control_plane, "ada", "2001:db8:0:ffff::1") == 31
    assert await wait(control_plane, "ada", "2001:db8:1::1") == 0
    await spray(control_plane, f"::ffff:{HOST}")
    assert await wait(control_plane, "ada", HOST) == 31


async def test_no_name_locks_an_address(control_plane: ControlPlane) -> None:
    for name in (HOST, f"address\0{HOST}"):
        await fail(control_plane, name, "", throttle.FREE_FAILURES + 40)
    assert await wait(control_plane, "ada", HOST) == 0


async def test_what_is_remembered_is_bounded(
    control_plane: ControlPlane, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 11."""
    monkeypatch.setattr(throttle, "_MOST", 20)
    monkeypatch.setattr(throttle, "_AT_ONCE", 5)
    await fail(control_plane, "locked", "", throttle.FREE_FAILURES)
    for number in range(100):
        await fail(control_plane, f"name-{number}", "")
    async with control_plane.units.reading() as uow:
        connection = await uow.session.connection()
        count = (await connection.exec_driver_sql("SELECT count(*) FROM sign_in_attempts")).scalar_one()
    assert count <= 20
    assert await wait(control_plane, "locked", "") > 0, "those that are locked go last"


async def test_the_address_is_the_clients(control_plane: ControlPlane, anonymous: httpx.AsyncClient, person) -> None:
    await person("ada", "admin")
    await control_plane.sign_ins.reset_password(SYSTEM, "ada", Secret(PASSWORD))
    transport = anonymous._transport
    assert isinstance(transport, httpx.ASGITransport)
    monkey, transport.client = transport.client, (HOST, 4711)
    body = {"name": "ada", "password": PASSWORD, "channel": "cli"}
    await spray(control_plane, HOST)
    for path, asked in (("/v1/session", {"json": body}), ("/sign-in", {"data": {"name": "ada", "password": PASSWORD}})):
        assert (await anonymous.post(path, **asked)).status_code == 429
    transport.client = monkey
    assert (await anonymous.post("/v1/session", json=body)).status_code == 200
