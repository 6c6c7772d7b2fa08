"""Whom a provider's word makes a sign-in of: addresses are believed as far as their source may speak for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import msgspec
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.tables import ExternalAccountRow, SignInRow
from control_plane.kit.unit_of_work import SYSTEM, UnitOfWork
from control_plane.sign_on.documents import IdentityProviderSpec, Linking, Oidc
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotKnownHereError
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.oidc_claims import told as claims_told
from control_plane.sign_on.oidc_client import OidcClient, Tokens
from control_plane.sign_on.oidc_metadata import Announced
from control_plane.sign_on.oidc_telling import Kept, Known
from control_plane.sign_on.oidc_tokens import Claims, IdToken, TokenError
from tests.support.stack import document

ANYBODY = IdentityProviderSpec(linking=Linking(create=True))
CORP = IdentityProviderSpec(linking=Linking(create=True, by_email=("example.com",)))
LINKS = IdentityProviderSpec(linking=Linking(by_email=("example.com",)))
HOME = "https://id.example.com"


def told(provider: str, subject: str, called: str, issuer: str = HOME, *, verified: bool = True) -> Told:
    return Told(provider, subject, issuer, called, f"{called}@example.com", verified)


async def opened(control_plane: ControlPlane, spec: IdentityProviderSpec, said: Told) -> Identity:
    async with control_plane.units() as uow:
        return (await control_plane.who.sign_on.open(uow, spec, said, "console")).identity


async def refused(control_plane: ControlPlane, spec: IdentityProviderSpec, said: Told) -> str:
    with pytest.raises(NotKnownHereError) as caught:
        await opened(control_plane, spec, said)
    assert caught.value.cause not in str(caught.value)
    return caught.value.cause


async def made_here(admin: httpx.AsyncClient, name: str) -> None:
    person = {"name": name, "kind": "person", "email": f"{name}@example.com"}
    assert (await admin.post("/v1/identities", json=person)).is_success


async def test_an_address_that_a_provider_may_not_speak_for_is_nobodys(control_plane: ControlPlane):
    mallory = await opened(control_plane, ANYBODY, told("partner", "m-1", "boss"))
    assert mallory.email == ""
    boss = await opened(control_plane, CORP, told("corp", "b-1", "boss"))
    assert boss.id != mallory.id
    assert boss.email == "boss@example.com"


async def test_whom_another_provider_has_made_is_not_linked_by_an_address(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    mallory = await opened(control_plane, ANYBODY, told("partner", "m-1", "mallory"))
    address = {"email": "boss@example.com"}
    changed = await admin.patch(f"/v1/identities/{mallory.name}", json=address, headers={"if-match": "*"})
    assert changed.is_success, changed.text
    await refused(control_plane, LINKS, told("corp", "b-1", "boss"))


async def test_whom_a_scim_client_of_this_provider_pushed_is_linked_and_of_another_is_not(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    oidc = {"issuer": HOME, "client_id": "assentry"}
    for name in ("corp", "partner"):
        document = {"apiVersion": "assentry.dev/v1", "kind": "IdentityProvider", "metadata": {"name": name}}
        applied = await admin.post("/v1/documents/apply", json={"documents": [{**document, "spec": {"oidc": oidc}}]})
        assert applied.is_success, applied.text
        assert (await admin.post("/v1/scim-clients", json={"name": name, "provider": name})).status_code == 201
    async with control_plane.units() as uow:
        for source, called in (("scim:corp", "ada"), ("scim:partner", "boss")):
            await control_plane.who.sourced.make_person(uow, SYSTEM, source, called, f"{called}@example.com")
    assert (await opened(control_plane, LINKS, told("corp", "a-1", "ada"))).name == "ada"
    await refused(control_plane, LINKS, told("corp", "b-1", "boss"))


async def listing(admin: httpx.AsyncClient, **linking: list[str] | bool) -> None:
    """Providers, with what each says of linking, and a SCIM client each."""
    for name, rules in linking.items():
        more = {"linking": {"by_email": rules}} if isinstance(rules, list) else {"linking": {"create": rules}}
        shown = document("IdentityProvider", name, oidc={"issuer": HOME, "client_id": "assentry"}, **more)
        assert (await admin.post("/v1/documents/apply", json={"documents": [shown]})).is_success
        assert (await admin.post("/v1/scim-clients", json={"name": name, "provider": name})).status_code == 201


async def pushed(control_plane: ControlPlane, source: str, name: str, email: str) -> None:
    async with control_plane.units() as uow:
        await control_plane.who.sourced.make_person(uow, SYSTEM, source, name, email)


async def test_whoever_is_pushed_with_an_address_keeps_it_from_nobody_whose_provider_may_speak_for_it(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await listing(admin, partner=False)
    await pushed(control_plane, "scim:partner", "mallory", "boss@example.com")
    boss = await opened(control_plane, CORP, told("corp", "b-1", "boss"))
    assert (boss.name, boss.email) == ("boss", "boss@example.com")
    await refused(control_plane, ANYBODY, told("other", "o-1", "boss"))


async def test_two_providers_that_may_speak_for_a_domain_make_one_identity_of_one_person(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await listing(admin, partner=["Example.com"])
    await pushed(control_plane, "scim:partner", "ada", "ada@example.com")
    await opened(control_plane, CORP, told("partner", "b-1", "bob"))
    for name in ("ada", "bob"):
        cause = await refused(control_plane, CORP, told("corp", "c-1", name))
        assert cause == f"{name!r} has its address already: an admin links them"


async def test_whose_provider_tells_no_address_is_made_where_no_other_provider_makes_anybody(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await listing(admin, partner=True, other=["example.com"])
    assert (await opened(control_plane, ANYBODY, Told("partner", "s-1", HOME, "ada"))).name == "ada"
    await listing(admin, corp=True)
    cause = await refused(control_plane, ANYBODY, Told("partner", "s-2", HOME, "ada"))
    assert cause == "it tells no address, and other providers make people too: an admin links them"
    assert (await opened(control_plane, ANYBODY, Told("partner", "s-1", HOME, "ada"))).name == "ada"


async def test_an_address_that_was_given_to_somebody_else_links_no_second_subject(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await made_here(admin, "ada")
    assert (await opened(control_plane, CORP, told("corp", "s-1", "ada"))).name == "ada"
    cause = await refused(control_plane, CORP, told("corp", "s-2", "ada"))
    assert cause == "'ada', who has its address, is 's-1' there, somebody else"
    assert (await opened(control_plane, CORP, told("corp", "s-1", "ada"))).name == "ada"


async def test_nobody_becomes_a_second_person_beside_the_one_who_has_the_address(
    control_plane: ControlPlane, admin: httpx.AsyncClient
):
    await made_here(admin, "ada")
    cause = await refused(control_plane, ANYBODY, told("partner", "s-1", "ada"))
    assert cause == "'ada' has its address already: an admin links them"
    said = told("partner", "s-2", "ada", verified=False)
    assert await refused(control_plane, ANYBODY, said) == cause, "it keeps out whoever says it, and nobody else"


async def test_two_providers_that_may_speak_for_no_address_make_one_identity_of_one_person(
    control_plane: ControlPlane,
):
    """Whoever had two could approve what they asked for themselves."""
    ada = await opened(control_plane, ANYBODY, told("partner", "s-1", "ada"))
    upper = msgspec.structs.replace(told("other", "o-1", "ada"), email="Ada@Example.COM")
    for said in (upper, msgspec.structs.replace(upper, email_verified=False), told("partner", "s-2", "ada")):
        cause = await refused(control_plane, ANYBODY, said)
        assert cause == f"{ada.name!r} has its address already, at 'partner': an admin links them"
    await opened(control_plane, ANYBODY, told("other", "o-2", "bob"))
    assert (await opened(control_plane, ANYBODY, told("partner", "s-1", "ada"))).id == ada.id


async def test_whoever_chooses_an_address_keeps_nobody_out_whose_it_is(control_plane: ControlPlane):
    mallory = await opened(control_plane, ANYBODY, told("partner", "m-1", "boss", verified=False))
    boss = await opened(control_plane, ANYBODY, told("other", "b-1", "boss"))
    assert boss.id != mallory.id


async def test_an_account_has_the_address_that_its_provider_told_last(control_plane: ControlPlane):
    ada = await opened(control_plane, ANYBODY, told("partner", "s-1", "ada", verified=False))
    await opened(control_plane, ANYBODY, msgspec.structs.replace(told("partner", "s-1", "ada"), email=""))
    await opened(control_plane, ANYBODY, told("partner", "s-1", "lovelace"))
    assert f"{ada.name!r} has" in await refused(control_plane, ANYBODY, told("other", "o-1", "lovelace"))
    await opened(control_plane, ANYBODY, told("other", "o-1", "ada"))


async def test_whoever_changes_their_address_at_one_provider_is_nobody_new_at_another_with_the_one_before(
    control_plane: ControlPlane,
):
    ada = await opened(control_plane, ANYBODY, told("partner", "s-1", "ada"))
    for claimed, verified in (("whatever", False), ("lovelace", True)):
        said = msgspec.structs.replace(told("partner", "s-1", claimed, verified=verified), called="ada")
        assert (await opened(control_plane, ANYBODY, said)).id == ada.id
        cause = await refused(control_plane, ANYBODY, told("other", "o-1", "ada"))
        assert cause == f"{ada.name!r} has its address already, at 'partner': an admin links them"


async def test_an_address_counts_no_longer_than_the_account_that_had_it(control_plane: ControlPlane):
    ada = await opened(control_plane, ANYBODY, told("partner", "s-1", "ada"))
    async with control_plane.units() as uow:
        await control_plane.who.accounts.unlink(uow, SYSTEM, ada.name, "partner")
    assert (await opened(control_plane, ANYBODY, told("other", "o-1", "ada"))).id != ada.id


@pytest.fixture
def at_once(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who sign in have both been looked for, in vain, before either goes on; where there is more than one writer."""
    together = asyncio.Barrier(1 if control_plane.units._turn else 2)
    looked, met = SignOn._linked, set()

    async def linked(self: SignOn, uow: UnitOfWork, said: Told) -> Identity | None:
        found = await looked(self, uow, said)
        if uow not in met:
            met.add(uow)
            await together.wait()
        return found

    monkeypatch.setattr(SignOn, "_linked", linked)


