"""People sign in at a real SimpleSAMLphp: metadata both ways, signed requests, signed and encrypted assertions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.saml.conftest import SignIns
from tests.support.saml import SamlProvider
from tests.support.stack import document

# What is stored is tested in test_answers.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
Acquaint = Callable[..., Awaitable[None]]
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"


async def test_a_person_signs_in_and_is_in_the_groups_that_the_provider_tells(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    answer = await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(path="/approvals")))
    assert (answer.status_code, answer.headers["location"]) == (303, "/approvals")
    who = await sign_ins.session()
    assert (who["name"], who["groups"]) == ("ada", ["dba"])
    [linked] = await sign_ins.audited("identity.linked")
    assert linked["provider"] == "corp"
    opened = (await sign_ins.audited("sign-in.opened"))[-1]
    assert (opened["channel"], opened["provider"]) == ("console", "corp")


async def test_the_same_person_is_the_same_one_again_and_loses_groups_that_the_provider_took(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, another_browser: httpx.AsyncClient
):
    await corp()
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    await sign_ins.provider(saml_provider.metadata_address, groups={"claim": "groups", "map": {"Nobody": "dba"}})
    sign_ins.browser = another_browser
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    who = await sign_ins.session()
    assert (who["name"], who["groups"]) == ("ada", [])


@pytest.mark.parametrize(
    "how",
    [
        {"assertion__encryption": True},
        {"saml20__sign__response": False},
        {"assertion__encryption": True, "saml20__sign__response": False},
        {"signature__algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"},
    ],
)
async def test_however_a_good_provider_signs_and_encrypts_it_is_understood(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, how: dict[str, object]
):
    await corp(saml={"encrypted": "assertion__encryption" in how})
    saml_provider.behaves(**how)
    posted = saml_provider.sign_in(await sign_ins.begin())
    assert (await sign_ins.bring(posted)).status_code == 303
    assert (await sign_ins.session())["name"] == "ada"


@pytest.mark.parametrize(
    ("how", "saml", "cause"),
    [
        ({"signature__algorithm": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, {}, "is not accepted"),
        ({}, {"encrypted": True}, "only encrypted ones are taken"),
        ({"nameid__encryption": True}, {}, "encrypted once more"),
        ({"authproc": [], "NameIDFormat": TRANSIENT}, {}, "another at every sign-in"),
        ({}, {"subject": "employee"}, "'employee'"),
    ],
)
async def test_what_a_provider_does_weakly_is_refused(
    sign_ins: SignIns,
    saml_provider: SamlProvider,
    corp: Acquaint,
    how: dict[str, object],
    saml: dict[str, object],
    cause: str,
):
    await corp(saml=saml)
    saml_provider.behaves(**how)
    posted = saml_provider.sign_in(await sign_ins.begin())
    assert cause in await sign_ins.refused(await sign_ins.bring(posted))


async def test_an_attribute_can_name_the_person_when_the_name_does_not_last(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp(saml={"subject": "uid", "called": "uid"})
    saml_provider.behaves(authproc=[], NameIDFormat=TRANSIENT)
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(), "eve"))
    assert (await sign_ins.session())["name"] == "eve"


async def test_the_provider_takes_only_the_request_that_we_signed(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    address = urlsplit(await sign_ins.begin())
    query = dict(parse_qsl(address.query))
    assert query["SigAlg"].endswith("rsa-sha256")
    for tampered in (
        {key: value for key, value in query.items() if key not in ("Signature", "SigAlg")},
        {**query, "RelayState": "ffffffffffff"},
    ):
        with pytest.raises(AssertionError, match=r"(?i)signature|validat|signed"):
            saml_provider.sign_in(address._replace(query=urlencode(tampered)).geturl())
    assert "SAMLResponse" in saml_provider.sign_in(address.geturl()).fields


# ---------------------------------------------------------------- who is known


async def test_somebody_who_is_disabled_or_unknown_gets_one_and_the_same_answer(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    sign_ins.browser.cookies.clear()
    disabled = document("Identity", "ada", kind="person", email="", disabled=True)
    await sign_ins.apply(disabled)
    answers = [await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))]
    await sign_ins.provider(saml_provider.metadata_address, linking={})
    answers.append(await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(), "eve")))
    assert [one.status_code for one in answers] == [403, 403]
    assert answers[0].text == answers[1].text
    assert (await sign_ins.audited("sign-in.refused"))[-1]["subject"]


@pytest.mark.parametrize("verified", [True, False])
async def test_a_person_who_is_there_is_taken_by_address_only_where_nobody_chooses_it(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, verified: bool
):
    await sign_ins.apply(document("Identity", "lovelace", kind="person", email="ada@example.org"))
    linking = {"by_email": ["example.org"]} if verified else {}
    await corp(saml={"email_verified": verified}, linking=linking)
    answer = await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    assert answer.status_code == (303 if verified else 403)
    if verified:
        assert (await sign_ins.session())["name"] == "lovelace"


async def test_a_context_that_is_demanded_is_asked_for_and_checked(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    """SimpleSAMLphp says what it did, whatever was asked for."""
    await corp(saml={"acr": ["urn:oasis:names:tc:SAML:2.0:ac:classes:X509"]})
    cause = await sign_ins.refused(await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin())))
    assert PASSWORD in cause
    await sign_ins.provider(saml_provider.metadata_address, saml={"acr": [PASSWORD]})
    assert (await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))).status_code == 303


async def test_a_sign_in_is_over_when_the_providers_session_is(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, clock: ManualClock
):
    """SimpleSAMLphp's sessions end after eight hours, ours after twelve."""
    await corp()
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    clock.advance(hours=7, minutes=58)
    assert (await sign_ins.browser.get("/v1/session")).status_code == 200
    clock.advance(minutes=3)
    assert (await sign_ins.browser.get("/v1/session")).status_code == 401


