"""What somebody made for machines of others ends with them: they could have kept it."""

from __future__ import annotations

from typing import Any

import httpx

from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import SYSTEM


async def test_who_has_left_keeps_no_secret_of_a_machine_of_others(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, person: Any
) -> None:
    assert (await ground.post("/v1/scim-clients", json={"name": "corp"})).status_code == 201
    eve = await person("eve", "admin")
    async with control_plane.units() as uow:
        token = (await control_plane.sign_ins.open(uow, eve, "cli")).token.reveal()
    hers = {"authorization": f"Bearer {token}"}
    mine = (await ground.post("/v1/service-account-keys", json={"identity": "deploy-bot"})).json()
    key = (await anonymous.post("/v1/service-account-keys", json={"identity": "deploy-bot"}, headers=hers)).json()
    body = {"identity": "deploy-bot"}
    secret = (await anonymous.post("/v1/client-credentials/secrets", json=body, headers=hers)).json()
    scim = (await anonymous.post("/v1/scim-clients/corp/tokens", json={}, headers=hers)).json()
    async with control_plane.units() as uow:
        await control_plane.who.ending.end(uow, SYSTEM, eve.id, "left")
    answers = [
        await anonymous.post("/v1/tokens", json={}, headers={"authorization": f"Bearer {one['key']}"})
        for one in (mine, key)
    ]
    assert [one.status_code for one in answers] == [201, 401]
    form = {"grant_type": "client_credentials", "client_id": "deploy-bot", "client_secret": secret["secret"]}
    assert (await anonymous.post("/v1/token", data={**form, "audience": "orders"})).status_code == 401
    pushed = await anonymous.get("/scim/v2/corp/Users", headers={"authorization": f"Bearer {scim['token']}"})
    assert pushed.status_code == 401
    (told,) = (await ground.get("/v1/audit", params={"kind": "identity.ended"})).json()["items"]
    assert told["data"]["keys_made"] == [key["id"]]
    assert told["data"]["client_credentials_made"] == [secret["id"]]
    assert told["data"]["scim_tokens_made"] == [scim["id"]]
