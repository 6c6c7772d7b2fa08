"""Registering, using and removing security keys over REST: who may, and what is left of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.sign_ins import Channel
from control_plane.identities.tables import SignInRow
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.security_keys.service import MOST_KEYS
from tests.control_plane.conftest import ManualClock
from tests.control_plane.security_keys.conftest import CHALLENGES, ORIGIN, REGISTRATIONS, Console, kind_of
from tests.support.authenticator import EDDSA, ES256, RS256, SoftwareKey

# ------------------------------------------------------------------ as it should be


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256], ids=["ES256", "EdDSA", "RS256"])
async def test_a_key_is_registered_and_renews_the_sign_in_that_it_proves(
    ada: Console, clock: ManualClock, algorithm: int
):
    key = SoftwareKey(ORIGIN, algorithm)
    made = await ada.register(key, "blue key")
    assert (made.status_code, made.json()["name"]) == (201, "blue key")
    clock.advance(hours=2)
    renewed = await ada.prove(key)
    assert renewed.status_code == 200, renewed.text
    assert await ada.proven_at() == renewed.json()["authenticated_at"]
    (listed,) = (await ada.client.get("/v1/security-keys")).json()
    assert listed["last_used_at"] == renewed.json()["authenticated_at"]
    (entry,) = await ada.audited("sign-in.reauthenticated")
    assert entry.data["method"] == "security-key"


async def test_what_the_browser_is_asked_says_which_keys_and_that_their_holder_is_verified(
    keyed: Console, key: SoftwareKey
):
    _, options = await keyed.options(CHALLENGES)
    assert options["rpId"] == "assentry.example.org"
    assert options["userVerification"] == "required"
    (credential,) = options["allowCredentials"]
    assert credential["transports"] == ["usb"]
    assert (await keyed.prove(key)).is_success
    _, creation = await keyed.options(REGISTRATIONS)
    assert creation["authenticatorSelection"]["userVerification"] == "required"
    assert [one["id"] for one in creation["excludeCredentials"]] == [credential["id"]]


async def test_the_registration_is_audited_with_the_public_key_for_whoever_verifies_later(keyed: Console):
    (entry,) = await keyed.audited("security-key.registered")
    assert entry.actor["name"] == "ada"
    assert entry.data["public_key"]


async def test_a_sign_in_that_a_key_proved_says_so_and_one_that_a_password_renewed_no_longer(
    keyed: Console, key: SoftwareKey, control_plane: ControlPlane
):
    await keyed.prove(key)
    principal = await _principal(control_plane, keyed)
    assert (principal.acr, principal.amr) == ("phr", ("pop", "user", "mfa"))
    chosen = await control_plane.sign_ins.reset_password(SYSTEM, "ada")
    fresh = Console(keyed.client, keyed.units, "")
    async with control_plane.units() as uow:
        identity = await control_plane.identities.named(uow, "ada")
        opened = await control_plane.sign_ins.open(uow, identity, "console")
    fresh.sign_in = opened.token.reveal()
    fresh.client.headers.update(
        {"cookie": f"{control_plane.cookies.name}={fresh.sign_in}", "x-csrf-token": opened.csrf}
    )
    await fresh.prove(key)
    body = {"method": "password", "password": chosen.reveal()}
    assert (await fresh.post("/v1/session/reauthenticate", body)).is_success
    principal = await _principal(control_plane, fresh)
    assert (principal.acr, principal.amr) == ("", ("pwd",))


async def _principal(control_plane: ControlPlane, console: Console) -> Any:
    principal = await control_plane.authenticator._by_session(console.sign_in, "console")
    assert principal is not None
    return principal


# ------------------------------------------------------------------ who may add and remove


async def test_the_first_key_needs_a_fresh_sign_in(ada: Console, clock: ManualClock):
    clock.advance(minutes=5, seconds=1)
    assert kind_of(await ada.post(REGISTRATIONS)) == (403, "reauthentication-required")


async def test_whoever_has_a_key_adds_and_removes_with_a_key_and_not_with_a_password(
    keyed: Console, key: SoftwareKey, control_plane: ControlPlane, console_of: Any
):
    """A stolen password, and the sign-in that it opens, add no key and remove none."""
    other = await console_of("ada")  # a fresh sign-in by password
    (mine,) = (await other.client.get("/v1/security-keys")).json()
    for answer in (await other.post(REGISTRATIONS), await other.client.delete(f"/v1/security-keys/{mine['id']}")):
        assert kind_of(answer) == (403, "reauthentication-required")
        assert "security key that you have" in answer.json()["detail"]
    assert (await other.prove(key)).is_success
    assert (await other.register(SoftwareKey(ORIGIN), "red")).status_code == 201
    assert (await other.client.delete(f"/v1/security-keys/{mine['id']}")).status_code == 204
    assert [one["name"] for one in (await other.client.get("/v1/security-keys")).json()] == ["red"]


async def test_a_sign_in_that_became_stale_between_the_two_steps_registers_nothing(ada: Console, clock: ManualClock):
    challenge, options = await ada.options(REGISTRATIONS)
    clock.advance(minutes=5, seconds=1)
    body = {"name": "late", "challenge_id": challenge, "credential": SoftwareKey(ORIGIN).make(options)}
    assert kind_of(await ada.post("/v1/security-keys", body)) == (403, "reauthentication-required")


async def test_nobody_removes_anothers_key_but_an_admin_who_adds_none(
    keyed: Console, console_of: Any, admin: httpx.AsyncClient
):
    (theirs,) = (await keyed.client.get("/v1/security-keys")).json()
    bob = await console_of("bob")
    assert (await bob.client.delete(f"/v1/security-keys/{theirs['id']}")).status_code == 404
    assert (await bob.client.get("/v1/identities/ada/security-keys")).status_code == 403
    assert [one["id"] for one in (await admin.get("/v1/identities/ada/security-keys")).json()] == [theirs["id"]]
    assert (await admin.delete(f"/v1/identities/ada/security-keys/{theirs['id']}")).status_code == 204
    assert (await admin.get("/v1/identities/ada/security-keys")).json() == []
    assert (await admin.post("/v1/identities/ada/security-keys", json={})).status_code == 405
    (entry,) = await keyed.audited("security-key.removed")
    assert (entry.actor["name"], entry.data["of"]) == ("admin", "ada")


async def test_an_admin_removes_their_own_key_only_as_everybody_does(console_of: Any, clock: ManualClock):
    root = await console_of("root", "admin")
    await root.register(SoftwareKey(ORIGIN))
    clock.advance(minutes=10)
    (mine,) = (await root.client.get("/v1/security-keys")).json()
    answer = await root.client.delete(f"/v1/identities/root/security-keys/{mine['id']}")
    assert kind_of(answer) == (403, "reauthentication-required")


async def test_a_person_has_so_many_keys_and_no_more(ada: Console):
    first = SoftwareKey(ORIGIN)
    assert (await ada.register(first)).status_code == 201
    await ada.prove(first)
    for number in range(1, MOST_KEYS):
        assert (await ada.register(SoftwareKey(ORIGIN), f"key {number}")).status_code == 201
    assert kind_of(await ada.post(REGISTRATIONS)) == (409, "conflict")


async def test_whoever_is_ended_has_no_key_any_more(keyed: Console, control_plane: ControlPlane):
    async with control_plane.units() as uow:
        ada = await control_plane.identities.named(uow, "ada")
        await control_plane.who.ending.end(uow, SYSTEM, ada.id, "left")
    (entry,) = await keyed.audited("identity.ended")
    assert entry.data["security_keys"] == 1
    async with control_plane.units.reading() as uow:
        assert await control_plane.who.security_keys.of_named(uow, "ada") == []


async def test_without_a_key_there_is_nothing_to_sign_with(ada: Console):
    assert kind_of(await ada.post(CHALLENGES)) == (409, "no-security-key")


@pytest.mark.parametrize("channel", ["cli", "console"])
async def test_the_first_key_is_for_who_signed_in_to_the_console_and_not_for_what_rests_on_it(
    ada: Console, key: SoftwareKey, control_plane: ControlPlane, app: FastAPI, channel: Channel
):
    """A confirmed command line, or a link, that somebody was tricked out of would else leave a key that signs."""
    async with control_plane.units() as uow:
        identity = await control_plane.identities.named(uow, "ada")
        earlier = (await uow.session.exec(select(SignInRow).where(SignInRow.identity_id == identity.id))).one()
        opened = await control_plane.sign_ins.carry_over(uow, identity, channel, earlier)
    token = opened.token.reveal()
    as_what = {
        "cli": {"authorization": f"Bearer {token}"},
        "console": {"cookie": f"{control_plane.cookies.name}={token}"},
    }
    headers = {**as_what[channel], "x-csrf-token": opened.csrf}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as client:
        refused = await client.post(REGISTRATIONS)
        assert (refused.status_code, "is registered in the console" in refused.text) == (403, True)
    assert (await ada.register(key, "blue key")).status_code == 201