async def test_signing_out_here_needs_nothing_of_the_provider(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    csrf = (await sign_ins.session())["csrf_token"]
    answer = await sign_ins.browser.post("/sign-out", data={"csrf_token": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert (await sign_ins.browser.get("/v1/session")).status_code == 401


# ---------------------------------------------------------------- metadata and keys


async def test_a_new_key_of_the_provider_is_learnt_when_it_is_first_used(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, clock: ManualClock
):
    await corp()
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    saml_provider.add_key("second")
    saml_provider.behaves(privatekey="second.key", certificate="second.crt")
    sign_ins.browser.cookies.clear()
    posted = saml_provider.sign_in(await sign_ins.begin())
    assert "Signature validation failed" in await sign_ins.refused(await sign_ins.bring(posted))  # asked just now
    clock.advance(seconds=31)
    assert (await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))).status_code == 303


async def test_metadata_that_stands_in_the_document_is_not_asked_for(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, clock: ManualClock
):
    await corp()
    await sign_ins.provider(saml_provider.metadata())
    assert (await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))).status_code == 303
    saml_provider.add_key("third")
    saml_provider.behaves(privatekey="third.key", certificate="third.crt")
    clock.advance(seconds=31)
    sign_ins.browser.cookies.clear()
    posted = saml_provider.sign_in(await sign_ins.begin())
    assert "Signature validation failed" in await sign_ins.refused(await sign_ins.bring(posted))


async def test_metadata_that_is_signed_by_whom_the_document_names_is_taken(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    saml_provider.behaves(metadata__sign__enable=True, metadata__sign__privatekey="first.key",
                          metadata__sign__certificate="first.crt")  # fmt: skip
    await corp(saml={"signed_by": (saml_provider.folder / "cert" / "first.crt").read_text()})
    assert (await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))).status_code == 303
    saml_provider.add_key("stranger")
    stranger = (saml_provider.folder / "cert" / "stranger.crt").read_text()
    await sign_ins.provider(saml_provider.metadata_address, saml={"signed_by": stranger})
    assert (await sign_ins.browser.get("/sign-in/saml/corp")).status_code == 503
    assert "not by the certificate" in (await sign_ins.audited("sign-in.refused"))[-1]["cause"]


async def test_a_provider_that_cannot_be_asked_is_told_from_one_that_there_is_not(sign_ins: SignIns):
    await sign_ins.provider("http://127.0.0.1:9/metadata")
    assert (await sign_ins.browser.get("/sign-in/saml/corp")).status_code == 503
    assert (await sign_ins.browser.get("/sign-in/saml/nobody")).status_code == 404
    assert (await sign_ins.browser.get("/sign-in/saml/nobody/metadata")).status_code == 404
    await sign_ins.provider("http://127.0.0.1:9/metadata", disabled=True)
    assert (await sign_ins.browser.get("/sign-in/saml/corp")).status_code == 404
