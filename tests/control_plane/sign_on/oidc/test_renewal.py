"""Sign-ins are renewed at the provider: who was disabled there is out here, groups follow, an outage locks nobody out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import CredentialRow, SignInRow
from control_plane.kit.ids import new_id
from control_plane.secrets.own import OwnSecretError
from control_plane.sign_on.oidc_tables import SignInRenewalRow
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.oidc.signing_in import Corp


async def renewed(corp: Corp, clock: ManualClock, minutes: float = 15) -> None:
    """Time passes, and one turn of the loop runs. The provider's keys are asked for again when they are old."""
    clock.advance(minutes=minutes)
    await corp.control_plane.who.oidc.renewal.once()


async def credential(corp: Corp) -> str:
    """One for a client, made with the sign-in that there is."""
    [row] = await corp.sign_ins()
    made = CredentialRow(
        id=new_id("crd"),
        identity_id=row.identity_id,
        kind="token",
        parent_id=row.id,
        targets=[],
        issued_at=row.created_at,
        expires_at=row.created_at + timedelta(hours=12),
    )
    async with corp.control_plane.units() as uow:
        uow.session.add(made)
    return made.id


async def revoked(corp: Corp, credential_id: str) -> bool:
    async with corp.control_plane.units.reading() as uow:
        return (await uow.session.get_one(CredentialRow, credential_id)).revoked_at is not None


@pytest.fixture
async def ada(corp: Corp) -> str:
    """Signed in."""
    await corp.ready()
    name = corp.person("ada", "DBA Team")
    assert (await corp.sign_in(name)).status_code == 303
    return name


async def test_a_sign_in_goes_on_as_long_as_the_provider_renews_it(corp: Corp, clock: ManualClock, ada: str):
    [before] = await corp.sign_ins()
    for _ in range(3):
        await renewed(corp, clock)
        assert (await corp.who())["name"] == ada
    [after] = await corp.sign_ins()
    assert after.refresh not in {"", before.refresh}
    assert (after.authenticated_at, after.expires_at) == (before.authenticated_at, before.expires_at)


async def test_nothing_is_asked_before_its_time(corp: Corp, clock: ManualClock, ada: str):
    corp.person("ada", disabled=True)
    await renewed(corp, clock, minutes=14)
    assert (await corp.who())["name"] == ada


async def test_who_was_disabled_at_the_provider_is_out_with_every_credential(corp: Corp, clock: ManualClock, ada: str):
    token = await credential(corp)
    corp.person("ada", disabled=True)
    await renewed(corp, clock)
    assert await corp.who() == {}
    assert await corp.sign_ins() == []
    assert await revoked(corp, token)
    [told] = await corp.audited("identity.signed-out")
    assert "corp does not renew it" in told["reason"]
    assert "invalid_grant" in told["reason"]
    assert told["credentials"] == [token]


async def test_a_sign_in_that_rests_on_one_that_ends_ends_too(corp: Corp, clock: ManualClock, ada: str):
    [row] = await corp.sign_ins()
    control_plane = corp.control_plane
    async with control_plane.units() as uow:
        identity = await control_plane.identities.named(uow, ada)
        await control_plane.sign_ins.carry_over(uow, identity, "cli", row)
    corp.person("ada", disabled=True)
    await renewed(corp, clock)
    assert await corp.sign_ins() == []


async def test_groups_follow_without_a_new_sign_in(corp: Corp, clock: ManualClock, ada: str):
    corp.person("ada")
    await renewed(corp, clock)
    assert (await corp.who())["groups"] == []
    corp.person("ada", "DBA Team")
    await renewed(corp, clock)
    assert (await corp.who())["groups"] == ["dba"]


