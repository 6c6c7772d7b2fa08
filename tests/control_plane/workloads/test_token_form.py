"""The form of a request for a token: read strictly, refused as RFC 6749 and RFC 8693 say."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

import httpx
import pytest

from control_plane.workloads.asking import ACCESS_TOKEN, ASSERTION, CLIENT, EXCHANGE, JWT, LARGEST, Client, asked_of
from control_plane.workloads.errors import RefusedError

SUBJECT = {"subject_token": "a.b.c", "subject_token_type": JWT}
GOOD = {"grant_type": EXCHANGE, **SUBJECT}
SECRET = {"client_id": "bot", "client_secret": "s"}


def refusal(body: bytes | dict[str, str], authorization: str = "") -> str:
    encoded = body if isinstance(body, bytes) else urlencode(body).encode()
    with pytest.raises(RefusedError) as raised:
        asked_of(encoded, authorization, "")
    return raised.value.code


def test_what_may_be_asked_is_read():
    body = urlencode([*GOOD.items(), ("audience", "a"), ("audience", "b"), ("audience", "a"), ("x", "1"), ("x", "2")])
    asked = asked_of(body.encode(), "", "203.0.113.9")
    assert (asked.grant, asked.targets, asked.subject, asked.client) == ("exchange", ["a", "b"], "a.b.c", None)
    assert "a.b.c" not in repr(asked)


def test_a_clients_header_is_decoded_as_the_standard_says():
    header = "Basic " + b64encode(b"de%2Dploy:se%3Acret%2B").decode()
    asked = asked_of(urlencode({"grant_type": CLIENT}).encode(), header, "")
    assert asked.client == Client("de-ploy", secret="se:cret+")
    assert "cret" not in repr(asked.client)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unsupported_grant_type"),
        (b"\xff", "invalid_request"),
        (b"grant_type", "invalid_request"),
        (b"a=%ff", "invalid_request"),
        (b"a=1&" * 200, "invalid_request"),
        (b"a=" + b"x" * LARGEST, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        ({"grant_type": EXCHANGE}, "invalid_request"),
        ({"grant_type": EXCHANGE, "subject_token": "a.b.c"}, "invalid_request"),
        ({"grant_type": EXCHANGE, "subject_token_type": JWT}, "invalid_request"),
        ({**GOOD, "subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({**GOOD, "actor_token": "a.b.c"}, "invalid_request"),
        ({**GOOD, "actor_token": "a.b.c", "actor_token_type": JWT, **SECRET}, "invalid_request"),
        ({**GOOD, "requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({**GOOD, "scope": "admin"}, "invalid_scope"),
        ({**GOOD, "resource": "https://a.example"}, "invalid_target"),
        ({"grant_type": CLIENT}, "invalid_client"),
        ({"grant_type": CLIENT, "client_id": "bot"}, "invalid_client"),
        ({"grant_type": CLIENT, "client_secret": "s"}, "invalid_request"),
        ({"grant_type": CLIENT, **SECRET, "client_assertion": "a.b.c"}, "invalid_request"),
        ({"grant_type": CLIENT, "client_assertion": "a.b.c"}, "invalid_request"),
        ({"grant_type": CLIENT, "client_assertion": "a.b.c", "client_assertion_type": JWT}, "invalid_request"),
    ],
)
def test_what_may_not_is_refused_with_the_standards_word(body: bytes | dict[str, str], code: str):
    assert refusal(body) == code


@pytest.mark.parametrize("name", ["grant_type", "subject_token", "client_id", "trust"])
def test_what_stands_twice_is_refused(name: str):
    assert refusal(urlencode([*GOOD.items(), (name, "a"), (name, "b")]).encode()) == "invalid_request"


@pytest.mark.parametrize(
    "header", ["Basic x", "Basic " + b64encode(b"bot").decode(), "Basic " + b64encode(b":s").decode()]
)
def test_a_header_that_is_not_well_formed_is_no_client(header: str):
    assert refusal({"grant_type": CLIENT}, header) == "invalid_client"


def test_a_client_proves_itself_in_one_way():
    basic = "Basic " + b64encode(b"bot:s").decode()
    assert refusal({"grant_type": CLIENT, **SECRET}, basic) == "invalid_request"
    assert refusal({"grant_type": CLIENT, "client_id": "other"}, basic) == "invalid_request"
    assertion = {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION}
    assert refusal({"grant_type": CLIENT, **assertion}, basic) == "invalid_request"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_a_form_is_taken_and_no_answer_is_kept(anonymous: httpx.AsyncClient):
    for answer in (
        await anonymous.post("/v1/token", json=GOOD),
        await anonymous.post("/v1/token", content=b"", headers={"content-type": "text/plain"}),
        await anonymous.post("/v1/token", files={"subject_token": b"a.b.c"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert (await anonymous.get("/v1/token")).status_code == 405
    assert ACCESS_TOKEN.startswith("urn:ietf:params:oauth:")
