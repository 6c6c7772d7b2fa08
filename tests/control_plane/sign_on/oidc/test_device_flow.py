"""The provider's own device flow, against the real provider."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import SignInRefusedError
from control_plane.sign_on.oidc_device import DeviceBegun, NotYetTold, OidcDevice
from control_plane.sign_on.oidc_errors import NoDeviceFlowError, NoSuchProviderError
from tests.control_plane.sign_on.oidc.signing_in import Corp
from tests.control_plane.sign_on.saml.test_metadata import metadata
from tests.support.stack import document


@pytest.fixture
async def device(corp: Corp) -> OidcDevice:
    await corp.ready(oidc={"device": True})
    return corp.control_plane.who.oidc.device


async def approved(corp: Corp, begun: DeviceBegun, name: str) -> None:
    assert await asyncio.to_thread(corp.there.approve, begun.uri, begun.user_code, name) == "approved"


async def test_who_approves_at_the_provider_is_told(corp: Corp, device: OidcDevice):
    ada = corp.person("ada", "DBA Team")
    begun = await device.begin("corp")
    assert begun.complete_uri.startswith(begun.uri)
    assert await device.poll("corp", begun.handle) is NotYetTold.PENDING
    await approved(corp, begun, ada)
    told = await device.poll("corp", begun.handle)
    assert isinstance(told, Told)
    assert (told.subject, told.groups, bool(told.refresh)) == (ada, ["DBA Team"], True)
    async with corp.control_plane.units() as uow:
        opened = await corp.control_plane.who.sign_on.open(uow, await device.spec("corp"), told, "cli")
    assert opened.identity.name == ada


async def test_a_handle_tells_once(corp: Corp, device: OidcDevice):
    begun = await device.begin("corp")
    await approved(corp, begun, corp.person("ada"))
    await device.poll("corp", begun.handle)
    with pytest.raises(SignInRefusedError):
        await device.poll("corp", begun.handle)
    assert "invalid_grant" in await corp.cause()


async def test_who_refuses_at_the_provider_is_not_told(corp: Corp, device: OidcDevice):
    begun = await device.begin("corp")
    await asyncio.to_thread(corp.there.refuse, begun.uri, begun.user_code)
    assert await device.poll("corp", begun.handle) is NotYetTold.DENIED


async def test_a_provider_without_leave_has_no_device_flow(corp: Corp):
    await corp.ready()
    told = r"'corp' has no device flow here \(`oidc: {device: true}`\); use `assentry login`"
    with pytest.raises(NoDeviceFlowError, match=told):
        await corp.control_plane.who.oidc.device.begin("corp")
    saml = {"metadata": metadata(), "email_verified": True}
    assert (await corp.apply(document("IdentityProvider", "corp", saml=saml))).is_success
    with pytest.raises(NoDeviceFlowError, match="'corp' has no device flow here"):
        await corp.control_plane.who.oidc.device.begin("corp")


async def test_a_provider_that_nobody_signs_in_at_has_none_either(corp: Corp, device: OidcDevice):
    await corp.apply(corp.document(oidc={"device": True}, disabled=True))
    for name in ("corp", "nobody"):
        with pytest.raises(NoSuchProviderError):
            await device.begin(name)


async def test_a_provider_that_announces_none_is_refused_with_its_cause(corp: Corp, device: OidcDevice):
    await corp.apply(corp.document(oidc={"device": True, "issuer": "http://127.0.0.1:9"}))
    with pytest.raises(SignInRefusedError):
        await device.begin("corp")
    assert "cannot be asked" in await corp.cause()
