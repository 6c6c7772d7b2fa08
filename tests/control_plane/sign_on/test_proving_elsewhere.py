"""Proving again who one is, at a provider that one is linked to and that the sign-in is not by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.sign_ins import Proof
from control_plane.identities.tables import ExternalAccountRow, SignInRow
from control_plane.kit.access import Principal
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotProvenAgainError
from control_plane.sign_on.oidc_tables import OidcStartRow
from control_plane.sign_on.reauthentication import prove_again
from control_plane.sign_on.saml_tables import SamlRequestRow
from tests.control_plane.conftest import ManualClock

STRONG = Proof("corp", "session-1", "strong", ("hwk",))


@pytest.fixture
async def sign_in(control_plane: ControlPlane, person: Callable[..., Awaitable[Identity]]) -> SignInRow:
    """By corp, of somebody who is linked to the weak provider as well."""
    ada = await person("ada", "reviewer")
    async with control_plane.units() as uow:
        await control_plane.sign_ins.open(uow, ada, "console", proof=STRONG)
        linked = {"provider": "weak", "subject": "w", "identity_id": ada.id}
        uow.session.add(ExternalAccountRow(**linked, created_at=uow.now, last_used_at=uow.now))
    return await found(control_plane)


async def found(control_plane: ControlPlane) -> SignInRow:
    async with control_plane.units.reading() as uow:
        return (await uow.session.exec(select(SignInRow).where(SignInRow.provider == "corp"))).one()


def weak(clock: ManualClock) -> Told:
    return Told("weak", "w", acr="other", amr=["pwd"], authenticated_at=clock.now())


async def test_another_openid_provider_changes_nothing_of_it(
    control_plane: ControlPlane, sign_in: SignInRow, clock: ManualClock
):
    now = clock.now()
    start = OidcStartRow(
        state_hash="s", browser_hash="b", provider="weak", purpose="again", sign_in_id=sign_in.id, path="/",
        address="", created_at=now, expires_at=now + timedelta(minutes=1),
    )  # fmt: skip
    ada = Principal(sign_in.identity_id, "ada", "person", (), frozenset(), sign_in.id, now, "console", "corp")
    with pytest.raises(NotProvenAgainError) as refused:
        await control_plane.who.oidc.flow._again(start, weak(clock), ada)
    assert refused.value.cause == "the sign-in is not by this provider"
    assert (await found(control_plane)).acr == "strong"


async def test_another_saml_provider_changes_nothing_of_it(
    control_plane: ControlPlane, sign_in: SignInRow, clock: ManualClock
):
    now = clock.now()
    row = SamlRequestRow(
        browser_hash="b", request_id="r", provider="weak", path="/", address="", sign_in_id=sign_in.id,
        created_at=now, expires_at=now + timedelta(minutes=1),
    )  # fmt: skip
    with pytest.raises(NotProvenAgainError) as refused:
        async with control_plane.units() as uow:
            await prove_again(uow, row, weak(clock))
    assert refused.value.cause == "the sign-in is not by this provider"
    assert (await found(control_plane)).acr == "strong"
