"""Plan, apply, export: all or nothing, twice is once, and problems say where."""

from __future__ import annotations

import copy
from typing import Any

import httpx

from control_plane.assembly import ControlPlane
from control_plane.kit.revision import current_revision

Document = dict[str, Any]


def document(kind: str, name: str, /, **spec: Any) -> Document:
    return {"apiVersion": "assentry.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


ADA = document("Identity", "ada", kind="person", email="ada@example.org")
BOT = document("Identity", "bot", kind="machine", owner="ada")
DBA = document("Group", "dba", members=["ada"], roles=["reviewer"])
CI = document("Group", "ci", members=["bot"], roles=["requester"])
ORDERS = document(
    "Target", "orders", protocol="postgres", environment="production", agent="demo", address="127.0.0.1:5432"
)
CHAIN = document("ApprovalChain", "one-dba", stages=[{"groups": ["dba"]}])
MASK = document("Mask", "pii", columns=[{"column": "public.customers.email"}])
POLICY = document(
    "Policy",
    "production",
    targets={"environment": "production"},
    requesters={"groups": ["ci"]},
    rules=[
        {"name": "reads-flow", "match": {"action": "read"}, "effect": "allow", "mask": ["pii"]},
        {"name": "writes-wait", "match": {"action": "write"}, "effect": "hold", "approval": "one-dba"},
    ],
)
ALL = [POLICY, MASK, CHAIN, ORDERS, CI, DBA, BOT, ADA]  # in no order that could be put so


def changed(base: Document, path: str, value: Any) -> Document:
    made = copy.deepcopy(base)
    *parents, last = path.split(".")
    inner: Any = made
    for step in parents:
        inner = inner[int(step) if step.isdigit() else step]
    inner[last] = value
    return made


async def apply(client: httpx.AsyncClient, *documents: Document, prune: bool = False) -> dict[str, str]:
    answer = await client.post("/v1/documents/apply", json={"documents": documents, "prune": prune})
    assert answer.status_code == 200, answer.text
    return {f"{one['kind']}/{one['name']}": one["change"] for one in answer.json()["changes"]}


async def problems_of(client: httpx.AsyncClient, *documents: Document, prune: bool = False) -> dict[str, str]:
    answer = await client.post("/v1/documents/apply", json={"documents": documents, "prune": prune})
    assert answer.status_code == 422, answer.text
    return {one["path"]: one["message"] for one in answer.json()["errors"]}


async def test_everything_is_created_in_the_right_order(admin: httpx.AsyncClient):
    assert set((await apply(admin, *ALL)).values()) == {"create"}
    assert (await admin.get("/v1/identities/bot")).json()["owner"] == "ada"
    assert (await admin.get("/v1/groups/dba")).json()["members"] == ["ada"]


async def test_applying_again_changes_nothing(admin: httpx.AsyncClient, control_plane: ControlPlane):
    await apply(admin, *ALL)
    async with control_plane.units.reading() as uow:
        before = await current_revision(uow.session, "snapshot")
    assert set((await apply(admin, *ALL)).values()) == {"unchanged"}
    async with control_plane.units.reading() as uow:
        assert await current_revision(uow.session, "snapshot") == before


async def test_what_is_exported_can_be_applied_and_changes_nothing(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    exported = (await admin.get("/v1/documents/export")).json()["documents"]
    assert len(exported) == len(ALL) + 2  # the admin of this test and its group
    assert set((await apply(admin, *exported)).values()) == {"unchanged"}
    policy = next(one for one in exported if one["kind"] == "Policy")
    assert policy["spec"]["rules"] == POLICY["spec"]["rules"], "no defaults that nobody wrote"


async def test_a_plan_says_what_would_change_and_changes_nothing(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    wanted = changed(POLICY, "spec.rules.1.effect", "deny")
    del wanted["spec"]["rules"][1]["approval"]
    answer = await admin.post("/v1/documents/plan", json={"documents": [wanted]})
    assert answer.json()["changes"] == [
        {
            "kind": "Policy",
            "name": "production",
            "change": "update",
            "diff": [
                {"path": "$.spec.rules[1].approval", "before": "one-dba", "after": ""},
                {"path": "$.spec.rules[1].effect", "before": "hold", "after": "deny"},
            ],
        }
    ]
    assert (await admin.get("/v1/policies/production")).json()["version"] == 1


async def test_one_bad_document_stops_all_of_them(admin: httpx.AsyncClient):
    bad = changed(POLICY, "spec.rules.0.mask", ["nothing"])
    found = await problems_of(admin, ADA, bad, DBA, CI, BOT, CHAIN)
    assert list(found) == ["$.documents[1].spec.rules[0].mask[0]"]
    assert (await admin.get("/v1/identities/ada")).status_code == 404


WRONG = [
    (POLICY, "spec.rules.0.effct", "allow", "$.documents[0].spec.rules[0].effct"),
    (POLICY, "spec.rules.0.effect", "alow", "$.documents[0].spec.rules[0].effect"),
    (POLICY, "spec.rules.0.when", "op.has_were", "$.documents[0].spec.rules[0].when"),
    (POLICY, "spec.rules.1.approval", "nobody", "$.documents[0].spec.rules[1].approval"),
    (POLICY, "spec.requesters.groups", ["nobody"], "$.documents[0].spec.requesters.groups[0]"),
    (POLICY, "metadata.name", "Not A Name", "$.documents[0].metadata.name"),
    (POLICY, "kind", "Polcy", "$.documents[0].kind"),
    (POLICY, "apiVersion", "v2", "$.documents[0].apiVersion"),
    (CHAIN, "spec.stages.0.groups", ["nobody"], "$.documents[0].spec.stages[0].groups[0]"),
    (DBA, "spec.members", ["nobody"], "$.documents[0].spec.members[0]"),
    (DBA, "spec.roles", ["god"], "$.documents[0].spec.roles[0]"),
    (BOT, "spec.owner", "", "$.documents[0].spec.owner"),
    (BOT, "spec.owner", "bot", "$.documents[0].spec.owner"),
    (BOT, "spec.kind", "person", "$.documents[0].spec.owner"),
    (ADA, "spec.kind", "machine", "$.documents[0].spec.kind"),
    (ORDERS, "spec.address", "nowhere", "$.documents[0].spec.address"),
    (MASK, "spec.columns.0.column", "email", "$.documents[0].spec.columns[0].column"),
]


async def test_a_problem_says_which_document_and_field(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    for base, path, value, told in WRONG:
        assert told in await problems_of(admin, changed(base, path, value)), (path, value)


async def test_the_same_name_twice_is_refused(admin: httpx.AsyncClient):
    assert await problems_of(admin, ADA, ADA) == {"$.documents[1].metadata.name": "$.documents[0] has it too"}


async def planned_prune(admin: httpx.AsyncClient) -> dict[str, str]:
    answer = await admin.post("/v1/documents/plan", json={"documents": [], "prune": True})
    assert answer.status_code == 200, answer.text
    return {f"{one['kind']}/{one['name']}": one["change"] for one in answer.json()["changes"]}


async def test_prune_deletes_what_was_applied_and_only_that(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    await admin.post("/v1/identities", json={"name": "by-hand", "kind": "person"})
    left = [ADA, DBA]
    assert set((await apply(admin, *left)).values()) == {"unchanged"}
    changes = await apply(admin, *left, prune=True)
    assert {one for one, change in changes.items() if change == "delete"} == {
        "Policy/production", "Mask/pii", "ApprovalChain/one-dba", "Target/orders", "Group/ci", "Identity/bot",
    }  # fmt: skip
    names = [item["name"] for item in (await admin.get("/v1/identities")).json()["items"]]
    assert names == ["ada", "admin", "by-hand"]


async def test_what_is_still_needed_cannot_go(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    assert "$.documents[0].spec.rules[1].approval" in await problems_of(
        admin, POLICY, MASK, ORDERS, CI, DBA, BOT, ADA, prune=True
    )
    answer = await admin.delete("/v1/approval-chains/one-dba", headers={"if-match": "*"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"].startswith("Policy/production.spec.rules[1]")
    assert (await admin.get("/v1/approval-chains/one-dba")).status_code == 200


async def test_an_old_fault_elsewhere_stops_nobody(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    await admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"})  # bot's owner
    assert await apply(admin, changed(MASK, "metadata.description", "personal data")) == {"Mask/pii": "update"}


async def test_a_policy_editor_changes_policies_and_neither_targets_nor_people(client_of, admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    editor = await client_of("policy-editor")
    assert await apply(editor, changed(MASK, "metadata.description", "personal data")) == {"Mask/pii": "update"}
    mine = document("Group", "admins", members=["admin", "policy-editor"], roles=["admin"])
    refused = await editor.post("/v1/documents/apply", json={"documents": [mine]})
    assert refused.status_code == 403
    target = changed(ORDERS, "spec.address", "elsewhere:5432")
    assert (await editor.put("/v1/targets/orders", json=target, headers={"if-match": "*"})).status_code == 403


async def test_what_was_made_by_hand_is_pruned_only_once_somebody_has_applied_it_who_may_delete_it(
    client_of, admin: httpx.AsyncClient
):
    assert (await admin.post("/v1/identities", json={"name": "by-hand", "kind": "person"})).status_code == 201
    assert (await admin.put("/v1/masks/pii", json=MASK, headers={"if-none-match": "*"})).is_success
    known = (await admin.get("/v1/documents/export")).json()["documents"]
    mine = [one for one in known if one["metadata"]["name"] in ("by-hand", "pii")]
    assert set((await apply(await client_of("policy-editor"), *mine)).values()) == {"unchanged"}
    assert await planned_prune(admin) == {"Mask/pii": "delete"}
    assert set((await apply(admin, *mine)).values()) == {"unchanged"}
    assert await planned_prune(admin) == {"Identity/by-hand": "delete", "Mask/pii": "delete"}


async def test_one_document_is_put_with_the_version_that_was_seen(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    shown = await admin.get("/v1/masks/pii")
    assert shown.headers["etag"] == '"1"'
    wanted = changed(MASK, "metadata.description", "personal data")
    assert (await admin.put("/v1/masks/pii", json=wanted)).status_code == 428
    made = await admin.put("/v1/masks/pii", json=wanted, headers={"if-match": '"1"'})
    assert (made.status_code, made.headers["etag"]) == (200, '"2"')
    assert (await admin.put("/v1/masks/pii", json=MASK, headers={"if-match": '"1"'})).status_code == 412
    assert (await admin.put("/v1/masks/other", json=wanted)).status_code == 422


async def test_every_version_is_kept_and_numbers_never_come_back(admin: httpx.AsyncClient):
    await apply(admin, MASK)
    await admin.delete("/v1/masks/pii", headers={"if-match": "*"})
    await apply(admin, changed(MASK, "metadata.description", "again"))
    versions = (await admin.get("/v1/masks/pii/versions")).json()["items"]
    told = [(one["version"], one["document"] and one["document"]["metadata"]["description"]) for one in versions]
    assert told == [(3, "again"), (2, None), (1, "")]


async def test_agents_are_told_after_the_commit(admin: httpx.AsyncClient, control_plane: ControlPlane):
    async with control_plane.events.subscribe("snapshot") as told:
        await apply(admin, *ALL)
        news = await told.get()
        assert news.topic in {"snapshot", "resync"}
    async with control_plane.units.reading() as uow:
        published = await control_plane.policies.published(uow)
        targets = await control_plane.targets.of_agent(uow, "demo")
    assert [one.name for one in published.policies] == ["production"]
    assert [one.name for one in targets] == ["orders"]


async def test_changes_are_audited_with_the_whole_document(admin: httpx.AsyncClient):
    await apply(admin, *ALL)
    entry = (await admin.get("/v1/audit", params={"kind": "policy.created"})).json()["items"][0]
    assert entry["actor"]["name"] == "admin"
    assert '"writes-wait"' in entry["data"]["document"]


async def test_everybody_who_may_connect_sees_names_but_no_addresses(admin: httpx.AsyncClient, requester):
    await apply(admin, *ALL)
    seen = await requester.get("/v1/target-names")
    assert [one["name"] for one in seen.json()] == ["orders"]
    assert "127.0.0.1" not in seen.text
    assert (await requester.get("/v1/targets/orders")).status_code == 403


async def test_a_known_target_can_be_named_in_a_token(admin: httpx.AsyncClient, requester: httpx.AsyncClient):
    await apply(admin, *ALL)
    assert (await requester.post("/v1/tokens", json={"targets": ["orders"]})).status_code == 201
