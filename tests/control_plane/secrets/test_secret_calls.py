"""What agents ask for, many at once, on both databases: each gets what is its own, and everything is written down."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlmodel import select

from control_plane.agents.secret_calls import Refusal, RefusedError, SecretCalls
from control_plane.agents.tables import AgentCertificateRow, AgentRow
from control_plane.assembly import ControlPlane
from control_plane.audit.tables import AuditRow
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM, Actor, UnitOfWork
from control_plane.secrets.delivery import Entitled
from control_plane.secrets.tables import SecretDeliveryRow
from data_plane.policy import model
from tests.control_plane.conftest import ManualClock
from tests.control_plane.secrets.keys import PlayedKey
from tests.control_plane.secrets.test_rewrapping import KEEPER, put, replica

KEY = X25519PrivateKey.generate().public_key().public_bytes_raw()


async def enrolled(control_plane: ControlPlane, name: str) -> str:
    """The serial of its certificate."""
    async with control_plane.units() as uow:
        uow.session.add(AgentRow(id=f"agt_{name}", name=name, created_at=uow.now))
        await uow.session.flush()
        until = uow.now + timedelta(days=1)
        uow.session.add(
            AgentCertificateRow(serial=f"5e{name}", agent_id=f"agt_{name}", issued_at=uow.now, expires_at=until)
        )
    return f"5e{name}"


async def declared(control_plane: ControlPlane, name: str, agent: str, secret: str) -> None:
    credential = model.TargetCredential(secret=secret, rotate=model.AccountRotation())
    spec = model.TargetSpec(
        protocol="postgres", environment="test", agent=agent, address="127.0.0.1:5432", credential=credential
    )
    target = model.Target(apiVersion="assentry.dev/v1", metadata=model.Metadata(name=name), spec=spec)
    async with control_plane.units() as uow:
        await control_plane.targets.targets.put(uow, SYSTEM, target, managed=False)


async def events(control_plane: ControlPlane, kind: str) -> int:
    async with control_plane.units.reading() as uow:
        return len((await uow.session.exec(select(AuditRow).where(AuditRow.kind == kind))).all())


async def test_the_workers_of_an_agent_may_ask_at_the_same_moment(control_plane: ControlPlane) -> None:
    serial = await enrolled(control_plane, "demo")
    await control_plane.secrets.service.put(KEEPER, "orders", Secret("v"), None)
    await declared(control_plane, "orders", "demo", "orders")
    calls = control_plane.agents.secret_calls
    given = await asyncio.gather(*(calls.fetch(serial, "orders", KEY) for _ in range(12)))
    assert {one.version for one in given} == {1}
    assert len({one.sealed for one in given}) == 12
    assert await events(control_plane, "secret.delivered") == 12
    async with control_plane.units.reading() as uow:
        [row] = (await uow.session.exec(select(SecretDeliveryRow))).all()
    assert (row.agent, row.target, row.version) == ("demo", "orders", 1)


async def test_two_that_are_given_it_for_the_first_time_both_get_it(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite the second one waits for its turn; on PostgreSQL both have found that nobody was given it before."""
    serial = await enrolled(control_plane, "demo")
    await control_plane.secrets.service.put(KEEPER, "orders", Secret("v"), None)
    await declared(control_plane, "orders", "demo", "orders")
    delivery, turns = control_plane.secrets.delivery, iter(range(2))
    written, both = delivery.delivered, asyncio.Barrier(1 if control_plane.database.single_writer else 2)

    async def delivered(uow: UnitOfWork, agent: Actor, one: Entitled) -> None:
        await written(uow, agent, one)
        if next(turns, None) is not None:
            await both.wait()

    monkeypatch.setattr(delivery, "delivered", delivered)
    calls = control_plane.agents.secret_calls
    given = await asyncio.gather(*(calls.fetch(serial, "orders", KEY) for _ in range(2)))
    assert [one.version for one in given] == [1, 1]
    assert await events(control_plane, "secret.delivered") == 2


