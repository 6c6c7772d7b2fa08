"""Requests byte for byte as Microsoft Entra and Okta document that they send them."""

from __future__ import annotations

import json

import pytest

from control_plane.assembly import ControlPlane
from tests.control_plane.scim.conftest import Pusher, identity_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ENTRA_USER = """{
    "schemas": [
        "urn:ietf:params:scim:schemas:core:2.0:User",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Test_User_ab6490ee-1e48-479e-a20b-2d77186b5dd1",
    "active": true,
    "emails": [{
        "primary": true,
        "type": "work",
        "value": "Test_User_fd0ea19b-0777-472c-9f96-4f70d2226f2e@testuser.com"
    }],
    "meta": {"resourceType": "User"},
    "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
    "roles": [],
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "IT", "manager": "x"}
}"""
ENTRA_CHANGE = """{
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [
        {"op": "Replace", "path": "emails[type eq \\"work\\"].value", "value": "updatedEmail@microsoft.com"},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
        {"op": "Add", "path": "addresses[type eq \\"work\\"].formatted", "value": "Street 1"},
        {"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "HR"}
    ]
}"""
ENTRA_DISABLE = """{
    "Operations": [{"op": "Replace", "path": "active", "value": false}],
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
}"""
# Without the "aadOptscim062020" flag the value is a string.
ENTRA_DISABLE_OLD = ENTRA_DISABLE.replace("false", '"False"')
ENTRA_GROUP = """{
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group",
                "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
    "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
    "displayName": "displayName",
    "meta": {"resourceType": "Group"}
}"""
OKTA_USER = """{
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "test.user@okta.local",
    "name": {"givenName": "Test", "familyName": "User"},
    "emails": [{"primary": true, "value": "test.user@okta.local", "type": "work"}],
    "displayName": "Test User",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": true
}"""
OKTA_DEACTIVATE = """{
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "value": {"active": false}}]
}"""


async def send(pusher: Pusher, method: str, path: str, body: str) -> tuple[int, dict]:
    answer = await pusher.http.request(method, path, content=body)
    return answer.status_code, answer.json() if answer.content else {}


async def test_entra_creates_looks_for_and_changes_a_user(pusher: Pusher, control_plane: ControlPlane):
    name = "Test_User_dfeef4c5-5681-4387-b016-bdf221e82081"
    assert (await pusher.find("/Users", filter=f'userName eq "{name}"'))["totalResults"] == 0
    status, made = await send(pusher, "POST", "/Users", ENTRA_USER)
    assert status == 201
    (found,) = (await pusher.find("/Users", filter=f'userName eq "{made["userName"]}"'))["Resources"]
    assert found == made
    status, changed = await send(pusher, "PATCH", f"/Users/{made['id']}", ENTRA_CHANGE)
    assert (status, changed["name"]["familyName"]) == (200, "updatedFamilyName")
    assert [one["value"] for one in changed["emails"]] == ["updatedEmail@microsoft.com"]
    assert (await identity_of(control_plane, made["userName"].lower())).email == "updatedEmail@microsoft.com"


@pytest.mark.parametrize("body", [ENTRA_DISABLE, ENTRA_DISABLE_OLD, OKTA_DEACTIVATE])
async def test_every_way_of_saying_not_active_is_understood(pusher: Pusher, control_plane: ControlPlane, body: str):
    made = await pusher.user("ada")
    status, disabled = await send(pusher, "PATCH", f"/Users/{made['id']}", body)
    assert (status, disabled["active"]) == (200, False)
    assert (await identity_of(control_plane, "ada")).able is False


async def test_entra_makes_a_group_and_changes_its_members(pusher: Pusher, control_plane: ControlPlane):
    ada, grace = await pusher.user("ada"), await pusher.user("grace")
    status, group = await send(pusher, "POST", "/Groups", ENTRA_GROUP)
    assert status == 201
    path = f"/Groups/{group['id']}"
    listed = await pusher.find("/Groups", excludedAttributes="members", filter='displayName eq "displayName"')
    assert [one["id"] for one in listed["Resources"]] == [group["id"]]

    def operation(verb: str, user: dict) -> str:
        members = [{"$ref": None, "value": user["id"]}]
        return json.dumps({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": verb, "path": "members", "value": members}],
        })  # fmt: skip

    for verb, user in (("Add", ada), ("Add", grace), ("Remove", ada)):
        status, _ = await send(pusher, "PATCH", path, operation(verb, user))
        assert status == 204
    assert (await identity_of(control_plane, "ada")).groups == ()
    assert (await identity_of(control_plane, "grace")).groups == ("corp.displayname",)
    asked = f'id eq "{group["id"]}" and members eq "{grace["id"]}"'
    assert (await pusher.find("/Groups", filter=asked))["totalResults"] == 1
    assert (await pusher.find("/Groups", filter=asked.replace(str(grace["id"]), str(ada["id"]))))["totalResults"] == 0


async def test_okta_creates_and_replaces_a_user(pusher: Pusher, control_plane: ControlPlane):
    status, made = await send(pusher, "POST", "/Users", OKTA_USER)
    assert status == 201
    assert "password" not in made
    assert (await identity_of(control_plane, "test.user")).email == "test.user@okta.local"
    replaced = {
        **json.loads(OKTA_USER),
        "id": made["id"],
        "displayName": "Other",
        "meta": made["meta"],
        "active": False,
    }
    status, after = await send(pusher, "PUT", f"/Users/{made['id']}", json.dumps(replaced))
    assert (status, after["displayName"], after["active"]) == (200, "Other", False)
    assert (await identity_of(control_plane, "test.user")).able is False


async def test_okta_pushes_a_group_and_calls_it_otherwise(pusher: Pusher):
    ada = await pusher.user("ada")
    group = await pusher.group("Test SCIMv2", str(ada["id"]))
    path = f"/Groups/{group['id']}"
    renamed = await pusher.patch(path, {"op": "replace", "value": {"id": group["id"], "displayName": "Test SCIMv3"}})
    assert renamed.status_code == 204, renamed.text
    whole = {"op": "replace", "path": "members", "value": [{"value": ada["id"], "display": "ada"}]}
    assert (await pusher.patch(path, whole)).status_code == 204
    one = {"op": "remove", "path": f'members[value eq "{ada["id"]}"]'}
    assert (await pusher.patch(path, one)).status_code == 204
    shown = await pusher.find(path)
    assert (shown["displayName"], shown.get("members")) == ("Test SCIMv3", None)
