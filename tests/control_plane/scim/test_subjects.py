"""One person, one subject of a provider: what SCIM clients say of accounts there."""

from __future__ import annotations

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.identities.sign_ins import Proof
from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.sign_on import addresses
from tests.control_plane.scim.conftest import PROVIDER, USER, Pusher, audited, identity_of
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
    (shown,) = (await admin.get("/v1/identities/ada/accounts")).json()
    assert (shown["subject"], shown["last_used_at"]) == ("e2", None), "nobody has signed in yet"


async def test_what_a_subject_has_signed_in_for_ends_when_the_client_calls_the_person_otherwise(
    pusher: Pusher, control_plane: ControlPlane, anonymous: httpx.AsyncClient, admin: httpx.AsyncClient
):
    made = await pusher.user("ada", externalId="e1")
    async with control_plane.units() as uow:
        ada = await control_plane.identities.named(uow, "ada")
        there = await control_plane.sign_ins.open(uow, ada, "cli", None, Proof(provider="corp"))
        elsewhere = await control_plane.sign_ins.open(uow, ada, "cli", None, Proof(provider="partner"))
        await control_plane.identities.put_group(uow, SYSTEM, "dba", roles=["requester"], members=[])
        await control_plane.who.sourced.set_groups(uow, SYSTEM, "provider:corp", ada, ["dba"])
    told = await pusher.patch(f"/Users/{made['id']}", {"op": "replace", "path": "externalId", "value": "e2"})
    assert told.is_success, told.text
    statuses = []
    for opened in (there, elsewhere):
        shown = {"authorization": f"Bearer {opened.token.reveal()}"}
        statuses.append((await anonymous.get("/v1/session", headers=shown)).status_code)
    assert statuses == [401, 200]
    (over,) = await audited(admin, "identity.signed-out")
    assert over["data"]["reason"] == "scim:corp says that it is not corp's 'e1' any more"
    assert (await identity_of(control_plane, "ada")).groups == ()


ADA = {"schemas": [USER], "userName": "ada", "externalId": "e1", "emails": [{"value": "Ada@example.org"}]}


async def made(control_plane: ControlPlane, source: str, name: str, email: str, *accounts_at: str) -> None:
    """With accounts whose providers have verified the address."""
    async with control_plane.units() as uow:
        person = await control_plane.who.sourced.make_person(uow, SYSTEM, source, name, "" if accounts_at else email)
        for provider in accounts_at:
            account = {"provider": provider, "subject": "p-1", "identity_id": person.id}
            uow.session.add(ExternalAccountRow(**account, created_at=uow.now, last_used_at=uow.now))
            await uow.session.flush()
            await addresses.keep(uow, provider, "p-1", email)


async def domain_listed(admin: httpx.AsyncClient) -> None:
    spec = {**PROVIDER["spec"], "linking": {"by_email": ["example.org"]}}
    applied = await admin.post("/v1/documents/apply", json={"documents": [{**PROVIDER, "spec": spec}]})
    assert applied.is_success, applied.text


@pytest.mark.parametrize(("source", "accounts_at"), [("", ()), ("provider:partner", ("partner",))])
async def test_nobody_is_made_beside_somebody_who_has_the_address_until_an_admin_says_who_it_is(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient, source: str, accounts_at: tuple[str, ...]
):
    await made(control_plane, source, "ada", "ada@example.org", *accounts_at)
    refused = await pusher.http.post("/Users", json=ADA)
    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    assert "--identity" not in refused.text
    (told,) = await audited(admin, "push.refused")
    assert "assentry scim-clients link corp e1 --identity ada" in str(told["data"]["cause"])
    linked = await admin.put("/v1/scim-clients/corp/links", json={"subject": "e1", "identity": "ada"})
    assert linked.status_code == 204, linked.text
    assert (await pusher.http.post("/Users", json=ADA)).status_code == 201
    assert (await accounts(control_plane))["corp", "e1"] == "ada"


