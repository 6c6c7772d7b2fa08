"""People as an identity provider pushes them: which identity each is, and how it ends and comes back."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import ManualClock
from tests.control_plane.scim.conftest import USER, Pusher, audited, identity_of


async def set_active(pusher: Pusher, user: dict[str, object], active: bool) -> httpx.Response:
    return await pusher.patch(f"/Users/{user['id']}", {"op": "replace", "path": "active", "value": active})


async def accounts(control_plane: ControlPlane) -> dict[tuple[str, str], str]:
    async with control_plane.units.reading() as uow:
        rows = (await uow.session.exec(select(ExternalAccountRow))).all()
        people = await control_plane.identities.find_all(uow, [row.identity_id for row in rows])
        return {(row.provider, row.subject): people[row.identity_id].name for row in rows}


async def test_a_pushed_person_is_one_here(pusher: Pusher, control_plane: ControlPlane):
    emails = [{"value": "home@example.org"}, {"value": "ada@example.org", "type": "work", "primary": True}]
    made = await pusher.user("Ada@Example.org", externalId="e1", emails=emails, name={"givenName": "Ada"})
    ada = await identity_of(control_plane, "ada")
    assert (ada.kind, ada.email, ada.source, ada.able) == ("person", "ada@example.org", "scim:corp", True)
    assert (ada.groups, ada.roles) == ((), frozenset())
    assert await accounts(control_plane) == {("corp", "e1"): "ada"}
    shown = await pusher.find(f"/Users/{made['id']}")
    assert shown == made
    assert (shown["userName"], shown["active"], shown["emails"]) == ("Ada@Example.org", True, emails)


async def test_what_nobody_needs_to_know_of_a_person_is_taken_and_forgotten(pusher: Pusher):
    made = await pusher.user("ada", password="hunter2", phoneNumbers=[{"value": "1"}], nickName="A")
    assert set(made) == {"schemas", "id", "meta", "userName", "active"}


async def test_not_active_is_the_end_of_the_identity(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient, app
):
    made = await pusher.user("ada")
    async with control_plane.units() as uow:
        ada = await control_plane.identities.named(uow, "ada")
        opened = await control_plane.sign_ins.open(uow, ada, "cli")
    signed_in = {"authorization": f"Bearer {opened.token.reveal()}"}
    assert (await admin.get("/v1/session", headers=signed_in)).status_code == 200
    assert (await set_active(pusher, made, active=False)).json()["active"] is False
    assert (await identity_of(control_plane, "ada")).able is False
    assert (await admin.get("/v1/session", headers=signed_in)).status_code == 401
    (ended,) = await audited(admin, "identity.ended")
    assert (ended["subject"], ended["actor"]["name"]) == ("ada", "scim:corp")
    assert ended["data"]["reason"] == "scim:corp says that the person is not active any more"


async def test_the_end_is_told_once(pusher: Pusher, admin: httpx.AsyncClient):
    made = await pusher.user("ada")
    for _ in range(3):
        await set_active(pusher, made, active=False)
    assert len(await audited(admin, "identity.ended")) == 1


async def test_who_is_active_again_is_enabled_again(pusher: Pusher, control_plane: ControlPlane):
    made = await pusher.user("ada")
    await set_active(pusher, made, active=False)
    await set_active(pusher, made, active=True)
    assert (await identity_of(control_plane, "ada")).able is True


@pytest.mark.parametrize("said", [[False, True], [True]])
async def test_whom_an_admin_disables_after_the_provider_did_stays_so(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient, said: list[bool]
):
    made = await pusher.user("ada")
    await set_active(pusher, made, active=False)
    for disabled in said:
        changed = await admin.patch("/v1/identities/ada", json={"disabled": disabled}, headers={"if-match": "*"})
        assert changed.is_success, changed.text
    await set_active(pusher, made, active=True)
    assert (await identity_of(control_plane, "ada")).able is False


async def test_whom_an_admin_enables_and_the_provider_ends_again_the_provider_may_enable(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    made = await pusher.user("ada")
    for disabled in (True, False):
        await admin.patch("/v1/identities/ada", json={"disabled": disabled}, headers={"if-match": "*"})
    for active in (False, True):
        await set_active(pusher, made, active=active)
        assert (await identity_of(control_plane, "ada")).able is active


async def test_whose_end_date_has_passed_no_provider_enables(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient, clock: ManualClock
):
    made = await pusher.user("ada")
    ends_at = (clock.now() + timedelta(days=1)).isoformat()
    changed = await admin.patch("/v1/identities/ada", json={"ends_at": ends_at}, headers={"if-match": "*"})
    assert changed.is_success, changed.text
    await set_active(pusher, made, active=False)
    clock.advance(days=2)
    await set_active(pusher, made, active=True)
    assert (await identity_of(control_plane, "ada")).able is False


async def test_whom_an_admin_disabled_stays_so_whatever_a_provider_says(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    made = await pusher.user("ada")
    await admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"})
    for active in (True, False, True):
        await set_active(pusher, made, active=active)
        await pusher.http.put(
            f"/Users/{made['id']}",
            json={"schemas": [USER], "userName": "ada", "active": active, "title": str(active)},
        )
        assert (await identity_of(control_plane, "ada")).able is False


async def test_nobody_comes_back_by_what_is_left_out(pusher: Pusher, control_plane: ControlPlane):
    made = await pusher.user("ada")
    await set_active(pusher, made, active=False)
    answer = await pusher.http.put(f"/Users/{made['id']}", json={"schemas": [USER], "userName": "ada", "title": "x"})
    assert answer.json()["active"] is False
    assert (await identity_of(control_plane, "ada")).able is False
    await pusher.patch(f"/Users/{made['id']}", {"op": "remove", "path": "active"})
    assert (await identity_of(control_plane, "ada")).able is False


async def test_a_person_may_be_pushed_as_not_active(pusher: Pusher, control_plane: ControlPlane):
    made = await pusher.user("ada", active=False)
    assert (await identity_of(control_plane, "ada")).able is False
    await set_active(pusher, made, active=True)
    assert (await identity_of(control_plane, "ada")).able is True


async def test_a_deleted_person_is_ended_and_gone_for_the_client(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    made = await pusher.user("ada", externalId="e1")
    group = await pusher.group("dba", str(made["id"]))
    assert (await pusher.http.delete(f"/Users/{made['id']}")).status_code == 204
    gone = await pusher.http.get(f"/Users/{made['id']}")
    assert (gone.status_code, gone.json()["status"]) == (404, "404")
    assert (await pusher.http.delete(f"/Users/{made['id']}")).status_code == 404
    assert (await pusher.find("/Users"))["totalResults"] == 0
    assert "members" not in await pusher.find(f"/Groups/{group['id']}")
    ada = await identity_of(control_plane, "ada")
    assert (ada.able, ada.groups) == (False, ())
    assert [one["data"]["reason"] for one in await audited(admin, "identity.ended")] == [
        "scim:corp has deleted the person"
    ]


async def test_who_is_deleted_and_pushed_again_is_the_same_by_the_external_id(
    pusher: Pusher, control_plane: ControlPlane
):
    made = await pusher.user("ada", externalId="e1")
    before = await identity_of(control_plane, "ada")
    await pusher.http.delete(f"/Users/{made['id']}")
    again = await pusher.user("ada.married", externalId="e1")
    after = await identity_of(control_plane, "ada")
    assert again["id"] != made["id"]
    assert (after.id, after.able) == (before.id, True)
    assert await accounts(control_plane) == {("corp", "e1"): "ada"}


async def test_another_person_of_the_same_user_name_is_another_one(pusher: Pusher, control_plane: ControlPlane):
    made = await pusher.user("ada", externalId="e1")
    await pusher.http.delete(f"/Users/{made['id']}")
    await pusher.user("ada", externalId="e2")
    assert (await identity_of(control_plane, "ada")).able is False
    assert (await identity_of(control_plane, "ada-2")).able is True


async def test_who_is_named_by_documents_leaves_like_everybody_and_keeps_the_name(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    ada = await pusher.user("ada", externalId="1")
    chain = {"kind": "ApprovalChain", "metadata": {"name": "by-ada"}, "spec": {"stages": [{"people": ["ada"]}]}}
    named = [{**chain, "apiVersion": "assentry.dev/v1"}]
    assert (await admin.post("/v1/documents/apply", json={"documents": named})).is_success
    assert (await pusher.http.delete(f"/Users/{ada['id']}")).status_code == 204
    assert not (await identity_of(control_plane, "ada")).able
    await pusher.user("ada", externalId="2")
    assert (await identity_of(control_plane, "ada-2")).able
    assert not (await identity_of(control_plane, "ada")).able


async def test_nobody_is_taken_over_by_a_name_or_a_mail_address(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    made = await pusher.user("admin", emails=[{"value": "admin@example.org"}])
    await pusher.http.delete(f"/Users/{made['id']}")
    assert (await identity_of(control_plane, "admin")).able is True
    assert (await identity_of(control_plane, "admin-2")).able is False


async def test_who_has_signed_in_at_the_provider_before_is_the_same_person(pusher: Pusher, control_plane: ControlPlane):
    async with control_plane.units() as uow:
        ada = await control_plane.who.sourced.make_person(uow, SYSTEM, "provider:corp", "ada", "")
        account = ExternalAccountRow(
            provider="corp", subject="e1", identity_id=ada.id, created_at=uow.now, last_used_at=uow.now
        )
        uow.session.add(account)
    made = await pusher.user("ada.lovelace", externalId="e1")
    await set_active(pusher, made, active=False)
    assert (await identity_of(control_plane, "ada")).able is False


async def test_a_person_who_was_made_here_needs_an_admins_link(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    async with control_plane.units() as uow:
        boss = await control_plane.identities.named(uow, "admin")
        account = ExternalAccountRow(
            provider="corp", subject="e1", identity_id=boss.id, created_at=uow.now, last_used_at=uow.now
        )
        uow.session.add(account)
    refused = await pusher.http.post("/Users", json={"schemas": [USER], "userName": "x", "externalId": "e1"})
    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    assert "'admin'" not in refused.text
    (told,) = await audited(admin, "push.refused")
    assert "corp's 'e1' is 'admin', whom it has not made" in str(told["data"]["cause"])
    linked = await admin.put("/v1/scim-clients/corp/links", json={"subject": "e1", "identity": "admin"})
    assert linked.status_code == 204, linked.text
    made = await pusher.user("x", externalId="e1", emails=[{"value": "other@example.org"}])
    boss = await identity_of(control_plane, "admin")
    assert (boss.email, boss.source) == ("admin@example.org", "")
    await set_active(pusher, made, active=False)
    assert (await identity_of(control_plane, "admin")).able is False


async def test_a_link_is_used_once_and_never_for_somebody_who_is_pushed_already(
    pusher: Pusher, admin: httpx.AsyncClient
):
    await pusher.user("ada", externalId="e1")
    again = await admin.put("/v1/scim-clients/corp/links", json={"subject": "e2", "identity": "ada"})
    assert (again.status_code, again.json()["detail"]) == (422, "'ada' has been pushed by corp already")
    await admin.put("/v1/scim-clients/corp/links", json={"subject": "e3", "identity": "admin"})
    await pusher.user("boss", externalId="e3")
    assert (await admin.get("/v1/scim-clients/corp")).json()["links"] == []


async def test_a_link_of_an_external_id_is_not_taken_by_a_user_name(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await admin.put("/v1/scim-clients/corp/links", json={"subject": "00u1a2b3", "identity": "admin"})
    await pusher.user("00u1a2b3", externalId="evil")
    assert await accounts(control_plane) == {("corp", "evil"): "00u1a2b3"}
    await pusher.user("boss", externalId="00u1a2b3")
    assert (await accounts(control_plane))["corp", "00u1a2b3"] == "admin"


async def test_a_subject_that_is_called_otherwise_is_linked_otherwise(pusher: Pusher, control_plane: ControlPlane):
    made = await pusher.user("ada", externalId="e1")
    await pusher.user("grace", externalId="e2")
    taken = await pusher.patch(f"/Users/{made['id']}", {"op": "replace", "path": "externalId", "value": "e2"})
    assert (taken.status_code, taken.json()["scimType"]) == (409, "uniqueness")
    moved = await pusher.patch(f"/Users/{made['id']}", {"op": "replace", "path": "externalId", "value": "e3"})
    assert moved.status_code == 200, moved.text
    assert await accounts(control_plane) == {("corp", "e2"): "grace", ("corp", "e3"): "ada"}


async def test_user_names_are_unique_whatever_their_case(pusher: Pusher):
    await pusher.user("Ada")
    again = await pusher.http.post("/Users", json={"schemas": [USER], "userName": "aDA"})
    assert (again.status_code, again.json()["scimType"]) == (409, "uniqueness")


async def test_a_new_mail_address_is_the_identitys(pusher: Pusher, control_plane: ControlPlane):
    made = await pusher.user("ada", emails=[{"value": "a@example.org"}])
    await pusher.patch(
        f"/Users/{made['id']}", {"op": "replace", "path": "emails", "value": [{"value": "b@example.org"}]}
    )
    assert (await identity_of(control_plane, "ada")).email == "b@example.org"


async def test_what_changes_nothing_is_no_change(pusher: Pusher, admin: httpx.AsyncClient):
    made = await pusher.user("ada", title="Countess")
    body = {"schemas": [USER], "userName": "ada", "title": "Countess", "active": True}
    same = (await pusher.http.put(f"/Users/{made['id']}", json=body)).json()
    assert same["meta"] == made["meta"]
    assert len(await audited(admin, "identity.pushed")) == 1


async def test_versions_are_etags(pusher: Pusher):
    made = await pusher.user("ada")
    path, change = f"/Users/{made['id']}", {"schemas": [USER], "userName": "ada", "title": "x"}
    assert (await pusher.http.get(path, headers={"if-none-match": 'W/"1"'})).status_code == 304
    stale = await pusher.http.put(path, json=change, headers={"if-match": 'W/"7"'})
    assert stale.status_code == 412
    fresh = await pusher.http.put(path, json=change, headers={"if-match": 'W/"1"'})
    assert (fresh.status_code, fresh.headers["etag"]) == (200, 'W/"2"')
    assert fresh.headers["content-type"].startswith("application/scim+json")
    assert (await pusher.http.delete(path, headers={"if-match": 'W/"1"'})).status_code == 412


async def test_an_identity_that_an_admin_deletes_is_gone_for_the_client_too(pusher: Pusher, admin: httpx.AsyncClient):
    made = await pusher.user("ada")
    assert (await admin.delete("/v1/identities/ada")).status_code == 204
    assert (await pusher.http.get(f"/Users/{made['id']}")).status_code == 404
