"""People, machines and groups over REST."""

from __future__ import annotations

import httpx


async def test_an_admin_creates_a_person_and_sees_it(admin: httpx.AsyncClient):
    made = await admin.post("/v1/identities", json={"name": "ada", "kind": "person", "email": "ada@example.org"})
    assert made.status_code == 201, made.text
    shown = (await admin.get("/v1/identities/ada")).json()
    assert (shown["name"], shown["kind"], shown["able"], shown["groups"]) == ("ada", "person", True, [])


async def test_a_name_is_taken_once(admin: httpx.AsyncClient):
    body = {"name": "ada", "kind": "person"}
    assert (await admin.post("/v1/identities", json=body)).status_code == 201
    again = await admin.post("/v1/identities", json=body)
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
