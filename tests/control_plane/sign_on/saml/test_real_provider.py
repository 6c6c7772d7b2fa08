"""People sign in at a real SimpleSAMLphp: metadata both ways, signed requests, signed and encrypted assertions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.control_plane.sign_on.saml.conftest import SignIns
from tests.support.saml import SamlProvider

Acquaint = Callable[..., Awaitable[None]]
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"


async def test_a_person_signs_in_and_is_in_the_groups_that_the_provider_tells(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    answer = await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(path="/approvals")))
    assert (answer.status_code, answer.headers["location"]) == (303, "/approvals")
    who = await sign_ins.session()
    assert (who["name"], who["groups"]) == ("ada", ["dba"])
