"""Every route declares who may call it, and a machine's credential reaches nothing that only people may do."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_args

import httpx
import pytest
from fastapi import FastAPI

from control_plane.assembly import ControlPlane
from control_plane.kit.access import (
    BROWSER,
    PROVISIONERS,
    Access,
    CredentialKind,
    Open,
    Permission,
    Principal,
    calls_of,
    open_to_all,
    requires,
)
from control_plane.kit.errors import ForbiddenError
from control_plane.sessions.reports import OpenedReport, Reporter
from data_plane.identifiers import CredentialId, IdentityId
from tests.support.who_may import CHANGES_NOTHING, README, table, written

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
    "GET /v1/acting-tokens": "sees who acts on its behalf",
    "POST /v1/acting-tokens": "says who acts on its behalf, which gives that one no right and bars both from approving",
    "DELETE /v1/acting-tokens/{id}": "takes that back",
    "GET /v1/agents": "watches; reads only",
    "GET /v1/agents/{name}": "watches; reads only",
}
RECORDING = "/v1/sessions/ses_x/recording"
OPEN = {
    "GET /healthz",
    "GET /v1/openapi.json",
    "POST /v1/session",
    "POST /v1/token",
    "GET /v1/ca",
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
    "GET /sign-in/oidc/{provider}",
    "GET /sign-in/oidc/{provider}/callback",
    "POST /sign-in/oidc/{provider}/backchannel-logout",
    "GET /sign-in/saml/{provider}",
    "GET /sign-in/saml/{provider}/metadata",
    "GET /sign-in/saml/{provider}/slo",
    "POST /sign-in/saml/{provider}/acs",
}
FOR_PEOPLE = {
    Permission.REVIEW,
    Permission.BREAK_GLASS,
    Permission.POLICY_EDIT,
    Permission.POLICY_READ,
    Permission.ADMIN,
    Permission.SECRETS,
    Permission.CREDENTIALS,
}
API = ("/v1/", "/scim/", "/healthz", "/sign-in/")


MACHINES = {"key", "workload"}
# Reads, asks and ends: an API token changes nothing that others live by, and takes nobody's decision.
NOT_BY_API_TOKEN = {Permission.REVIEW, Permission.BREAK_GLASS, Permission.PROVISION}
READS_BY_API_TOKEN = {
    Permission.POLICY_READ,
    Permission.POLICY_EDIT,
    Permission.CREDENTIALS,
    Permission.ADMIN,
    Permission.SECRETS,
}


def declared(app: FastAPI) -> dict[str, Access]:
    return {call: one for call, one in calls_of(app.routes).items() if isinstance(one, Access)}


def test_every_route_declares_exactly_one_class(app: FastAPI):
    assert len(calls_of(app.routes)) > 50
    for dependencies in ([], [requires(Permission.SELF, by=BROWSER), open_to_all("why")]):
        other = FastAPI()
        other.get("/nothing", dependencies=dependencies)(lambda: None)
        with pytest.raises(TypeError, match="/nothing"):
            calls_of(other.routes)


def test_what_is_open_to_everybody_is_known_and_has_its_reason(app: FastAPI):
    found = {call: access for call, access in calls_of(app.routes).items() if isinstance(access, Open)}
    assert set(found) == OPEN
    assert all(access.reason for access in found.values())


def test_no_class_for_people_lets_a_machine_through(app: FastAPI):
    reached = [call for call, one in declared(app).items() if one.permission in FOR_PEOPLE and not one.humans_only]
    assert reached == []


def test_machines_are_let_in_where_it_is_known_why(app: FastAPI):
    found = {call for call, one in declared(app).items() if MACHINES.intersection(one.by)}
    assert found == set(MACHINES_MAY)


def test_a_provisioning_client_reaches_what_is_its_own_and_nobody_else_does(app: FastAPI):
    for call, one in declared(app).items():
        assert (one.permission is Permission.PROVISION) == (one.by == PROVISIONERS) == ("scim" in one.by), call


def test_an_api_token_reads_asks_and_ends(app: FastAPI):
    for call, one in declared(app).items():
        if "api-token" in one.by:
            assert one.permission not in NOT_BY_API_TOKEN, call
            assert one.permission not in READS_BY_API_TOKEN or call.startswith("GET ") or call in CHANGES_NOTHING, call


def test_pages_take_a_browsers_sign_in_only(app: FastAPI):
    pages = {call: one for call, one in declared(app).items() if not call.partition(" ")[2].startswith(API)}
    assert len(pages) > 20
    assert {call for call, one in pages.items() if one.by != BROWSER} == set()


@pytest.mark.parametrize("kind", get_args(CredentialKind))
def test_a_credential_of_a_kind_that_is_not_named_is_refused_whatever_its_permissions(app: FastAPI, kind):
    holder = Principal(
        identity=IdentityId("idn_1"), name="all", kind="person", groups=(), permissions=frozenset(Permission),
        credential_id=CredentialId("crd_1"), authenticated_at=datetime(2026, 1, 1, tzinfo=UTC), credential_kind=kind,
    )  # fmt: skip
    for call, one in declared(app).items():
        if kind in one.by:
            one.permit(holder)
        else:
            with pytest.raises(ForbiddenError, match="is not taken here"):
                one.permit(holder)
                pytest.fail(call)


def test_the_readme_says_who_may_do_what(app: FastAPI):
    text = README.read_text()
    made = written(text, table(calls_of(app.routes)))
    assert text == made, "run python -m tests.support.who_may"


async def test_the_description_of_the_api_says_who_may(anonymous: httpx.AsyncClient):
    paths = (await anonymous.get("/v1/openapi.json")).json()["paths"]
    keys = paths["/v1/service-account-keys"]["post"]
    assert (keys["x-permission"], keys["x-credentials"]) == ("credentials", ["console", "cli"])
    assert paths["/healthz"]["get"]["security"] == []


async def test_a_machine_with_every_role_is_stopped_everywhere_else(app: FastAPI, machine: httpx.AsyncClient):
    reached = []
    for call, access in calls_of(app.routes).items():
        method, path = call.split()
        if call in MACHINES_MAY or isinstance(access, Open) or not path.startswith("/v1/"):
            continue
        answer = await machine.request(method, re.sub(r"\{\w+\}", "x", path), json={})
        if answer.status_code != 403:
            reached.append((call, answer.status_code))
    assert reached == []


async def test_pages_do_not_take_a_machines_key(app: FastAPI, machine: httpx.AsyncClient):
    for call, access in calls_of(app.routes).items():
        method, path = call.split()
        if isinstance(access, Access) and not path.startswith("/v1/") and method == "POST":
            answer = await machine.post(re.sub(r"\{\w+\}", "x", path))
            assert answer.status_code == 403, call


def test_the_list_of_what_machines_may_is_not_stale(app: FastAPI):
    assert set(MACHINES_MAY) <= set(calls_of(app.routes))


async def test_nobody_gets_anywhere_without_a_credential(app: FastAPI, anonymous: httpx.AsyncClient):
    for call, access in calls_of(app.routes).items():
        method, path = call.split()
        if isinstance(access, Access) and path.startswith("/v1/"):
            answer = await anonymous.request(method, re.sub(r"\{\w+\}", "x", path), json={})
            assert answer.status_code == 401, call


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (
            "admin",
            {
                "/v1/identities",
                "/v1/policies",
                "/v1/audit",
                "/v1/credentials",
                "/v1/documents/export",
                "/v1/service-account-keys",
            },
        ),
        ("policy-editor", {"/v1/policies", "/v1/documents/export"}),
        ("reviewer", {"/v1/policies"}),
        ("auditor", {"/v1/policies", "/v1/audit", RECORDING}),
        ("requester", {"/v1/credentials"}),
        ("recordings-reader", {RECORDING}),
        ("credential-issuer", {"/v1/service-account-keys"}),
    ],
)
async def test_a_role_reaches_what_is_its_own_and_nothing_else(client_of, admin: httpx.AsyncClient, role, allowed):
    client = await client_of(role)
    paths = {"/v1/identities", "/v1/policies", "/v1/audit", "/v1/credentials", "/v1/documents/export", RECORDING}
    paths |= {"/v1/service-account-keys"}
    answers = {path: (await client.get(path)).status_code for path in paths}
    there = {path: 404 if path == RECORDING else 200 for path in paths}
    assert answers == {path: there[path] if path in allowed else 403 for path in paths}


@pytest.mark.parametrize(
    ("role", "told"), [("reviewer", "yours to read with the permission recordings"), ("auditor", "not arrived yet")]
)
async def test_who_may_see_sessions_does_not_see_by_that_what_happened_in_them(
    app: FastAPI, control_plane: ControlPlane, person, role, told
):
    who = await person(role, role)
    report = OpenedReport("ses_1", 1, "orders", "postgres", "idn_x", "crd_1", "10.0.0.9:1", "psql", 1, "boot")
    async with control_plane.units() as uow:
        await control_plane.sessions.opened(uow, Reporter("demo", "ins_1", "boot"), report)
        opened = await control_plane.sign_ins.open(uow, who, "console")
    cookies = {control_plane.cookies.name: opened.token.reveal()}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://assentry.example.org", cookies=cookies) as seen:
        shown = await seen.get("/sessions/ses_1")
    assert shown.status_code == 200
    assert told in shown.text
