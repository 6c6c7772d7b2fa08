"""One person, one subject of a provider: what SCIM clients say of accounts there."""

from __future__ import annotations

import httpx

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.scim.conftest import USER, Pusher, audited
from tests.control_plane.scim.test_users import accounts


async def test_nobody_is_two_subjects_of_one_provider(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    async with control_plane.units() as uow:
        ada = await control_plane.who.sourced.make_person(uow, SYSTEM, "provider:corp", "ada", "")
        account = {"provider": "corp", "subject": "s-1", "identity_id": ada.id}
        uow.session.add(ExternalAccountRow(**account, created_at=uow.now, last_used_at=uow.now))
    linked = await admin.put("/v1/scim-clients/corp/links", json={"subject": "e1", "identity": "ada"})
    assert linked.status_code == 204, linked.text
    refused = await pusher.http.post("/Users", json={"schemas": [USER], "userName": "ada", "externalId": "e1"})
    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    (told,) = await audited(admin, "push.refused")
    assert "'ada' is corp's 's-1', not 'e1'" in str(told["data"]["cause"])
    assert await accounts(control_plane) == {("corp", "s-1"): "ada"}


async def test_who_is_pushed_anew_with_another_subject_has_that_alone(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    made = await pusher.user("ada", externalId="e1")
    await pusher.http.delete(f"/Users/{made['id']}")
    linked = await admin.put("/v1/scim-clients/corp/links", json={"subject": "e2", "identity": "ada"})
    assert linked.status_code == 204, linked.text
    await pusher.user("ada", externalId="e2")
    assert await accounts(control_plane) == {("corp", "e2"): "ada"}
