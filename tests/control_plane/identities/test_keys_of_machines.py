"""Whoever is given a key for good answers to somebody, is there for something, and until some day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import col, update

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import IdentityRow
from tests.control_plane.conftest import ManualClock

ANY = {"if-match": "*"}


async def change(control_plane: ControlPlane, **values: Any) -> None:
    """As a control plane from before these rules has left it."""
    async with control_plane.units() as uow:
        await uow.session.exec(update(IdentityRow).where(col(IdentityRow.name) == "bot").values(**values))


async def key(admin: httpx.AsyncClient, **body: int) -> httpx.Response:
    return await admin.post("/v1/service-account-keys", json={"identity": "bot", **body})


@pytest.mark.parametrize(
    ("lacking", "told"),
    [({"purpose": ""}, "has no purpose: say"), ({"ends_at": None}, "has no end date (ends_at): say")],
)
async def test_a_machine_that_lacks_what_machines_have_gets_no_key_and_keeps_those_it_has(
    lacking: dict[str, Any],
    told: str,
    admin: httpx.AsyncClient,
    machine: httpx.AsyncClient,
    control_plane: ControlPlane,
) -> None:
    await change(control_plane, **lacking)
    refused = await key(admin)
    assert (refused.status_code, told in refused.json()["detail"]) == (422, True)
    assert (await machine.post("/v1/tokens", json={})).status_code == 201
    mended = {"purpose": "works", "ends_at": "2026-12-01T00:00:00Z"}
    assert (await admin.patch("/v1/identities/bot", json=mended, headers=ANY)).is_success
    assert (await key(admin)).status_code == 201


async def test_a_machine_whose_owner_is_gone_or_whose_day_has_come_gets_no_key(
    admin: httpx.AsyncClient, machine: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock, person: Any
) -> None:
    assert machine
    await person("lin")
    assert (await admin.patch("/v1/identities/bot", json={"owner": "lin"}, headers=ANY)).is_success
    assert (await key(admin)).status_code == 201
    assert (await admin.patch("/v1/identities/lin", json={"disabled": True}, headers=ANY)).is_success
    refused = await key(admin)
    assert (refused.status_code, "or its owner is" in refused.json()["detail"]) == (422, True)
    assert (await admin.patch("/v1/identities/bot", json={"owner": "admin"}, headers=ANY)).is_success
    await change(control_plane, ends_at=clock.now())
    refused = await key(admin)
    assert (refused.status_code, "has come" in refused.json()["detail"]) == (422, True)


async def test_a_key_is_good_until_its_machines_end_at_the_latest(
    admin: httpx.AsyncClient, machine: httpx.AsyncClient, clock: ManualClock
) -> None:
    assert machine
    until = (clock.now() + timedelta(days=20)).isoformat().replace("+00:00", "Z")
    assert (await admin.patch("/v1/identities/bot", json={"ends_at": until}, headers=ANY)).is_success
    assert (await key(admin, ttl_days=365)).json()["expires_at"] == until
    sooner = (clock.now() + timedelta(days=19)).isoformat().replace("+00:00", "Z")
    assert (await key(admin, ttl_days=19)).json()["expires_at"] == sooner


async def test_a_key_whose_answer_was_lost_is_found_and_made_anew(
    admin: httpx.AsyncClient, machine: httpx.AsyncClient
) -> None:
    assert machine
    sent: dict[str, Any] = {"json": {"identity": "bot"}, "headers": {"idempotency-key": "lost"}}
    assert (await admin.post("/v1/service-account-keys", **sent)).status_code == 201
    repeated = (await admin.post("/v1/service-account-keys", **sent)).json()
    assert repeated["key"] is None
    assert repeated["id"] in {one["id"] for one in (await admin.get("/v1/service-account-keys")).json()["items"]}
    assert (await admin.delete(f"/v1/service-account-keys/{repeated['id']}")).status_code == 204
    assert (await key(admin)).json()["key"].startswith("assentry_k_")