async def test_a_subject_that_is_told_later_is_nobody_beside_them_either(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await made(control_plane, "", "ada", "ada@example.org")
    pushed = await pusher.user("ada", emails=ADA["emails"])
    told = await pusher.patch(f"/Users/{pushed['id']}", {"op": "add", "path": "externalId", "value": "e1"})
    assert told.status_code == 409, told.text
    assert await accounts(control_plane) == {}


async def test_an_address_that_somebody_chose_elsewhere_keeps_nobody_out_who_is_pushed(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    assert (await admin.post("/v1/scim-clients", json={"name": "partner"})).status_code == 201
    await made(control_plane, "scim:partner", "mallory", "ada@example.org")
    await pusher.user("ada", externalId="e1", emails=ADA["emails"])
    assert (await accounts(control_plane))["corp", "e1"] == "ada"


async def test_what_another_provider_verified_does_not_count_against_one_that_may_speak_for_the_domain(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await domain_listed(admin)
    await made(control_plane, "provider:partner", "mallory", "ada@example.org", "partner")
    await pusher.user("ada", externalId="e1", emails=ADA["emails"])
    assert (await identity_of(control_plane, "ada")).email == "Ada@example.org"


async def test_whoever_signs_in_as_a_pushed_subject_is_whom_the_client_ends(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    """Until the client has let go of it; then the one whom an admin has named is pushed, and ended, as that subject."""
    await made(control_plane, "", "rosa", "")
    pushed = await pusher.user("rosa", externalId="rosa-sub")
    parted = await admin.delete("/v1/identities/rosa-2/accounts/corp")
    taken = await admin.put("/v1/identities/rosa/accounts/corp", json={"subject": "rosa-sub"})
    assert (parted.status_code, taken.status_code) == (409, 409)
    for answer in (parted, taken):
        assert "the SCIM client 'corp' has pushed corp's 'rosa-sub' as 'rosa-2'" in answer.json()["detail"]
        assert "then `assentry identities unlink rosa-2 corp`" in answer.json()["detail"]
    assert "`assentry scim-clients link corp rosa-sub --identity rosa`" in taken.json()["detail"]
    same = await admin.put("/v1/identities/rosa-2/accounts/corp", json={"subject": "rosa-sub"})
    assert same.status_code == 200, "it is already"
    await pusher.http.delete(f"/Users/{pushed['id']}")
    assert (await admin.delete("/v1/identities/rosa-2/accounts/corp")).status_code == 204
    link = {"subject": "rosa-sub", "identity": "rosa"}
    assert (await admin.put("/v1/scim-clients/corp/links", json=link)).status_code == 204
    anew = await pusher.user("rosa", externalId="rosa-sub")
    assert await accounts(control_plane) == {("corp", "rosa-sub"): "rosa"}
    await pusher.patch(f"/Users/{anew['id']}", {"op": "replace", "path": "active", "value": False})
    assert (await identity_of(control_plane, "rosa")).able is False


async def test_a_subject_that_no_client_of_the_provider_has_pushed_is_an_admins_to_link(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await made(control_plane, "", "rosa", "")
    await pusher.user("ada", externalId="e1")
    partner = {**PROVIDER, "metadata": {"name": "partner"}}
    assert (await admin.post("/v1/documents/apply", json={"documents": [partner]})).is_success
    for provider, subject in (("corp", "e2"), ("partner", "e1")):
        linked = await admin.put(f"/v1/identities/rosa/accounts/{provider}", json={"subject": subject})
        assert linked.status_code == 200, linked.text
        assert (await admin.delete(f"/v1/identities/rosa/accounts/{provider}")).status_code == 204


async def linked_to(admin: httpx.AsyncClient, **link: object) -> httpx.Response:
    return await admin.put("/v1/scim-clients/corp/links", json=link)


async def test_a_link_that_could_never_be_used_any_more_is_refused_with_what_was_pushed_and_what_to_do(
    pusher: Pusher, control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await made(control_plane, "", "rosa", "")
    await admin.put("/v1/groups/dba", json={"roles": [], "members": []})
    person = await pusher.user("rosa", externalId="e1")
    group = await pusher.group("DBA", str(person["id"]), externalId="g1")
    late = [
        await linked_to(admin, subject="e1", identity="rosa"),
        await linked_to(admin, subject="g1", group="dba"),
        await linked_to(admin, subject="DBA", group="dba", by_name=True),
    ]
    assert [one.status_code for one in late] == [409, 409, 409]
    told = [one.json()["detail"] for one in late]
    assert told[0].startswith("'corp' has pushed 'e1' already as the person 'rosa-2'; a link counts at the first push")
    assert "`assentry identities unlink rosa-2 corp`, link it then, and let the provider push it anew" in told[0]
    assert told[1].startswith("'corp' has pushed 'g1' already as the group 'corp.dba'")
    assert told[2].startswith("'corp' has pushed 'DBA' already as the group 'corp.dba'")
    for path in (f"/Groups/{group['id']}", f"/Users/{person['id']}"):
        assert (await pusher.http.delete(path)).status_code == 204
    assert (await admin.delete("/v1/identities/rosa-2/accounts/corp")).status_code == 204
    assert (await linked_to(admin, subject="e1", identity="rosa")).status_code == 204
    assert (await linked_to(admin, subject="g1", group="dba")).status_code == 204
    again = await pusher.user("rosa", externalId="e1")
    await pusher.group("DBA", str(again["id"]), externalId="g1")
    assert (await identity_of(control_plane, "rosa")).groups == ("dba",)


async def test_a_link_waits_for_what_only_another_kind_or_another_spelling_was_pushed_of(
    pusher: Pusher, admin: httpx.AsyncClient
):
    await admin.put("/v1/groups/dba", json={"roles": [], "members": []})
    await pusher.user("ada", externalId="x1")
    await pusher.group("x2", externalId="x3")
    waiting = [{"subject": "x1"}, {"subject": "x2"}, {"subject": "x3", "by_name": True}, {"subject": "X3"}]
    assert [(await linked_to(admin, group="dba", **one)).status_code for one in waiting] == [204] * 4
