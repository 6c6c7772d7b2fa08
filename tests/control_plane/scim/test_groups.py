"""Groups as they are pushed, beside those that are written here."""

from __future__ import annotations

import httpx
import pytest
from sqlmodel import col, delete

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import GroupRow
from tests.control_plane.scim.conftest import GROUP, Pusher, audited, identity_of


async def members(pusher: Pusher, group: dict) -> set[str]:
    shown = await pusher.find(f"/Groups/{group['id']}")
    return {one["value"] for one in shown.get("members", ())}


async def test_a_pushed_group_gives_nothing_until_an_admin_says_what(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    ada = await pusher.user("ada")
    await pusher.group("DBA Team", str(ada["id"]))
    assert (await identity_of(control_plane, "ada")).groups == ("corp.dba-team",)
    assert (await identity_of(control_plane, "ada")).roles == frozenset()
    body = {"roles": ["reviewer"], "members": []}
    assert (await admin.put("/v1/groups/corp.dba-team", json=body, headers={"if-match": "*"})).is_success
    assert (await identity_of(control_plane, "ada")).roles == {"reviewer"}


async def test_a_pushed_group_is_never_one_that_is_here_already(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    ada = await pusher.user("ada")
    await admin.put("/v1/groups/corp.admins", json={"roles": ["reviewer"], "members": []})
    await pusher.group("admins", str(ada["id"]))
    await pusher.group("ADMINS", str(ada["id"]))
    assert (await identity_of(control_plane, "ada")).groups == ("corp.admins-2", "corp.admins-3")
    assert (await identity_of(control_plane, "ada")).roles == frozenset()


async def test_a_linked_group_has_members_from_both_sides(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    ada = await pusher.user("ada")
    await admin.put("/v1/groups/dba", json={"roles": ["reviewer"], "members": ["admin"]})
    by_name = {"subject": "DBA Team", "group": "dba", "by_name": True}
    linked = await admin.put("/v1/scim-clients/corp/links", json=by_name)
    assert linked.status_code == 204, linked.text
    group = await pusher.group("DBA Team", str(ada["id"]))
    shown = (await admin.get("/v1/groups/dba")).json()
    assert (shown["members"], shown["pushed"], shown["roles"]) == (["admin"], ["ada"], ["reviewer"])
    assert await members(pusher, group) == {ada["id"]}
    assert (await pusher.http.delete(f"/Groups/{group['id']}")).status_code == 204
    shown = (await admin.get("/v1/groups/dba")).json()
    assert (shown["members"], shown["pushed"]) == (["admin"], [])


async def test_a_link_of_an_external_id_is_no_link_of_a_name_nor_the_other_way_round(
    pusher: Pusher, admin: httpx.AsyncClient
):
    for name, link in (("dba", {"subject": "g-1"}), ("sre", {"subject": "SRE", "by_name": True})):
        await admin.put(f"/v1/groups/{name}", json={"roles": ["reviewer"], "members": []})
        linked = await admin.put("/v1/scim-clients/corp/links", json={**link, "group": name})
        assert linked.status_code == 204, linked.text
    mallory = await pusher.user("mallory")
    await pusher.group("g-1", str(mallory["id"]), externalId="other")
    await pusher.group("other", str(mallory["id"]), externalId="SRE")
    for name in ("dba", "sre"):
        assert (await admin.get(f"/v1/groups/{name}")).json()["pushed"] == []
    await pusher.group("Databases", str(mallory["id"]), externalId="g-1")
    assert (await admin.get("/v1/groups/dba")).json()["pushed"] == ["mallory"]


async def test_losing_a_group_is_told_to_the_agents_and_the_log(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    ada = await pusher.user("ada")
    group = await pusher.group("dba", str(ada["id"]))
    async with control_plane.events.subscribe("snapshot") as told:
        await pusher.patch(f"/Groups/{group['id']}", {"op": "remove", "path": "members"})
        assert (await told.get()).topic == "snapshot"
    last = (await audited(admin, "group.members-told"))[-1]
    ada_id = (await identity_of(control_plane, "ada")).id
    assert last["data"] == {"source": "scim:corp", "joined": [], "left": [ada_id]}


async def test_members_are_changed_in_order_and_all_at_once_or_not_at_all(pusher: Pusher):
    users = [await pusher.user(name) for name in ("ada", "grace", "lin")]
    ada, grace, lin = (str(one["id"]) for one in users)
    group = await pusher.group("dba", ada)
    path = f"/Groups/{group['id']}"
    await pusher.patch(
        path,
        {"op": "add", "path": "members", "value": [{"value": grace}]},
        {"op": "remove", "path": f'members[value eq "{ada}"]'},
        {"op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:Group:members", "value": {"value": lin}},
        {"op": "replace", "path": "displayName", "value": "Databases"},
    )
    assert await members(pusher, group) == {grace, lin}
    refused = await pusher.patch(
        path,
        {"op": "remove", "path": f'members[value eq "{lin}"]'},
        {"op": "add", "path": "members", "value": [{"value": "scu_nobody"}]},
    )
    assert (refused.status_code, refused.json()["scimType"]) == (400, "invalidValue")
    assert await members(pusher, group) == {grace, lin}
    assert (await pusher.find(path))["displayName"] == "Databases"


async def test_a_filter_of_members_that_takes_more_than_a_set_is_understood_too(pusher: Pusher):
    users = [await pusher.user(name) for name in ("ada", "grace", "lin")]
    ada, grace, lin = (str(one["id"]) for one in users)
    group = await pusher.group("dba", ada, grace, lin)
    path = f"/Groups/{group['id']}"
    both = f'members[value eq "{ada}" or value eq "{lin}"]'
    assert (await pusher.patch(path, {"op": "remove", "path": both})).status_code == 204
    assert await members(pusher, group) == {grace}


async def test_a_replacement_that_names_no_members_has_none(pusher: Pusher):
    ada = await pusher.user("ada")
    group = await pusher.group("dba", str(ada["id"]))
    answer = await pusher.http.put(f"/Groups/{group['id']}", json={"schemas": [GROUP], "displayName": "dba"})
    assert (answer.status_code, "members" in answer.json()) == (200, False)


@pytest.mark.parametrize("member", [{"value": "scg_x", "type": "Group"}, {"value": 7}, {"value": ""}, "ada", {}])
async def test_members_are_people_whom_this_client_has_pushed(pusher: Pusher, member: object):
    answer = await pusher.http.post("/Groups", json={"schemas": [GROUP], "displayName": "x", "members": [member]})
    assert answer.status_code == 400 or "members" not in answer.json(), answer.text
    assert (await pusher.find("/Groups", filter="members pr"))["totalResults"] == 0


async def test_a_user_shows_the_groups_that_its_client_has_pushed(pusher: Pusher, admin: httpx.AsyncClient):
    ada = await pusher.user("ada")
    group = await pusher.group("dba", str(ada["id"]))
    await admin.put("/v1/groups/local", json={"roles": [], "members": ["ada"]})
    shown = await pusher.find(f"/Users/{ada['id']}")
    assert [(one["value"], one["display"]) for one in shown["groups"]] == [(group["id"], "dba")]
    found = await pusher.find("/Users", filter=f'groups.value eq "{group["id"]}"')
    assert [one["id"] for one in found["Resources"]] == [ada["id"]]


async def test_a_group_of_thousands_is_changed_without_being_read(pusher: Pusher, control_plane: ControlPlane):
    """It would take seconds to patch it as a list."""
    from control_plane.identities.tables import IdentityRow
    from control_plane.scim.tables import ScimUserRow

    async with control_plane.units() as uow:
        now = uow.now
        uow.session.add_all(
            IdentityRow(id=f"idn_{n}", name=f"p{n}", kind="person", created_at=now, updated_at=now) for n in range(3000)
        )
        await uow.session.flush()
        uow.session.add_all(
            ScimUserRow(
                id=f"scu_{n}", client="corp", identity_id=f"idn_{n}", user_name_key=f"p{n}",
                resource={"userName": f"p{n}"}, created_at=now, updated_at=now,
            )
            for n in range(3000)
        )  # fmt: skip
    group = await pusher.group("everybody", *(f"scu_{n}" for n in range(2999)))
    path = f"/Groups/{group['id']}"
    added = await pusher.patch(path, {"op": "add", "path": "members", "value": [{"value": "scu_2999"}]})
    assert (added.status_code, added.content) == (204, b"")
    await pusher.patch(path, {"op": "remove", "path": 'members[value eq "scu_0"]'})
    left = await members(pusher, group)
    assert len(left) == 2999
    assert "scu_0" not in left


async def test_a_group_does_not_come_about_under_a_name_that_documents_still_have(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    group = {"apiVersion": "assentry.dev/v1", "kind": "Group", "metadata": {"name": "corp.dba"}, "spec": {}}
    chain = {"kind": "ApprovalChain", "metadata": {"name": "dba"}, "spec": {"stages": [{"groups": ["corp.dba"]}]}}
    documents = [group, {**chain, "apiVersion": "assentry.dev/v1"}]
    assert (await admin.post("/v1/documents/apply", json={"documents": documents})).is_success
    async with control_plane.units() as uow:  # taken away before that was refused
        await uow.session.exec(delete(GroupRow).where(col(GroupRow.name) == "corp.dba"))
    await pusher.group("dba")
    assert [one["name"] for one in (await admin.get("/v1/groups")).json() if one["name"].startswith("corp.")] == [
        "corp.dba-2"
    ]
