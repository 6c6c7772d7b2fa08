"""Who is named by documents: not deleted while they do, ended at any time, and nobody else is called so."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlmodel import col, delete

from control_plane.assembly import ControlPlane
from control_plane.documents.naming import DocumentNames
from control_plane.documents.tables import DocumentRow
from control_plane.identities.tables import IdentityRow
from control_plane.kit.unit_of_work import SYSTEM
from data_plane.policy import model
from data_plane.policy.documents import convert
from tests.control_plane.documents.test_documents import ADA, BOT, ORDERS, apply, changed, document, problems_of

DBA = document("Group", "dba", members=[], roles=["reviewer"])
CI = document("Group", "ci", members=[], roles=["requester"])
LIN = document("Identity", "lin", kind="person")
SECOND = document("ApprovalChain", "second", stages=[{"all": [{"people": ["ada"]}, {"groups": ["dba"]}]}])
ESCALATED = document(
    "ApprovalChain",
    "escalated",
    stages=[{"people": ["lin"], "on_timeout": {"escalate": {"people": ["ada"], "groups": ["dba"]}}}],
)
ON_CALL = document("OnCallSchedule", "nights", rotation={"people": ["ada"], "start": "2026-01-05T09:00:00"})
STAND_IN = document(
    "OnCallSchedule",
    "days",
    rotation={"people": ["lin"], "start": "2026-01-05T09:00:00"},
    overrides=[{"person": "ada", "from": "2026-02-01T09:00:00", "until": "2026-02-02T09:00:00"}],
)
OPEN = document(
    "Policy",
    "open",
    targets={"names": ["orders"]},
    requesters={"groups": ["ci"], "identities": ["ada", "bot"]},
    rules=[{"name": "reads", "match": {"action": "read"}, "effect": "allow"}],
)
OFFER = document("AccessOffer", "more", target="orders", group="ci", ask=["dba"], approval="second")
PROVIDER = document(
    "IdentityProvider",
    "corp",
    oidc={"issuer": "https://id.example.org", "client_id": "assentry"},
    groups={"map": {"DBA Team": "dba"}},
)
RUNNER = changed(changed(BOT, "spec.purpose", "runs"), "spec.ends_at", "2026-12-01T00:00:00Z")
TRUST = document(
    "WorkloadTrust",
    "runs",
    platform="github",
    subject="repo:acme/shop:ref:refs/heads/main",
    claims={"repository_owner_id": "1342004"},
    identity="bot",
    actors=["ada"],
)
CHAIN_OF_ADA = document("ApprovalChain", "by-ada", stages=[{"people": ["ada"]}])
SHIFT = document("OnCallSchedule", "shift", rotation={"people": ["ada"], "start": "2026-01-05T09:00:00"})
ALL = [ADA, LIN, RUNNER, DBA, CI, ORDERS, SECOND, ESCALATED, ON_CALL, STAND_IN, OPEN, OFFER, PROVIDER, TRUST]


@pytest.mark.parametrize(
    ("what", "whom"),
    [("identity", ADA), ("identity", RUNNER), ("identity", LIN), ("group", DBA), ("group", CI)],
    ids=lambda one: one if isinstance(one, str) else one["metadata"]["name"],
)
async def test_all_that_refers_to_a_name_is_found(
    what: Any, whom: dict[str, Any], admin: httpx.AsyncClient, control_plane: ControlPlane
):
    await apply(admin, *ALL)
    name = whom["metadata"]["name"]
    async with control_plane.units.reading() as uow:
        found = await DocumentNames().naming(uow, what, name)
    left = [one for one in ALL if one is not whom]
    missing = await problems_of(admin, *left, prune=True)
    wrong = [left[int(path.partition("[")[2].partition("]")[0])] for path in missing]
    told = {f"{one['kind']} {one['metadata']['name']!r}" for one in wrong if one["kind"] not in {"Identity", "Group"}}
    assert told == {*found}


async def test_who_is_named_by_a_document_is_not_deleted_but_disabled(admin: httpx.AsyncClient):
    await apply(admin, ADA, LIN, CHAIN_OF_ADA, SHIFT)
    refused = await admin.delete("/v1/identities/ada")
    assert refused.status_code == 409
    assert "ApprovalChain 'by-ada', OnCallSchedule 'shift'" in refused.json()["detail"]
    assert "disable" in refused.json()["detail"]
    disabled = await admin.patch("/v1/identities/ada", json={"disabled": True}, headers={"if-match": "*"})
    assert disabled.is_success, disabled.text
    await admin.delete("/v1/approval-chains/by-ada", headers={"if-match": "*"})
    assert (await admin.delete("/v1/identities/ada")).status_code == 409
    await apply(admin, document("OnCallSchedule", "shift", rotation={**SHIFT["spec"]["rotation"], "people": ["lin"]}))
    assert (await admin.delete("/v1/identities/ada")).status_code == 204


async def test_a_condition_names_whom_it_compares_the_requester_with(
    admin: httpx.AsyncClient, control_plane: ControlPlane
):
    when = "requester.name == \"ada\" || 'dba' in requester.groups"
    rule = {"name": "reads", "match": {"action": "read"}, "effect": "allow", "when": when}
    elsewhere = {**rule, "name": "writes", "match": {"action": "write"}, "when": "target.name == 'lin'"}
    await apply(admin, ADA, LIN, DBA, document("Policy", "open", rules=[rule, elsewhere]))
    assert (await admin.delete("/v1/identities/ada")).status_code == 409
    assert (await admin.delete("/v1/identities/lin")).status_code == 204
    async with control_plane.units.reading() as uow:
        assert await DocumentNames().naming(uow, "group", "dba") == ["Policy 'open'"]
    policy = document("Policy", "open", rules=[rule, elsewhere])
    for left in ([ADA, policy], [DBA, policy]):
        pruned = await admin.post("/v1/documents/apply", json={"documents": left, "prune": True})
        assert (pruned.status_code, "Policy 'open'" in pruned.json()["detail"]) == (409, True)
    without = document("Policy", "open", rules=[elsewhere])
    await apply(admin, without, prune=True)
    assert (await admin.get("/v1/identities/ada")).status_code == 404


@pytest.mark.parametrize(
    "when",
    [
        'requester .name == "ada"',
        'requester // who asks\n.name == "ada"',
        r'requester.name == "\u0061d\141"',
        "requester.name in [r'''ada''']",
        'requester.name == "a" + "da"',
    ],
)
async def test_a_condition_names_somebody_however_it_is_written(
    admin: httpx.AsyncClient, control_plane: ControlPlane, when: str
):
    rule = {"name": "reads", "match": {"action": "read"}, "effect": "allow", "when": when}
    await apply(admin, document("Policy", "open", rules=[rule]))
    async with control_plane.units() as uow:
        made = await control_plane.who.sourced.make_person(uow, SYSTEM, "provider:corp", "ada", "")
    assert made.name == "ada-2"


async def test_a_condition_that_is_none_any_more_names_all_that_stands_in_it(
    admin: httpx.AsyncClient, control_plane: ControlPlane
):
    rule = {"name": "reads", "match": {"action": "read"}, "effect": "allow", "when": "target.name == 'ada'"}
    await apply(admin, document("Policy", "open", rules=[rule]))
    async with control_plane.units() as uow:
        assert await DocumentNames().naming(uow, "identity", "ada") == []
        row = await uow.session.get_one(DocumentRow, ("Policy", "open"))
        row.json_text = row.json_text.replace("target.name", "target.gone")
        await uow.session.flush()
        assert await DocumentNames().naming(uow, "identity", "ada") == ["Policy 'open'"]


async def test_a_provider_gives_nobody_a_name_that_documents_still_have_for_somebody_else(
    admin: httpx.AsyncClient, control_plane: ControlPlane
):
    await apply(admin, ADA, CHAIN_OF_ADA)
    async with control_plane.units() as uow:  # deleted before that was refused
        await uow.session.exec(delete(IdentityRow).where(col(IdentityRow.name) == "ada"))
    async with control_plane.units() as uow:
        made = await control_plane.who.sourced.make_person(uow, SYSTEM, "provider:corp", "ada", "other@example.org")
    assert made.name == "ada-2"


async def test_a_provider_gives_nobody_the_name_of_who_has_written_documents(
    admin: httpx.AsyncClient, control_plane: ControlPlane
):
    await apply(admin, ADA)
    async with control_plane.units() as uow:
        ada = (await control_plane.identities.named(uow, "ada")).actor
        chain = convert({**CHAIN_OF_ADA, "spec": {"stages": [{"groups": ["dba"]}]}})
        assert isinstance(chain, model.ApprovalChain)
        await control_plane.policies.chains.put(uow, ada, chain, managed=False)
    assert (await admin.delete("/v1/identities/ada")).status_code == 204
    async with control_plane.units() as uow:
        made = await control_plane.who.sourced.make_person(uow, SYSTEM, "provider:corp", "ada", "other@example.org")
    assert made.name == "ada-2"
