"""Who gives way when all places of begun sign-ins are taken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from control_plane.kit.errors import TooManyRequestsError
from control_plane.kit.unit_of_work import Units
from control_plane.sign_on import admission, oidc_rows, saml_rows
from control_plane.sign_on.oidc_tables import OidcStartRow
from control_plane.sign_on.saml_tables import SamlRequestRow
from tests.control_plane.conftest import ManualClock

SHARE, MOST = 3, 6


async def begin(units: Units, clock: ManualClock, *names: str) -> None:
    """Each named NETWORK/NUMBER, a second after the one before."""
    for name in names:
        clock.advance(seconds=1)
        network = name.partition("/")[0]
        async with units() as uow:
            await admission.make_room(uow, oidc_rows.STARTS, network, SHARE, MOST)
            uow.session.add(
                OidcStartRow(
                    state_hash=name, browser_hash="", provider="corp", purpose="sign-in", path="/", address=network,
                    created_at=uow.now, expires_at=uow.now + timedelta(minutes=10),
                )
            )  # fmt: skip


async def begun(units: Units) -> set[str]:
    async with units.reading() as uow:
        return set((await uow.session.exec(select(OidcStartRow.state_hash))).all())


async def test_the_oldest_of_the_network_that_holds_most_gives_way(units: Units, clock: ManualClock):
    await begin(units, clock, "a/1", "b/1", "b/2", "b/3", "c/1", "c/2", "d/1")
    assert await begun(units) == {"a/1", "b/2", "b/3", "c/1", "c/2", "d/1"}


async def test_a_network_that_holds_less_than_its_even_part_pays_for_nobody_else(units: Units, clock: ManualClock):
    await begin(units, clock, "office/1", *[f"{network}/{n}" for network in "ab" for n in (1, 2)], "c/1", "d/1", "e/1")
    assert await begun(units) == {"office/1", "a/2", "b/2", "c/1", "d/1", "e/1"}


async def test_a_flood_from_many_networks_leaves_each_its_even_part_alone(units: Units, clock: ManualClock):
    await begin(units, clock, "a/1", "b/1", "office/1", "office/2", "c/1", "d/1", "e/1")
    assert await begun(units) == {"a/1", "b/1", "office/2", "c/1", "d/1", "e/1"}


async def test_the_newcomers_own_network_pays_before_others_that_hold_as_much(units: Units, clock: ManualClock):
    await begin(units, clock, "a/1", "a/2", "b/1", "b/2", "c/1", "c/2", "c/3")
    assert await begun(units) == {"a/1", "a/2", "b/1", "b/2", "c/2", "c/3"}


async def test_of_networks_that_hold_as_much_the_oldest_gives_way(units: Units, clock: ManualClock):
    await begin(units, clock, "f/1", "e/1", "d/1", "c/1", "b/1", "a/1", "g/1")
    assert await begun(units) == {"e/1", "d/1", "c/1", "b/1", "a/1", "g/1"}


async def test_a_network_that_has_its_share_waits_and_this_machine_has_none(units: Units, clock: ManualClock):
    await begin(units, clock, "a/1", "a/2", "a/3")
    with pytest.raises(TooManyRequestsError):
        await begin(units, clock, "a/4")
    await begin(units, clock, "b/1", "/1", "/2", "/3", "/4")
    assert await begun(units) == {"a/2", "a/3", "b/1", "/2", "/3", "/4"}


async def test_more_than_there_may_be_give_way_at_once(units: Units, clock: ManualClock):
    await begin(units, clock, *[f"{network}/{number}" for number in (1, 2) for network in "abc"])
    async with units() as uow:
        await admission.make_room(uow, oidc_rows.STARTS, "d", SHARE, 5)
    assert await begun(units) == {"b/1", "c/1", "b/2", "c/2"}


async def test_sign_ins_by_saml_give_way_alike(units: Units, clock: ManualClock):
    for number in range(MOST + 1):
        async with units() as uow:
            await admission.make_room(uow, saml_rows.REQUESTS, "", SHARE, MOST)
            row = {"browser_hash": str(number), "request_id": "r", "provider": "corp", "path": "/", "address": ""}
            uow.session.add(SamlRequestRow(**row, created_at=clock.now(), expires_at=clock.now()))
        clock.advance(seconds=1)
    async with units.reading() as uow:
        left = set((await uow.session.exec(select(SamlRequestRow.browser_hash))).all())
    assert left == {str(number) for number in range(1, MOST + 1)}