@pytest.mark.usefixtures("at_once")
async def test_two_first_sign_ins_at_once_are_of_one_identity(control_plane: ControlPlane):
    said = told("corp", "s-1", "ada")
    async with asyncio.timeout(30):
        one, other = await asyncio.gather(*(opened(control_plane, ANYBODY, said) for _ in range(2)))
    assert (one.id, one.name) == (other.id, "ada")
    async with control_plane.units.reading() as uow:
        assert len((await uow.session.exec(select(SignInRow))).all()) == 2


@pytest.mark.usefixtures("at_once")
async def test_two_providers_at_once_make_one_identity_of_one_person(control_plane: ControlPlane):
    both = [opened(control_plane, ANYBODY, told(provider, "s-1", "ada")) for provider in ("partner", "other")]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*both, return_exceptions=True)
    assert sorted((type(answer) for answer in answers), key=str) == [Identity, NotKnownHereError]


async def test_a_provider_that_is_another_now_knows_nobody_of_the_one_before(control_plane: ControlPlane):
    ada = await opened(control_plane, ANYBODY, told("corp", "42", "ada"))
    cause = await refused(control_plane, ANYBODY, told("corp", "42", "ada", "https://evil.example.net"))
    assert cause == f"its account was made by {HOME!r}, and 'https://evil.example.net' says so now"
    assert (await opened(control_plane, ANYBODY, told("corp", "42", "ada"))).id == ada.id