async def test_an_outage_of_the_provider_locks_nobody_out_at_once_but_in_the_end(
    corp: Corp, clock: ManualClock, ada: str
):
    good = await corp.apply(corp.document(oidc={"issuer": "http://127.0.0.1:9"}))
    assert good.is_success
    for _ in range(3):
        await renewed(corp, clock)
        assert (await corp.who())["name"] == ada
    await renewed(corp, clock)
    assert await corp.who() == {}
    assert "could not be asked for too long" in (await corp.audited("identity.signed-out"))[0]["reason"]


async def test_after_an_outage_it_goes_on(corp: Corp, clock: ManualClock, ada: str):
    await corp.apply(corp.document(oidc={"issuer": "http://127.0.0.1:9"}))
    await renewed(corp, clock)
    await corp.apply(corp.document())
    await renewed(corp, clock, minutes=2)
    async with corp.control_plane.units.reading() as uow:
        [renewal] = (await uow.session.exec(select(SignInRenewalRow))).all()
    assert renewal.renewed_at == clock.now()


@pytest.mark.parametrize("gone", [True, False])
async def test_a_provider_that_is_not_trusted_any_more_takes_its_sign_ins_with_it(
    corp: Corp, clock: ManualClock, ada: str, gone: bool
):
    if gone:
        async with corp.control_plane.units() as uow:
            by = (await corp.control_plane.identities.named(uow, "admin")).actor
            await corp.control_plane.who.providers.delete(uow, by, "corp")
    else:
        assert (await corp.apply(corp.document(disabled=True))).is_success
    await renewed(corp, clock, minutes=0)
    assert await corp.who() == {}


async def test_a_link_that_an_admin_took_away_is_not_made_again_by_a_renewal(corp: Corp, clock: ManualClock, ada: str):
    async with corp.control_plane.units() as uow:
        connection = await uow.session.connection()
        await connection.exec_driver_sql("DELETE FROM external_accounts")
    await renewed(corp, clock)
    assert await corp.sign_ins() == []
    async with corp.control_plane.units.reading() as uow:
        assert await corp.control_plane.identities.find(uow, "nobody") is None
        connection = await uow.session.connection()
        assert (await connection.exec_driver_sql("SELECT count(*) FROM external_accounts")).scalar_one() == 0


async def test_two_replicas_do_not_renew_the_same_sign_in(corp: Corp, clock: ManualClock, ada: str):
    """A refresh token that is used twice is taken for stolen, and ends what it stood for."""
    clock.advance(minutes=15)
    renewal = corp.control_plane.who.oidc.renewal
    await asyncio.gather(renewal.once(), renewal.once())
    assert (await corp.who())["name"] == ada
    await renewed(corp, clock)
    assert (await corp.who())["name"] == ada


async def test_what_a_sign_in_is_renewed_with_is_kept_sealed(corp: Corp, ada: str):
    [row] = await corp.sign_ins()
    kept = await corp.control_plane.who.oidc.flow._telling.kept("corp", row.refresh)
    assert kept.subject == ada
    for value in (kept.refresh_token, kept.id_token):
        assert value
        assert value not in row.refresh


async def test_what_was_sealed_for_one_provider_opens_for_no_other(corp: Corp, clock: ManualClock, ada: str):
    [row] = await corp.sign_ins()
    await corp.apply(corp.document("other"))
    async with corp.control_plane.units() as uow:
        (await uow.session.merge(row)).provider = "other"
    with pytest.raises(OwnSecretError):
        await corp.control_plane.who.oidc.flow._telling.kept("other", row.refresh)
    await renewed(corp, clock)
    [after] = await corp.sign_ins()
    assert after.refresh == row.refresh


async def test_a_sign_in_by_password_is_not_renewed(
    corp: Corp, clock: ManualClock, admin: httpx.AsyncClient, control_plane: ControlPlane
):
    await corp.ready()
    await renewed(corp, clock, minutes=600)
    assert (await admin.get("/v1/session")).is_success
    async with control_plane.units.reading() as uow:
        assert len((await uow.session.exec(select(SignInRow))).all()) == 1
