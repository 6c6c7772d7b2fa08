"""Somebody signs out at the provider: their sign-ins here end, and nobody else can say that they did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from lxml import etree

from control_plane.sign_on.saml_logout import read
from control_plane.sign_on.saml_redirects import LARGEST, Opened, opened, redirect
from control_plane.sign_on.saml_requests import logout_response, place
from control_plane.sign_on.saml_xml import SAML, SAMLP, XmlRefusedError
from tests.control_plane.sign_on.saml import forging
from tests.control_plane.sign_on.saml.conftest import SignIns
from tests.control_plane.sign_on.saml.forging import ENTITY, NOW, at, described
from tests.support.saml import SamlProvider

Acquaint = Callable[..., Awaitable[None]]
LEAVING = "https://assentry.example.org/sign-in/saml/corp/slo"


# ---------------------------------------------------------------- with the real provider


async def lead(sign_ins: SignIns, there: httpx.Client, url: str) -> tuple[httpx.Response, str]:
    """The browser goes where the provider sends it, until that is here; what we answer, and the address it came to."""
    answer = there.get(url, follow_redirects=False)
    while answer.is_redirect and not answer.headers["location"].startswith("https://assentry.example.org"):
        answer = there.get(answer.headers["location"], follow_redirects=False)
    assert answer.is_redirect, answer.text[:2000]
    parts = urlsplit(answer.headers["location"])
    return await sign_ins.browser.get(f"{parts.path}?{parts.query}"), answer.headers["location"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_signing_out_at_the_provider_ends_the_sign_in_and_what_was_made_with_it(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    with saml_provider.browser() as there:
        await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(), browser=there))
        assert (await sign_ins.session())["name"] == "ada"
        out = f"{saml_provider.address}/simplesaml/saml2/idp/initSLO.php"
        answer, came = await lead(sign_ins, there, f"{out}?RelayState={quote(saml_provider.address)}")
        assert (await sign_ins.browser.get("/v1/session")).status_code == 401
        assert answer.status_code == 303
        assert there.get(answer.headers["location"]).status_code < 500  # the provider reads our answer
        again = urlsplit(came)
        assert (await sign_ins.browser.get(f"{again.path}?{again.query}")).status_code == 403
    [told] = await sign_ins.audited("identity.signed-out")
    assert told["reason"] == "signed out at corp"
    assert "used before" in (await sign_ins.audited("logout.refused"))[-1]["cause"]


# ---------------------------------------------------------------- forged


def request(
    *,
    destination: str = LEAVING,
    issued_at: str = at(),
    issuer: str = ENTITY,
    until: str = at(minutes=5),
    named: str = "<saml:NameID>ada</saml:NameID>",
    root: str = "LogoutRequest",
) -> bytes:
    return (
        f'<samlp:{root} xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="_out" Version="2.0" IssueInstant="{issued_at}" '
        f'Destination="{destination}" NotOnOrAfter="{until}"><saml:Issuer>{issuer}</saml:Issuer>{named}'
        f"<samlp:SessionIndex>_session</samlp:SessionIndex></samlp:{root}>"
    ).encode()


def query(message: bytes = b"", key: str = "provider") -> str:
    return urlsplit(redirect(LEAVING, message or request(), forging.pair(key), relay="back")).query


def leave(text: str) -> Any:
    brought = opened(text, "SAMLRequest", described().keys)
    return read(brought, described(), LEAVING, NOW)


def test_what_the_provider_signed_is_read():
    asked = leave(query())
    assert (asked.id, asked.subject, asked.sessions) == ("_out", "ada", ("_session",))
    assert opened(query(), "SAMLRequest", described("next", "provider").keys).relay == "back"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda text: text.replace("RelayState=back", "RelayState=evil"), "signature is wrong"),
        (lambda text: text.replace("RelayState=back&", ""), "signature is wrong"),
        (lambda text: text.partition("&Signature=")[0], "no signed SAMLRequest"),
        (lambda text: text.replace("SAMLRequest", "SAMLResponse"), "no signed SAMLRequest"),
        (lambda text: f"SAMLRequest=AAAA&{text}", "twice"),
        (lambda text: f"{text}&SigAlg=x", "twice"),
        (lambda text: text.replace("rsa-sha256", "rsa-sha1"), "is not accepted"),
        (lambda text: text.replace("rsa-sha256", "ecdsa-sha256"), "signature is wrong"),
        (lambda text: text.partition("&Signature=")[0] + "&Signature=%21", "not base64"),
        (lambda _: query(key="mallory"), "signature is wrong"),
        (lambda _: "", "no signed SAMLRequest"),
    ],
)
def test_an_address_that_the_provider_did_not_sign_is_refused(change: Callable[[str], str], cause: str):
    with pytest.raises(XmlRefusedError, match=cause):
        leave(change(query()))


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (request(destination="https://elsewhere.example.com/slo"), "meant for"),
        (request(issuer="https://other.example.com"), "somebody else"),
        (request(issued_at=at(minutes=-10)), "just now"),
        (request(issued_at=at(minutes=10)), "just now"),
        (request(until=at(minutes=-2)), "time is over"),
        (request(named=""), "names nobody"),
        (request(named="<saml:NameID/>"), "names nobody"),
        (request(named="<saml:NameID>a</saml:NameID><saml:NameID>b</saml:NameID>"), "names nobody"),
        (request(named="<saml:EncryptedID/>"), "names nobody"),
        (request(root="AuthnRequest"), "no samlp:LogoutRequest"),
        (b"<!DOCTYPE a>" + request(), "DTD"),
        (request(named="<saml:NameID>ada<!-- -->.evil</saml:NameID>"), "a comment"),
    ],
)
def test_a_request_that_is_not_for_us_now_is_refused(message: bytes, cause: str):
    with pytest.raises(XmlRefusedError, match=cause):
        leave(query(message))


@pytest.mark.parametrize("extra", [b" " * LARGEST, b" " * 50_000_000], ids=["a-little", "a-bomb"])
def test_a_message_that_unpacks_to_too_much_is_not_unpacked(extra: bytes):
    with pytest.raises(XmlRefusedError, match="more than"):
        leave(query(request() + extra))


def test_a_name_of_another_space_is_not_taken_for_one_of_ours():
    asked = read(
        Opened(request(named='<saml:NameID NameQualifier="https://behind">ada</saml:NameID>'), ""),
        described(),
        LEAVING,
        NOW,
    )
    assert asked.subject == "https://behind!ada"


def test_what_we_answer_is_packed_as_it_should_be():

    message = logout_response("_a", "_out", place("https://assentry.example.org", "corp"), f"{ENTITY}/slo", NOW)
    sent = redirect(f"{ENTITY}/slo", message, forging.pair("provider"), "SAMLResponse", "back")
    found = opened(urlsplit(sent).query, "SAMLResponse", described().keys)
    assert found == Opened(message, "back")
    assert etree.fromstring(found.message).get("InResponseTo") == "_out"
