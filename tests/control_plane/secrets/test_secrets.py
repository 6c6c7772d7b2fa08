"""Secrets over REST and console: written, described, deleted, and never read back. On both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.audit.tables import AuditRow
from control_plane.documents.tables import DocumentVersionRow
from control_plane.kit.idempotency import IdempotencyRow
from control_plane.secrets.tables import SecretRow

VALUE = "a value of this test alone"


def target(name: str, secret: str, **spec: Any) -> dict[str, Any]:
    fixed = {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "127.0.0.1:5432"}
    return {
        "apiVersion": "assentry.dev/v1",
        "kind": "Target",
        "metadata": {"name": name},
        "spec": {**fixed, "credential": {"secret": secret}, **spec},
    }


async def kept(admin: httpx.AsyncClient, name: str = "orders", value: str = VALUE, **headers: str) -> httpx.Response:
    return await admin.put(f"/v1/secrets/{name}", json={"value": value}, headers=headers)


async def audited(control_plane: ControlPlane, prefix: str = "secret") -> list[tuple[str, str, Any]]:
    async with control_plane.units.reading() as uow:
        rows = (await uow.session.exec(select(AuditRow).order_by(AuditRow.sequence))).all()
    return [(row.kind, row.subject, json.loads(row.data)) for row in rows if row.kind.startswith(prefix)]


async def whole_database(control_plane: ControlPlane) -> bytes:
    """Every value of every row."""
    found = []
    async with control_plane.units.reading() as uow:
        for table in SecretRow.metadata.sorted_tables:
            rows = (await uow.session.exec(text(f'SELECT * FROM "{table.name}"'))).all()  # type: ignore[call-overload]
            found += [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row]
    return b"\n".join(found)


# ---------------------------------------------------------------- REST


async def test_a_value_goes_in_and_nothing_gives_it_back(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    browser_of: Callable[[str], Awaitable[httpx.AsyncClient]],
    anonymous: httpx.AsyncClient,
) -> None:
    made = await kept(admin, **{"Idempotency-Key": "again"})
    assert (made.status_code, made.headers["etag"], made.json()["version"]) == (200, '"1"', 1)
    answers = [
        made,
        await admin.get("/v1/secrets"),
        await admin.get("/v1/secrets/orders"),
        await admin.get("/v1/sealing"),
        await admin.get("/v1/audit"),
        await admin.get("/v1/documents/export"),
        await (await browser_of("admin")).get("/secrets"),
        await anonymous.get("/v1/openapi.json"),
    ]
    assert all(one.is_success for one in answers)
    assert all(VALUE not in one.text for one in answers)
    assert VALUE.encode() not in await whole_database(control_plane)
    async with control_plane.units.reading() as uow:
        for table in (IdempotencyRow, DocumentVersionRow):
            assert (await uow.session.exec(select(table))).all() == []


async def test_what_is_known_of_a_secret_is_told_to_those_who_keep_them_only(
    client_of: Callable[[str], Awaitable[httpx.AsyncClient]], machine: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    assert (await kept(admin)).is_success
    for role in ("policy-editor", "reviewer", "auditor", "requester", "break-glass"):
        client = await client_of(role)
        told = [await client.get("/v1/secrets"), await client.get("/v1/secrets/orders"), await kept(client)]
        told += [await client.get("/v1/sealing"), await client.post("/v1/secrets/rewrap"), await client.get("/secrets")]
        assert {one.status_code for one in told} == {403}, role
    told = [await machine.get("/v1/secrets/orders"), await kept(machine), await machine.post("/v1/secrets/rewrap")]
    assert {one.status_code for one in told} == {403}, "a machine with every role"


async def test_who_overwrites_says_what_was_seen(admin: httpx.AsyncClient) -> None:
    assert (await kept(admin, **{"If-Match": '"1"'})).status_code == 412
    assert (await kept(admin)).is_success
    assert (await kept(admin)).status_code == 428
    assert (await kept(admin, **{"If-Match": '"7"'})).status_code == 412
    again = await kept(admin, **{"If-Match": '"1"'})
    assert (again.json()["version"], again.headers["etag"]) == (2, '"2"')
    assert (await kept(admin, **{"If-Match": "*"})).json()["version"] == 3


async def test_of_writers_at_the_same_moment_each_version_has_one(admin: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(kept(admin, value=f"value {number}") for number in range(5)))
    assert {one.status_code for one in answers} <= {200, 428, 412, 409}
    assert len([one for one in answers if one.status_code == 200]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"value": ""},
        {"value": VALUE * 1000},
        {"value": [VALUE]},
        {"value": VALUE, VALUE: 1},
        {},
        {"value": f"{VALUE}\0"},
    ],
)
async def test_a_refusal_repeats_no_value(admin: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await admin.put("/v1/secrets/orders", json=body)
    assert answer.status_code == 422
    told = answer.json()
    told["errors"] = [one["message"] for one in told["errors"]]
    assert VALUE not in json.dumps(told)
    torn = await admin.put(
        "/v1/secrets/orders", content=f'{{"value": "{VALUE}', headers={"content-type": "application/json"}
    )
    assert torn.status_code == 422
    assert VALUE not in torn.text


async def test_a_version_never_means_two_values(control_plane: ControlPlane, admin: httpx.AsyncClient) -> None:
    await kept(admin)
    assert (await admin.delete("/v1/secrets/orders")).status_code == 428
    assert (await admin.delete("/v1/secrets/orders", headers={"If-Match": '"1"'})).status_code == 204
    assert (await admin.get("/v1/secrets/orders")).status_code == 404
    assert (await admin.get("/v1/secrets")).json()["items"] == []
    async with control_plane.units.reading() as uow:
        row = await uow.session.get(SecretRow, "orders")
        assert row is not None
        assert (row.sealed, row.wrapped_key) == (b"", b"")
    assert (await kept(admin)).json()["version"] == 2
    kinds = [(kind, data["version"]) for kind, _, data in await audited(control_plane)]
    assert kinds == [("secret.written", 1), ("secret.deleted", 1), ("secret.written", 2)]


async def test_a_target_names_only_secrets_that_there_are_and_keeps_them(admin: httpx.AsyncClient) -> None:
    unknown = await admin.put("/v1/targets/orders", json=target("orders", "orders"))
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["path"] == "$.documents[0].spec.credential.secret"
    assert "assentry secrets set orders" in unknown.text
    planned = await admin.post("/v1/documents/plan", json={"documents": [target("orders", "orders")]})
    assert planned.status_code == 422
    await kept(admin)
    assert (await admin.put("/v1/targets/orders", json=target("orders", "orders"))).is_success
    assert (await admin.get("/v1/secrets/orders")).json()["targets"] == ["orders"]
    refused = await admin.delete("/v1/secrets/orders", headers={"If-Match": "*"})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "the secret 'orders' is used by orders: change that first",
    )
    freed = await admin.put("/v1/targets/orders", json=target("orders", ""), headers={"If-Match": "*"})
    assert freed.is_success
    assert (await admin.delete("/v1/secrets/orders", headers={"If-Match": "*"})).status_code == 204


async def test_of_a_document_and_a_deletion_at_the_same_moment_one_gives_way(admin: httpx.AsyncClient) -> None:
    for number in range(5):
        await kept(admin, f"race{number}")
        put, deleted = await asyncio.gather(
            admin.put(f"/v1/targets/race{number}", json=target(f"race{number}", f"race{number}")),
            admin.delete(f"/v1/secrets/race{number}", headers={"If-Match": "*"}),
        )
        assert (put.is_success, deleted.is_success) in {(True, False), (False, True)}


# ---------------------------------------------------------------- console


async def in_browser(control_plane: ControlPlane, person: Callable[..., Awaitable[Any]], app: Any) -> httpx.AsyncClient:
    identity = await person("keeper", "admin")
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, identity, "console")
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
        base_url="https://assentry.example.org",
        cookies={control_plane.cookies.name: opened.token.reveal()},
    )


async def test_the_console_seals_what_its_form_sends_and_shows_nothing_of_it(
    control_plane: ControlPlane, person: Callable[..., Awaitable[Any]], app: Any
) -> None:
    async with await in_browser(control_plane, person, app) as browser:
        token = (await browser.get("/secrets")).text.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"csrf_token": token, "name": "orders", "value": VALUE}
        assert (await browser.post("/secrets", data={**form, "csrf_token": "x"})).status_code == 403
        assert (await browser.post("/secrets", data=form)).status_code == 303
        refused = await browser.post("/secrets", data=form)
        assert refused.status_code == 428
        assert (await browser.post("/secrets", data={**form, "replace": "true"})).status_code == 303
        long = await browser.post("/secrets", data={**form, "value": VALUE * 1000})
        assert long.status_code == 422
        shown = await browser.get("/secrets")
    assert "orders" in shown.text
    assert "no-store" in shown.headers["cache-control"]
    assert all(VALUE not in one.text for one in (refused, long, shown))
    assert [data["version"] for _, _, data in await audited(control_plane)] == [1, 2]
