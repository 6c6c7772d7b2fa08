"""An admin says which subjects of providers are whom, and takes it back."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import SignInRow
from control_plane.sign_on.documents import GroupRules, IdentityProviderSpec
from control_plane.sign_on.errors import NotKnownHereError
from tests.control_plane.sign_on.saml.test_metadata import metadata
from tests.control_plane.sign_on.test_linking import ANYBODY, made_here, opened, told
from tests.support.stack import document

PATH = "/v1/identities/ada/accounts"
OIDC = {"issuer": "https://id.example.com", "client_id": "assentry"}
SAML = {"metadata": metadata(), "email_verified": True}


@pytest.fixture
async def partner(admin: httpx.AsyncClient) -> None:
    shown = document("IdentityProvider", "partner", oidc=OIDC)
    assert (await admin.put("/v1/identity-providers/partner", json=shown)).is_success
    await made_here(admin, "ada")


async def test_whom_an_address_keeps_out_signs_in_once_an_admin_has_linked_them(
    control_plane: ControlPlane, admin: httpx.AsyncClient, partner: None
) -> None:
    said = told("partner", "a/1", "ada")
    with pytest.raises(NotKnownHereError):
        await opened(control_plane, ANYBODY, said)
    linked = await admin.put(f"{PATH}/partner", json={"subject": "a/1"})
    assert (linked.status_code, linked.json()["subject"]) == (200, "a/1")
    assert (await admin.put(f"{PATH}/partner", json={"subject": "a/1"})).is_success, "again changes nothing"
    assert [one["last_used_at"] for one in (await admin.get(PATH)).json()] == [None]
    assert (await opened(control_plane, ANYBODY, said)).name == "ada"
    assert [one["last_used_at"] for one in (await admin.get(PATH)).json()] == ["2026-03-01T12:00:00Z"]
    assert [(one["provider"], one["email"]) for one in (await admin.get(PATH)).json()] == [
        ("partner", "ada@example.com")
    ]
    events = (await admin.get("/v1/audit", params={"kind": "identity.linked"})).json()["items"]
    assert [(one["actor"]["name"], one["subject"]) for one in events] == [("admin", "ada")]


async def test_what_was_signed_in_for_ends_with_the_link(
    control_plane: ControlPlane, admin: httpx.AsyncClient, partner: None
) -> None:
    await admin.put(f"{PATH}/partner", json={"subject": "a-1"})
    await opened(control_plane, ANYBODY, told("partner", "a-1", "ada"))
    assert (await admin.delete(f"{PATH}/partner")).status_code == 204
    async with control_plane.units.reading() as uow:
        rows = (await uow.session.exec(select(SignInRow).where(SignInRow.provider == "partner"))).all()
    assert rows == []
    with pytest.raises(NotKnownHereError):
        await opened(control_plane, ANYBODY, told("partner", "a-1", "ada"))
    again = await admin.delete(f"{PATH}/partner")
    assert (again.status_code, again.json()["detail"]) == (404, "'ada' is nobody's at 'partner'")


async def test_a_subject_is_one_person_and_a_person_one_subject(admin: httpx.AsyncClient, partner: None) -> None:
    await made_here(admin, "bob")
    await admin.put(f"{PATH}/partner", json={"subject": "a-1"})
    other = await admin.put("/v1/identities/bob/accounts/partner", json={"subject": "a-1"})
    assert (other.status_code, other.json()["detail"]) == (409, "partner's 'a-1' is 'ada': unlink that first")
    second = await admin.put(f"{PATH}/partner", json={"subject": "a-2"})
    assert (second.status_code, second.json()["detail"]) == (409, "'ada' is partner's 'a-1': unlink that first")


async def test_only_people_and_providers_that_there_are_can_be_linked(
    admin: httpx.AsyncClient, reviewer: httpx.AsyncClient, partner: None
) -> None:
    machine = {"name": "bot", "kind": "machine", "owner": "ada", "purpose": "tests", "ends_at": "2026-12-31T00:00:00Z"}
    assert (await admin.post("/v1/identities", json=machine)).is_success
    answers = [
        await admin.put("/v1/identities/bot/accounts/partner", json={"subject": "a-1"}),
        await admin.put(f"{PATH}/nowhere", json={"subject": "a-1"}),
        await admin.put("/v1/identities/nobody/accounts/partner", json={"subject": "a-1"}),
        await reviewer.put(f"{PATH}/partner", json={"subject": "a-1"}),
    ]
    assert [one.status_code for one in answers] == [422, 404, 404, 403]


# ------------------------------------------------------------------ what it told of groups


@pytest.fixture
async def reviewing(control_plane: ControlPlane, admin: httpx.AsyncClient, partner: None) -> None:
    """Ada reviews, by the partner's word alone."""
    groups = {"documents": [document("Group", "dba", roles=["reviewer"])]}
    assert (await admin.post("/v1/documents/apply", json=groups)).is_success
    await admin.put(f"{PATH}/partner", json={"subject": "a-1"})
    said = msgspec.structs.replace(told("partner", "a-1", "ada"), groups=("DBA",))
    await opened(control_plane, IdentityProviderSpec(groups=GroupRules(map={"DBA": "dba"})), said)
    assert await reviews(control_plane)


