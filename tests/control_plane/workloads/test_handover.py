"""A machine is given another owner: what the former one made for it ends, and it works on with the rest."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane

ANY = {"if-match": "*"}
DEPLOY_BOT = {"apiVersion": "assentry.dev/v1", "kind": "Identity", "metadata": {"name": "deploy-bot"}}


async def by_rest(admin: httpx.AsyncClient) -> httpx.Response:
    return await admin.patch("/v1/identities/deploy-bot", json={"owner": "lin"}, headers=ANY)


async def by_documents(admin: httpx.AsyncClient) -> httpx.Response:
    shown = (await admin.get("/v1/identities/deploy-bot")).json()
    spec = {"kind": "machine", "owner": "lin", "purpose": shown["purpose"], "ends_at": shown["ends_at"]}
    return await admin.post("/v1/documents/apply", json={"documents": [{**DEPLOY_BOT, "spec": spec}]})


@pytest.mark.parametrize("handed_over", [by_rest, by_documents])
async def test_a_machine_that_is_handed_over_loses_what_its_former_owner_made_for_it(
    handed_over: Any, control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, person: Any
) -> None:
    eve, _ = await person("eve", "admin"), await person("lin")
    async with control_plane.units() as uow:
        token = (await control_plane.sign_ins.open(uow, eve, "cli")).token.reveal()
    hers = {"authorization": f"Bearer {token}"}
    assert (await ground.patch("/v1/identities/deploy-bot", json={"owner": "eve"}, headers=ANY)).is_success
    body = {"identity": "deploy-bot"}
    mine = (await ground.post("/v1/service-account-keys", json=body)).json()
    key = (await anonymous.post("/v1/service-account-keys", json=body, headers=hers)).json()
    secret = (await anonymous.post("/v1/client-credentials/secrets", json=body, headers=hers)).json()
    form = {"grant_type": "client_credentials", "client_id": "deploy-bot", "client_secret": secret["secret"]}
    came = await anonymous.post("/v1/token", data={**form, "audience": "orders"})
    assert came.is_success, came.text
    with_key = {"authorization": f"Bearer {key['key']}"}
    for_target = (await anonymous.post("/v1/tokens", json={}, headers=with_key)).json()["credential_id"]
    assert (await handed_over(ground)).is_success
    assert (await anonymous.post("/v1/tokens", json={}, headers=with_key)).status_code == 401
    assert (await anonymous.post("/v1/token", data={**form, "audience": "orders"})).status_code == 401
    with_mine = {"authorization": f"Bearer {mine['key']}"}
    assert (await anonymous.post("/v1/tokens", json={}, headers=with_mine)).status_code == 201
    *_, told = sorted(
        (await ground.get("/v1/audit", params={"kind": "identity.handed-over"})).json()["items"],
        key=lambda event: event["sequence"],
    )
    assert (told["subject"], told["data"]["former_owner"]) == ("deploy-bot", "eve")
    assert (told["data"]["keys"], told["data"]["client_credentials"]) == ([key["id"]], [secret["id"]])
    assert for_target in told["data"]["credentials"]
    assert len(told["data"]["workload_sign_ins"]) == 1
    async with control_plane.units.reading() as uow:
        assert for_target in (await control_plane.identities.snapshot(uow)).revoked_credentials
