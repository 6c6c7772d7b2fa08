"""Documents of identity providers: what they may say, and the secret that one needs."""

from __future__ import annotations

from typing import Any

import pytest

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