async def reviews(control_plane: ControlPlane) -> bool:
    async with control_plane.units.reading() as uow:
        return "reviewer" in (await control_plane.identities.named(uow, "ada")).roles


async def applied(admin: httpx.AsyncClient, *documents: object, prune: bool = False) -> None:
    answer = await admin.post("/v1/documents/apply", json={"documents": [*documents], "prune": prune})
    assert answer.is_success, answer.text


async def test_what_a_provider_told_of_groups_goes_with_the_link(
    control_plane: ControlPlane, admin: httpx.AsyncClient, reviewing: None
) -> None:
    assert (await admin.delete(f"{PATH}/partner")).status_code == 204
    assert not await reviews(control_plane)


async def test_what_a_provider_told_of_groups_goes_with_its_document(
    control_plane: ControlPlane, admin: httpx.AsyncClient, reviewing: None
) -> None:
    assert (await admin.delete("/v1/identity-providers/partner", headers={"if-match": "*"})).status_code == 204
    assert not await reviews(control_plane)
    events = (await admin.get("/v1/audit", params={"kind": "group.memberships-forgotten"})).json()["items"]
    told_of = [(one["actor"]["name"], one["subject"], one["data"]["groups"]) for one in events]
    assert told_of == [("admin", "provider:partner", ["dba"])]


async def test_what_a_provider_told_of_groups_goes_when_its_document_is_pruned(
    control_plane: ControlPlane, admin: httpx.AsyncClient, reviewing: None
) -> None:
    group = document("Group", "dba", roles=["reviewer"])
    await applied(admin, group, document("IdentityProvider", "partner", oidc=OIDC))
    assert await reviews(control_plane), "adopted, not changed"
    await applied(admin, group, prune=True)
    assert not await reviews(control_plane)


@pytest.mark.parametrize(
    "spec",
    [
        {"oidc": OIDC, "disabled": True},
        {"oidc": {**OIDC, "issuer": "https://id.other.example"}},
        {"saml": SAML},
    ],
)
async def test_a_provider_that_is_not_asked_any_more_or_is_another_is_not_believed_of_groups(
    control_plane: ControlPlane, admin: httpx.AsyncClient, reviewing: None, spec: dict[str, object]
) -> None:
    await applied(admin, document("IdentityProvider", "partner", **spec))
    assert not await reviews(control_plane)


async def test_the_same_provider_described_anew_is_believed_of_groups_as_before(
    control_plane: ControlPlane, admin: httpx.AsyncClient, partner: None, reviewing: None
) -> None:
    await applied(admin, document("IdentityProvider", "partner", oidc=OIDC, title="Partner"))
    assert await reviews(control_plane)


async def test_new_keys_of_a_saml_provider_make_it_no_other(
    control_plane: ControlPlane, admin: httpx.AsyncClient, partner: None
) -> None:
    await applied(admin, document("IdentityProvider", "partner", saml=SAML))
    await applied(admin, document("Group", "dba", roles=["reviewer"]))
    await admin.put(f"{PATH}/partner", json={"subject": "a-1"})
    said = msgspec.structs.replace(told("partner", "a-1", "ada"), groups=("DBA",))
    await opened(control_plane, IdentityProviderSpec(groups=GroupRules(map={"DBA": "dba"})), said)
    again = metadata(attributes='validUntil="2100-01-01T00:00:00Z"')
    await applied(admin, document("IdentityProvider", "partner", saml={**SAML, "metadata": again}))
    assert await reviews(control_plane)
    other = metadata(entity="https://id.other.example")
    await applied(admin, document("IdentityProvider", "partner", saml={**SAML, "metadata": other}))
    assert not await reviews(control_plane)