@pytest.mark.parametrize("meanwhile", ["another value", "another agent", "disabled", "deleted"])
async def test_what_changes_while_it_is_opened_is_looked_at_again(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A wrapping key may be far away."""
    serial = await enrolled(control_plane, "demo")
    await control_plane.secrets.service.put(KEEPER, "orders", Secret("v"), None)
    await declared(control_plane, "orders", "demo", "orders")
    delivery, calls = control_plane.secrets.delivery, control_plane.agents.secret_calls
    opened, times = delivery.opened, iter(range(1))

    async def opened_slowly(one: Entitled) -> Secret:
        value = await opened(one)
        if next(times, None) is None:
            return value
        match meanwhile:
            case "another value":
                await control_plane.secrets.service.put(KEEPER, "orders", Secret("newer"), "*")
            case "another agent":
                await declared(control_plane, "orders", "other", "orders")
            case "disabled":
                async with control_plane.units() as uow:
                    await control_plane.agents.service.set_disabled(uow, SYSTEM, "demo", disabled=True)
            case "deleted":
                await declared(control_plane, "orders", "demo", "")
        return value

    monkeypatch.setattr(delivery, "opened", opened_slowly)
    if meanwhile == "another value":
        assert (await calls.fetch(serial, "orders", KEY)).version == 2
    else:
        with pytest.raises(RefusedError):
            await calls.fetch(serial, "orders", KEY)
    assert await events(control_plane, "secret.delivered") == (meanwhile == "another value")


async def test_of_two_that_rotate_at_the_same_moment_one_is_told(control_plane: ControlPlane) -> None:
    serial = await enrolled(control_plane, "demo")
    await control_plane.secrets.service.put(KEEPER, "orders", Secret("v"), None)
    await declared(control_plane, "orders", "demo", "orders")
    calls = control_plane.agents.secret_calls
    stores = (calls.store(serial, "orders", 1, Secret(f"value {number}")) for number in range(5))
    done = await asyncio.gather(*stores, return_exceptions=True)
    assert [one for one in done if not isinstance(one, RefusedError)] == [2]
    assert {one.why for one in done if isinstance(one, RefusedError)} == {Refusal.OUTDATED}
    assert await events(control_plane, "secret.rotated") == 1


async def test_deliveries_and_new_values_pass_while_data_keys_are_wrapped_anew(control_plane: ControlPlane) -> None:
    old, new = PlayedKey("old"), PlayedKey("new")
    serial = await enrolled(control_plane, "demo")
    before, both = replica(control_plane, old), replica(control_plane, new, old)
    names = [f"s{number:02}" for number in range(20)]
    for name in names:
        await put(before, name, f"{name} first")
        await declared(control_plane, name, "demo", name)
    calls = SecretCalls(control_plane.units, control_plane.agents.service, both.delivery, "test")
    async with control_plane.units() as uow:
        await both.rewrapping.ask(uow, SYSTEM)

    async def work(name: str) -> None:
        assert (await calls.fetch(serial, name, KEY)).version == 1
        assert await calls.store(serial, name, 1, Secret(f"{name} second")) == 2
        assert (await calls.fetch(serial, name, KEY)).version == 2

    await asyncio.gather(both.rewrapping.go_on(), *map(work, names))
    assert await both.rewrapping.go_on()
    alone = SecretCalls(control_plane.units, control_plane.agents.service, replica(control_plane, new).delivery, "test")
    for name in names:
        assert (await alone.fetch(serial, name, KEY)).version == 2


async def test_a_refusal_that_repeats_itself_does_not_fill_the_log(
    control_plane: ControlPlane, clock: ManualClock
) -> None:
    await control_plane.secrets.service.put(KEEPER, "orders", Secret("v"), None)
    await declared(control_plane, "orders", "demo", "orders")
    serial = await enrolled(control_plane, "other")
    calls = control_plane.agents.secret_calls
    for target in ("orders", "orders", "x" * 10_000, "orders"):
        with pytest.raises(RefusedError, match="does not serve such a target"):
            await calls.fetch(serial, target, KEY)
    with pytest.raises(RefusedError, match="disabled or its certificate ended"):
        await calls.fetch("no such serial", "orders", KEY)
    assert await events(control_plane, "secret.refused") == 3
    for number in range(40):
        with pytest.raises(RefusedError):
            await calls.fetch(serial, f"made-up-{number}", KEY)
    assert await events(control_plane, "secret.refused") == 21, "twenty of this agent, one of nobody"
    clock.advance(minutes=1)
    with pytest.raises(RefusedError):
        await calls.fetch(serial, "orders", KEY)
    assert await events(control_plane, "secret.refused") == 22
