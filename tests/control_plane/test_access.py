"""Every route declares who may call it, and a machine's credential reaches nothing that only people may do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from control_plane.kit.access import Access, Open, Permission

# Nothing here depends on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# What a machine may call, and why; everything else is for people (DESIGN invariant 5).
MACHINES_MAY = {
    "GET /v1/session": "sees who it is",
    "POST /v1/tokens": "trades its key for a shorter credential of its own",
    "POST /v1/client-certificates": "trades its key for a shorter credential of its own",
    "POST /v1/ssh-certificates": "trades its key for a shorter credential of its own",
    "GET /v1/target-names": "sees what there is to connect to",
    "GET /v1/audit": "collects the log; reads only",
    "GET /v1/audit/export": "collects the log; reads only",
    "GET /v1/audit/checkpoint": "collects the log; has its end signed",
    "GET /v1/audit/public-keys": "collects the log; public",
    "GET /v1/approvals": "sees its own requests; decides nothing",
    "GET /v1/approvals/events": "waits for news of its own requests; decides nothing",
    "GET /v1/approvals/{approval_id}": "sees its own requests; decides nothing",
    "GET /v1/approvals/{approval_id}/comments": "sees what is said of its own requests",
    "POST /v1/approvals/{approval_id}/comments": "answers on its own requests; decides nothing",
    "POST /v1/approvals/{approval_id}/withdraw": "takes its own request back; lets nothing through",
    "POST /v1/plans": "asks people beforehand; lets nothing through by itself",
    "GET /v1/plans": "sees its own plans; decides nothing",
    "GET /v1/plans/{plan_id}": "sees its own plans; decides nothing",
    "GET /v1/offered-access": "sees what it may ask for",
    "POST /v1/access-requests": "asks people beforehand; lets nothing through by itself",
    "GET /v1/access-requests": "sees its own requests; decides nothing",
    "GET /v1/access-requests/{request_id}": "sees its own requests; decides nothing",
    "POST /v1/access-requests/{request_id}/end": "gives its own access back",
    "GET /v1/sessions": "watches; reads only",
    "GET /v1/sessions/{session_id}": "watches; reads only",
    "GET /v1/sessions/{session_id}/timeline": "watches; reads only, and that is audited",
    "GET /v1/sessions/{session_id}/recording": "keeps a copy elsewhere; reads only, and that is audited",
    "GET /v1/sessions/{session_id}/recording/verification": "verifies; reads only",
    "POST /v1/sessions/{session_id}/terminate": "ends what it finds suspicious; lets nothing through",
    "GET /v1/accounts": "watches; reads only",
    "GET /v1/agents": "watches; reads only",
    "GET /v1/agents/{name}": "watches; reads only",
}
OPEN = {
    "GET /healthz",
    "GET /v1/openapi.json",
    "POST /v1/session",
    "GET /v1/ssh-ca",
    "GET /v1/ssh-ca/revoked",
    "POST /v1/device",
    "POST /v1/device/token",
    "POST /v1/webhooks/{channel}/decisions",
    "POST /v1/slack/interactions",
    "GET /sign-in",
    "POST /sign-in",
    "GET /sign-in/link",
    "POST /sign-in/link",
}
FOR_PEOPLE = {
    Permission.REVIEW,
    Permission.BREAK_GLASS,
    Permission.POLICY_EDIT,
    Permission.POLICY_READ,
    Permission.ADMIN,
    Permission.SECRETS,
}


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    """Included routers stay as they are; this walks into them."""
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            yield route
        pending += getattr(getattr(route, "original_router", None), "routes", [])


def access_of(dependant: Dependant) -> list[Access | Open]:
    mine = [dependant.call] if isinstance(dependant.call, Access | Open) else []
    return mine + [one for inner in dependant.dependencies for one in access_of(inner)]


def calls_of(app: FastAPI) -> dict[str, Access | Open]:
    return {
        f"{method} {route.path}": access
        for route in routes_of(app)
        for access in access_of(route.dependant)
        for method in route.methods
    }


def test_every_route_declares_exactly_one_class(app: FastAPI):
    found = {f"{sorted(route.methods)} {route.path}": len(access_of(route.dependant)) for route in routes_of(app)}
    assert len(found) > 50
    assert {path: count for path, count in found.items() if count != 1} == {}


def test_what_is_open_to_everybody_is_known_and_has_its_reason(app: FastAPI):
    found = {call: access for call, access in calls_of(app).items() if isinstance(access, Open)}
    assert set(found) == OPEN
    assert all(access.reason for access in found.values())


def test_no_class_for_people_lets_a_machine_through(app: FastAPI):
    for call, access in calls_of(app).items():
        if isinstance(access, Access) and access.permission in FOR_PEOPLE:
            assert access.humans_only, call


async def test_a_machine_with_every_role_is_stopped_everywhere_else(app: FastAPI, machine: httpx.AsyncClient):
    reached = []
    for call, access in calls_of(app).items():
        method, path = call.split()
        if call in MACHINES_MAY or isinstance(access, Open) or not path.startswith("/v1/"):
            continue
        answer = await machine.request(method, re.sub(r"\{\w+\}", "x", path), json={})
        if answer.status_code != 403:
            reached.append((call, answer.status_code))
    assert reached == []


async def test_pages_do_not_take_a_machines_key(app: FastAPI, machine: httpx.AsyncClient):
    for call, access in calls_of(app).items():
        method, path = call.split()
        if isinstance(access, Access) and not path.startswith("/v1/") and method == "POST":
            answer = await machine.post(re.sub(r"\{\w+\}", "x", path))
            assert answer.status_code == 403, call


def test_the_list_of_what_machines_may_is_not_stale(app: FastAPI):
    assert set(MACHINES_MAY) <= set(calls_of(app))


async def test_nobody_gets_anywhere_without_a_credential(app: FastAPI, anonymous: httpx.AsyncClient):
    for call, access in calls_of(app).items():
        method, path = call.split()
        if isinstance(access, Access) and path.startswith("/v1/"):
            answer = await anonymous.request(method, re.sub(r"\{\w+\}", "x", path), json={})
            assert answer.status_code == 401, call


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("admin", {"/v1/identities", "/v1/policies", "/v1/audit", "/v1/credentials", "/v1/documents/export"}),
        ("policy-editor", {"/v1/policies", "/v1/documents/export"}),
        ("reviewer", {"/v1/policies"}),
        ("auditor", {"/v1/policies", "/v1/audit"}),
        ("requester", {"/v1/credentials"}),
    ],
)
async def test_a_role_reaches_what_is_its_own_and_nothing_else(client_of, admin: httpx.AsyncClient, role, allowed):
    client = await client_of(role)
    paths = {"/v1/identities", "/v1/policies", "/v1/audit", "/v1/credentials", "/v1/documents/export"}
    answers = {path: (await client.get(path)).status_code for path in paths}
    assert answers == {path: 200 if path in allowed else 403 for path in paths}