async def test_a_pushed_account_is_of_the_provider_where_its_person_signs_in_first(control_plane: ControlPlane):
    async with control_plane.units() as uow:
        ada = await control_plane.who.sourced.make_person(uow, SYSTEM, "scim:corp", "ada", "")
        account = {"provider": "corp", "subject": "e1", "identity_id": ada.id}
        uow.session.add(ExternalAccountRow(**account, created_at=uow.now, last_used_at=uow.now))
    assert (await opened(control_plane, LINKS, told("corp", "e1", "ada"))).id == ada.id
    await refused(control_plane, LINKS, told("corp", "e1", "ada", "https://evil.example.net"))


async def test_what_a_provider_gave_is_posted_to_no_other(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch):
    async def posted(self: OidcClient, refresh_token: str) -> Tokens:
        raise AssertionError(f"{refresh_token} was posted by {self}")

    monkeypatch.setattr(OidcClient, "refresh", posted)
    oidc = Oidc(issuer="https://evil.example.net", client_id="assentry")
    announced = Announced(oidc.issuer)
    client = OidcClient(oidc, announced, None, "https://assentry.example.org/callback")
    known = Known("corp", IdentityProviderSpec(oidc=oidc), oidc, announced, client)
    with pytest.raises(TokenError, match=f"made by '{HOME}'"):
        await control_plane.who.oidc.device._telling.renewed(known, Kept("s", "a refresh token", "", HOME))


def test_an_address_is_verified_by_who_names_it():
    token = IdToken(Claims(iss=HOME, aud="a", iat=1, sub="s"), {"sub": "s", "email": "boss@example.com"})
    profile = {"sub": "s", "email": "mallory@example.com", "email_verified": True}
    said = claims_told("corp", token, profile, None, datetime.now(UTC))
    assert (said.email, said.email_verified) == ("boss@example.com", False)
