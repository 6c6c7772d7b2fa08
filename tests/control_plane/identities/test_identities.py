"""People, machines and groups over REST."""

from __future__ import annotations

import asyncio

import httpx

from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import Units


async def create(admin: httpx.AsyncClient, **body: str) -> httpx.Response:
    """A machine for something, unless it says otherwise."""
    known = {"purpose": "works"} if body["kind"] == "machine" else {}
    return await admin.post("/v1/identities", json={**known, **body})


async def test_an_admin_creates_a_person_and_sees_it(admin: httpx.AsyncClient):
    made = await create(admin, name="ada", kind="person", email="ada@example.org")
    assert made.status_code == 201, made.text
    shown = (await admin.get("/v1/identities/ada")).json()
    assert (shown["name"], shown["kind"], shown["able"], shown["groups"]) == ("ada", "person", True, [])


async def test_a_name_is_taken_once(admin: httpx.AsyncClient):
    assert (await create(admin, name="ada", kind="person")).status_code == 201
    again = await create(admin, name="ada", kind="person")
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"


async def test_the_same_idempotency_key_creates_once(admin: httpx.AsyncClient):
    body, key = {"name": "ada", "kind": "person"}, {"idempotency-key": "k1"}
    first = await admin.post("/v1/identities", json=body, headers=key)
    again = await admin.post("/v1/identities", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = await admin.post("/v1/identities", json={"name": "bob", "kind": "person"}, headers=key)
    assert other.status_code == 409


async def test_a_machine_needs_an_owner_who_is_an_able_person(admin: httpx.AsyncClient):
    assert (await create(admin, name="bot", kind="machine")).status_code == 422
    assert (await create(admin, name="bot", kind="machine", owner="nobody")).status_code == 422
    assert (await create(admin, name="bot", kind="machine", owner="admin")).status_code == 201
    assert (await create(admin, name="bot2", kind="machine", owner="bot")).status_code == 422
    assert (await create(admin, name="ada", kind="person", owner="admin")).status_code == 422
    await create(admin, name="ada", kind="person")
    await admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"})
    assert (await create(admin, name="bot3", kind="machine", owner="ada")).status_code == 422


async def test_a_machine_whose_owner_is_disabled_can_do_nothing(admin: httpx.AsyncClient, control_plane: ControlPlane):
    await create(admin, name="ada", kind="person")
    await create(admin, name="bot", kind="machine", owner="ada")
    await admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"})
    assert (await admin.get("/v1/identities/bot")).json()["able"] is False
    async with control_plane.units.reading() as uow:
        told = {one.name: one.able for one in (await control_plane.identities.snapshot(uow)).identities}
    assert told == {"admin": True, "ada": False, "bot": False}


async def test_disabling_and_leaving_a_group_tell_the_agents(admin: httpx.AsyncClient, control_plane: ControlPlane):
    await create(admin, name="ada", kind="person")
    async with control_plane.events.subscribe("snapshot") as told:
        for change in (
            lambda: admin.put("/v1/groups/dba", json={"roles": ["reviewer"], "members": ["ada"]}),
            lambda: admin.put("/v1/groups/dba", json={"roles": [], "members": []}, headers={"if-match": "*"}),
            lambda: admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"}),
        ):
            answer = await change()
            assert answer.is_success, answer.text
            async with asyncio.timeout(5):
                while (await told.get()).topic != "snapshot":
                    pass


async def test_a_change_needs_the_version_that_was_seen(admin: httpx.AsyncClient):
    await create(admin, name="ada", kind="person")
    seen = (await admin.get("/v1/identities/ada")).headers["etag"]
    assert (await admin.patch("/v1/identities/ada", json={"email": "a@x"})).status_code == 428
    changed = await admin.patch("/v1/identities/ada", json={"email": "a@x"}, headers={"if-match": seen})
    assert changed.status_code == 200
    assert changed.headers["etag"] != seen
    again = await admin.patch("/v1/identities/ada", json={"email": "b@x"}, headers={"if-match": seen})
    assert again.status_code == 412


async def test_the_last_admin_stays(admin: httpx.AsyncClient):
    any_version = {"if-match": "*"}
    assert (await admin.patch("/v1/identities/admin", json={"disabled": True}, headers=any_version)).status_code == 409
    assert (await admin.delete("/v1/identities/admin")).status_code == 409
    without = {"roles": ["admin"], "members": []}
    assert (await admin.put("/v1/groups/admins", json=without, headers=any_version)).status_code == 409
    powerless = {"roles": ["auditor"], "members": ["admin"]}
    assert (await admin.put("/v1/groups/admins", json=powerless, headers=any_version)).status_code == 409
    assert (await admin.get("/v1/identities")).status_code == 200


async def test_who_owns_machines_is_not_deleted(admin: httpx.AsyncClient):
    await create(admin, name="ada", kind="person")
    await create(admin, name="bot", kind="machine", owner="ada")
    assert (await admin.delete("/v1/identities/ada")).status_code == 409
    assert (await admin.delete("/v1/identities/bot")).status_code == 204
    assert (await admin.delete("/v1/identities/ada")).status_code == 204
    assert (await admin.get("/v1/identities/ada")).status_code == 404


async def test_a_group_has_known_members_and_roles_only(admin: httpx.AsyncClient):
    assert (await admin.put("/v1/groups/dba", json={"roles": [], "members": ["nobody"]})).status_code == 422
    assert (await admin.put("/v1/groups/dba", json={"roles": ["god"], "members": []})).status_code == 422


async def test_every_change_is_audited(admin: httpx.AsyncClient):
    await create(admin, name="ada", kind="person")
    await admin.put("/v1/groups/dba", json={"roles": ["reviewer"], "members": ["ada"]})
    await admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"})
    items = (await admin.get("/v1/audit", params={"actor": "admin"})).json()["items"]
    kinds = [item["kind"] for item in items if not item["kind"].startswith("sign-in")]
    assert kinds == ["identity.ended", "group.created", "identity.created"]


async def test_others_are_found_by_features(control_plane: ControlPlane, units: Units, person):
    ada = await person("ada", "reviewer", "auditor")
    await person("bob", "reviewer")
    async with units.reading() as uow:
        members = await control_plane.identities.members_of(uow, ["reviewers", "auditors"])
        found = await control_plane.identities.find(uow, ada.id)
    assert [one.name for one in members] == ["ada", "bob"]
    assert found is not None
    assert found.groups == ("auditors", "reviewers")


async def test_a_slack_user_is_one_person_and_no_machine(admin: httpx.AsyncClient):
    assert (await create(admin, name="ada", kind="person", slack_user_id="U012AB3CD")).status_code == 201
    assert (await admin.get("/v1/identities/ada")).json()["slack_user_id"] == "U012AB3CD"
    taken = await create(admin, name="bob", kind="person", slack_user_id="U012AB3CD")
    assert taken.status_code == 409
    assert "'ada' already" in taken.json()["detail"]
    assert (await create(admin, name="bob", kind="person", slack_user_id="ada")).status_code == 422
    machine = await create(admin, name="bot", kind="machine", owner="ada", slack_user_id="U9")
    assert machine.status_code == 422
    await create(admin, name="bob", kind="person")
    moved = {"if-match": "*"}
    path = "/v1/identities/bob"
    assert (await admin.patch(path, json={"slack_user_id": "U012AB3CD"}, headers=moved)).status_code == 409
    assert (await admin.patch("/v1/identities/ada", json={"slack_user_id": ""}, headers=moved)).is_success
    assert (await admin.patch(path, json={"slack_user_id": "U012AB3CD"}, headers=moved)).is_success


async def test_documents_name_slack_users_and_no_two_people_the_same(admin: httpx.AsyncClient):
    def person(name: str, **spec: str) -> dict[str, object]:
        spec = {"kind": "person", **spec}
        return {"apiVersion": "assentry.dev/v1", "kind": "Identity", "metadata": {"name": name}, "spec": spec}

    async def apply(*documents: dict[str, object]) -> httpx.Response:
        return await admin.post("/v1/documents/apply", json={"documents": documents})

    same = await apply(person("ada", slack_user_id="U012AB3CD"), person("bob", slack_user_id="U012AB3CD"))
    assert same.status_code == 422
    assert [one["path"] for one in same.json()["errors"]] == ["$.documents[1].spec.slack_user_id"]
    assert (await apply(person("ada", slack_user_id="U012AB3CD"))).is_success
    assert (await admin.get("/v1/identities/ada")).json()["slack_user_id"] == "U012AB3CD"
    assert (await apply(person("ada"))).is_success
    assert (await admin.get("/v1/identities/ada")).json()["slack_user_id"] == ""
