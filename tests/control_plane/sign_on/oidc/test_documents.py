"""Documents of identity providers: what they may say, and the secret that one needs."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.secrets.tables import SecretDeliveryRow
from tests.control_plane.sign_on.oidc.signing_in import Corp


@pytest.mark.parametrize(
    ("oidc", "path", "message"),
    [
        ({"issuer": "http://id.example.com"}, "issuer", "is an https address"),
        ({"issuer": "https://id.example.com/?a=b"}, "issuer", "is an https address"),
        ({"issuer": "https://id.example.com#x"}, "issuer", "is an https address"),
        ({"issuer": "javascript:alert(1)"}, "issuer", "is an https address"),
        ({"client_id": ""}, "client_id", "is what the provider calls"),
        ({"scopes": ["profile"]}, "scopes", "has openid among them"),
        ({"scopes": ["openid", "a b"]}, "scopes[1]", "is one word"),
        ({"client_secret": "missing"}, "client_secret", "assentry secrets set missing"),
    ],
)
async def test_what_a_provider_cannot_be_is_told_where(corp: Corp, oidc: dict[str, Any], path: str, message: str):
    await corp.ready()
    answer = await corp.apply(corp.document("new", oidc))
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["path"] == f"$.documents[0].spec.oidc.{path}"
    assert message in error["message"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"oidc": None}, "$.documents[0].spec"),
        ({"groups": {"map": {"DBA": "nobodys"}}}, "$.documents[0].spec.groups.map[DBA]"),
        ({"linking": {"by_email": ["*.example.com"]}}, "$.documents[0].spec.linking.by_email[0]"),
        ({"linking": {"by_email": ["example"]}}, "$.documents[0].spec.linking.by_email[0]"),
        ({"linking": {"by_email": ["a@example.com"]}}, "$.documents[0].spec.linking.by_email[0]"),
    ],
)
async def test_rules_that_lead_nowhere_are_told(corp: Corp, spec: dict[str, Any], path: str):
    await corp.ready()
    document = corp.document("new")
    document["spec"] = {name: value for name, value in {**document["spec"], **spec}.items() if value is not None}
    answer = await corp.apply(document)
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [path]


async def test_a_clients_secret_is_not_a_targets_too(corp: Corp):
    await corp.ready()
    fixed = {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "127.0.0.1:5432"}
    spec = {**fixed, "credential": {"secret": "corp-client"}}
    target = {"apiVersion": "assentry.dev/v1", "kind": "Target", "metadata": {"name": "orders"}, "spec": spec}
    answer = await corp.apply(target)
    assert answer.status_code == 422
    assert "use another one" in answer.text


def _target(secret: str) -> dict[str, Any]:
    fixed = {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "127.0.0.1:5432"}
    spec = {**fixed, "credential": {"secret": secret}}
    return {"apiVersion": "assentry.dev/v1", "kind": "Target", "metadata": {"name": "orders"}, "spec": spec}


async def test_no_provider_is_sent_what_a_target_is_signed_in_to_with_until_this_very_change(corp: Corp):
    await corp.ready()
    for name in ("pw", "other"):
        assert (await corp.admin.put(f"/v1/secrets/{name}", json={"value": "DB-PASSWORD"})).is_success
    assert (await corp.apply(_target("pw"))).is_success
    evil = corp.document("evil", {"issuer": "https://evil.example", "client_secret": "pw"})
    answer = await corp.apply(_target("other"), evil)
    assert (answer.status_code, "the target 'orders' is signed in to with" in answer.text) == (422, True)


async def test_no_provider_is_sent_what_an_agent_was_ever_given_for_a_target(corp: Corp):
    await corp.ready()
    assert (await corp.admin.put("/v1/secrets/pw", json={"value": "DB-PASSWORD"})).is_success
    async with corp.control_plane.units() as uow:
        uow.session.add(SecretDeliveryRow(secret="pw", agent="demo", target="gone", version=1, at=uow.now))
    answer = await corp.apply(corp.document("evil", {"issuer": "https://evil.example", "client_secret": "pw"}))
    assert (answer.status_code, "an agent was given 'pw'" in answer.text) == (422, True)


async def test_no_agent_is_given_what_a_provider_knows_us_by_until_this_very_change(corp: Corp):
    await corp.ready()
    answer = await corp.apply(_target("corp-client"), corp.document("corp", {"client_secret": ""}))
    assert (answer.status_code, "the provider 'corp' knows us by" in answer.text) == (422, True)


async def test_a_secret_that_a_provider_needs_is_not_deleted(corp: Corp):
    await corp.ready()
    path = "/v1/secrets/corp-client"
    known = (await corp.admin.get(path)).headers["etag"]
    answer = await corp.admin.delete(path, headers={"if-match": known})
    assert answer.status_code == 409
    assert "is used by the provider corp: change that first" in answer.json()["detail"]


async def test_only_an_admin_says_who_is_trusted(corp: Corp, client_of):
    await corp.ready()
    editor = await client_of("policy-editor")
    answer = await editor.post("/v1/documents/apply", json={"documents": [corp.document("new")]})
    assert answer.status_code == 403


async def test_the_sign_in_page_leads_to_the_provider(corp: Corp):
    await corp.ready(title="Example Corp")
    page = await corp.here.get("/sign-in?next=/sessions")
    assert 'href="/sign-in/oidc/corp?next=/sessions"' in page.text
    assert "Sign in with Example Corp" in page.text
