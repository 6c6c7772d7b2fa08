"""An admin says which subjects of providers are whom, and takes it back."""

from __future__ import annotations

import httpx
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import SignInRow
from control_plane.sign_on.errors import NotKnownHereError
from tests.control_plane.sign_on.test_linking import ANYBODY, made_here, opened, told
from tests.support.stack import document

PATH = "/v1/identities/ada/accounts"


@pytest.fixture
async def partner(admin: httpx.AsyncClient) -> None:
    oidc = {"issuer": "https://id.example.com", "client_id": "assentry"}
    shown = document("IdentityProvider", "partner", oidc=oidc)
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
    assert (await opened(control_plane, ANYBODY, said)).name == "ada"
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
