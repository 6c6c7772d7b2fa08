"""The end of an identity: what it ends, that one event tells it, and that nothing of it comes to life again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.sign_ins import Proof
from control_plane.identities.tables import CredentialRow, SignInRow
from control_plane.kit.events import Subscription
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.sessions.reports import OpenedReport, Reporter
from control_plane.sessions.service import TERMINATE

ANY = {"if-match": "*"}


@pytest.fixture
async def bot(admin: httpx.AsyncClient) -> dict[str, str]:
    """A machine of lin, with a key: name and key."""
    assert (await admin.post("/v1/identities", json={"name": "lin", "kind": "person"})).is_success
    assert (
        await admin.post("/v1/identities", json={"name": "bot", "kind": "machine", "owner": "lin", "purpose": "works"})
    ).is_success
    group = {"roles": ["requester"], "members": ["bot", "lin"]}
    assert (await admin.put("/v1/groups/askers", json=group)).is_success
    made = (await admin.post("/v1/service-account-keys", json={"identity": "bot"})).json()
    return {"id": made["id"], "key": made["key"]}


async def identity(control_plane: ControlPlane, name: str) -> Identity:
    async with control_plane.units.reading() as uow:
        return await control_plane.identities.named(uow, name)


async def signed_in(control_plane: ControlPlane, name: str, session: str = "") -> tuple[str, str]:
    """Id and token."""
    who = await identity(control_plane, name)
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, who, "cli", proof=Proof("corp", session))
        await uow.session.flush()
        rows = (await uow.session.exec(select(SignInRow).where(SignInRow.identity_id == who.id))).all()
    return max(rows, key=lambda row: row.created_at).id, opened.token.reveal()


async def token(anonymous: httpx.AsyncClient, bearer: str) -> httpx.Response:
    return await anonymous.post("/v1/tokens", json={}, headers={"authorization": f"Bearer {bearer}"})


async def disable(admin: httpx.AsyncClient, name: str, *, disabled: bool = True) -> None:
    done = await admin.patch(f"/v1/identities/{name}", json={"disabled": disabled}, headers=ANY)
    assert done.is_success, done.text


async def events(admin: httpx.AsyncClient, kind: str) -> list[dict[str, Any]]:
    return list((await admin.get("/v1/audit", params={"kind": kind})).json()["items"])


async def revoked(control_plane: ControlPlane) -> set[str]:
    async with control_plane.units.reading() as uow:
        return set((await control_plane.identities.snapshot(uow)).revoked_credentials)


async def opened_session(control_plane: ControlPlane, requester_id: str, session_id: str) -> None:
    report = OpenedReport(session_id, 1, "orders", "postgres", requester_id, "crd_1", "10.0.0.9:1", "psql", 1, "boot")
    async with control_plane.units() as uow:
        await control_plane.sessions.opened(uow, Reporter("demo", "ins_1", "boot"), report)


async def heard(news: Subscription, *topics: str) -> set[tuple[str, str]]:
    """The next news of each of these topics."""
    found: dict[str, str] = {}
    async with asyncio.timeout(5):
        while not found.keys() >= set(topics):
            one = await news.get()
            found[one.topic] = one.key
    return {(topic, found[topic]) for topic in topics}


async def test_a_persons_end_ends_theirs_and_their_machines_and_one_event_tells_it(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    sign_in, bearer = await signed_in(control_plane, "lin")
    made = {(await token(anonymous, one)).json()["credential_id"] for one in (bearer, bot["key"])}
    await opened_session(control_plane, (await identity(control_plane, "bot")).id, "ses_bot")
    async with control_plane.events.subscribe("snapshot", TERMINATE) as news:
        await disable(admin, "lin")
        assert (TERMINATE, "ses_bot") in await heard(news, "snapshot", TERMINATE)
    assert await revoked(control_plane) == made
    assert [(await token(anonymous, one)).status_code for one in (bearer, bot["key"])] == [401, 401]
    (event,) = await events(admin, "identity.ended")
    assert (event["subject"], event["actor"]["name"]) == ("lin", "admin")
    assert event["data"] == {
        "reason": "disabled by admin",
        "machines": ["bot"],
        "sign_ins": [sign_in],
        "credentials": sorted(made),
        "keys": [bot["id"]],
        "holds": [],
        "grants": [],
        "plans": [],
        "access": [],
        "delegations": [],
        "sessions": ["ses_bot"],
        "api_tokens": [],
        "security_keys": 0,
        "workload_sign_ins": [],
        "acting_tokens": [],
        "client_credentials": [],
        "keys_made": [],
        "credentials_of_keys_made": [],
        "client_credentials_made": [],
        "workload_trusts_stopped": [],
        "scim_tokens_made": [],
    }
    assert await events(admin, "identity.updated") == []


async def test_the_agents_are_told_again_of_a_session_whose_identity_ended(
    admin: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    """An agent that was away hears of it when it comes back."""
    await opened_session(control_plane, (await identity(control_plane, "bot")).id, "ses_bot")
    await disable(admin, "bot")
    async with control_plane.units.reading() as uow:
        told = await control_plane.sessions.terminations(uow, "ins_1")
    assert told == [("ses_bot", "its identity does nothing any more")]
    assert bot


async def test_what_was_given_on_somebodys_behalf_ends_with_them(
    admin: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    ada = await admin.post("/v1/identities", json={"name": "ada", "kind": "person"})
    of_ada, of_nobody = ([{"id": ada.json()["id"], "name": "ada"}], [{"id": "idn_other", "name": "other"}])
    machine = await identity(control_plane, "bot")
    async with control_plane.units() as uow:
        for name, chain in (("crd_for_ada", of_ada), ("crd_for_other", of_nobody)):
            uow.session.add(
                CredentialRow(
                    id=name, identity_id=machine.id, kind="token", parent_id=bot["id"], targets=["*"], chain=chain,
                    issued_at=uow.now, expires_at=uow.now + timedelta(hours=1),
                )
            )  # fmt: skip
    await disable(admin, "ada")
    assert await revoked(control_plane) == {"crd_for_ada"}
    (event,) = await events(admin, "identity.ended")
    assert event["data"]["credentials"] == ["crd_for_ada"]


async def test_who_is_enabled_again_begins_anew(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    _, before = await signed_in(control_plane, "lin")
    await disable(admin, "lin")
    _, meanwhile = await signed_in(control_plane, "lin")  # whoever was just signing in
    await disable(admin, "lin", disabled=False)
    answers = [(await token(anonymous, one)).status_code for one in (before, meanwhile, bot["key"])]
    assert answers == [401, 401, 401]
    (event,) = await events(admin, "identity.enabled")
    assert len(event["data"]["sign_ins"]) == 1
    _, after = await signed_in(control_plane, "lin")
    assert (await token(anonymous, after)).status_code == 201


async def test_deleting_ends_what_there_is_first(
    admin: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    machine = await identity(control_plane, "bot")
    await opened_session(control_plane, machine.id, "ses_bot")
    assert (await admin.delete("/v1/identities/bot")).status_code == 204
    (event,) = await events(admin, "identity.ended")
    assert (event["data"]["reason"], event["data"]["sessions"]) == ("deleted by admin", ["ses_bot"])
    assert event["data"]["keys"] == [bot["id"]]


async def test_an_end_that_is_refused_has_ended_nothing(admin: httpx.AsyncClient, control_plane: ControlPlane):
    refused = await admin.patch("/v1/identities/admin", json={"disabled": True}, headers=ANY)
    assert refused.status_code == 409
    assert (await admin.get("/v1/session")).status_code == 200
    assert await events(admin, "identity.ended") == []
    assert (await identity(control_plane, "admin")).able


async def test_what_a_provider_ends_is_not_refused_for_want_of_an_admin(
    admin: httpx.AsyncClient, control_plane: ControlPlane
):
    last = await identity(control_plane, "admin")
    async with control_plane.units() as uow:
        await control_plane.who.ending.end(uow, SYSTEM, last.id, "the provider says so")
    assert (await admin.get("/v1/session")).status_code == 401


async def test_nobody_is_ended_twice(admin: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]):
    await disable(admin, "bot")
    machine = await identity(control_plane, "bot")
    async with control_plane.units() as uow:
        await control_plane.who.ending.end(uow, SYSTEM, machine.id, "again")
        await control_plane.who.ending.end(uow, SYSTEM, "idn_nobody", "there is none")
    assert len(await events(admin, "identity.ended")) == 1
    assert (await identity(control_plane, "bot")).version == machine.version
    assert bot


async def test_signing_out_ends_what_was_made_with_those_sign_ins_and_nothing_else(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    first, bearer = await signed_in(control_plane, "lin", "sid-1")
    control_plane.clock.advance(seconds=1)  # type: ignore[attr-defined]
    _, other = await signed_in(control_plane, "lin", "sid-2")
    made = (await token(anonymous, bearer)).json()["credential_id"]
    kept = (await token(anonymous, other)).json()["credential_id"]
    lin = await identity(control_plane, "lin")
    async with control_plane.events.subscribe("snapshot") as news:
        async with control_plane.units() as uow:
            await control_plane.who.ending.sign_out(uow, SYSTEM, lin.id, "logged out at corp", {first, "sin_of_else"})
        assert await heard(news, "snapshot")
    assert await revoked(control_plane) == {made}
    assert [(await token(anonymous, one)).status_code for one in (bearer, other)] == [401, 201]
    (event,) = await events(admin, "identity.signed-out")
    told = {"reason": "logged out at corp", "sign_ins": [first], "credentials": [made]}
    assert {name: what for name, what in event["data"].items() if what} == told
    async with control_plane.units() as uow:
        await control_plane.who.ending.sign_out(uow, SYSTEM, lin.id, "all of them")
        await control_plane.who.ending.sign_out(uow, SYSTEM, lin.id, "none is left")
    assert kept in await revoked(control_plane)
    assert (await identity(control_plane, "lin")).able
    assert len(await events(admin, "identity.signed-out")) == 2
    assert bot


async def test_a_sign_in_by_link_is_proven_as_the_one_that_made_the_link(
    anonymous: httpx.AsyncClient, control_plane: ControlPlane, bot: dict[str, str]
):
    """Else who is logged out at the provider would stay signed in in the browser."""
    _, bearer = await signed_in(control_plane, "lin", "sid-1")
    made = await anonymous.post("/v1/session/links", headers={"authorization": f"Bearer {bearer}"})
    async with control_plane.units() as uow:
        await control_plane.who.sign_in_links.redeem(uow, made.json()["path"].partition("#")[2])
        rows = (await uow.session.exec(select(SignInRow).where(SignInRow.channel == "console"))).all()
    assert [(row.provider, row.provider_session) for row in rows] == [("corp", "sid-1")]
    assert bot
