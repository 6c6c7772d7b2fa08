"""The report: what everybody has access by, what they use of what they hold, and what deserves a look."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from control_plane.access_reviews.domain import Finding, Kind, Known, Thing, examined
from control_plane.access_reviews.uses import EVERY
from control_plane.approvals.tables import ApprovalRow, VoteRow
from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.kit.access import Permission
from control_plane.sessions.reports import OpenedReport, Reporter
from data_plane.identifiers import CredentialId, IdentityId
from tests.control_plane.access_reviews.conftest import Bearer, identity
from tests.control_plane.conftest import ManualClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
F = Finding


async def line(admin: httpx.AsyncClient, name: str) -> dict[str, Any]:
    found = (await admin.get("/v1/identities/report")).json()["items"]
    return next(dict(one) for one in found if one["name"] == name)


def person(**changes: Any) -> Identity:
    fields: dict[str, Any] = {"name": "ada", "kind": "person", "email": "", "owner_id": None, "owner": ""}
    fields |= {"disabled": False, "able": True, "groups": (), "roles": frozenset()}
    return Identity(id=IdentityId("idn_1"), **{**fields, **changes})


def machine(**changes: Any) -> Identity:
    return person(kind="machine", owner_id=IdentityId("idn_2"), owner="lin", **changes)


def request_with_vote(identity_id: str, at_ms: int) -> tuple[ApprovalRow, VoteRow]:
    texts = ("instance_id", "session_id", "target", "environment", "requester_id", "credential_id", "action", "policy")
    empty = dict.fromkeys([*texts, "rule", "chain", "fingerprint", "shape"], "")
    request = ApprovalRow(
        id="apr_1", card_id="apr_1", short_code="ABCD", state="executed", ticket=False, barred="[]", policy_version=1,
        operation_digest=b"", shown="{}", shown_digest=b"", requested_at_ms=at_ms, approve_by_ms=at_ms, **empty,
    )  # fmt: skip
    vote = VoteRow(
        approval_id="apr_1", identity_id=identity_id, name="reviewer", verb="approve", stage=0, at_ms=at_ms,
        channel="slack", credential_id="slack:U1", shown_digest=b"",
    )  # fmt: skip
    return request, vote


def days(number: float) -> datetime:
    return NOW - timedelta(days=number)


@pytest.mark.parametrize(
    ("who", "known", "used", "expected"),
    [
        (person(), Known(days(400), days(1)), {}, []),
        (person(), Known(days(400), days(91)), {}, [F.DORMANT]),
        (person(), Known(days(400), None), {}, [F.NEVER_USED]),
        (person(), Known(days(5), None), {}, []),
        (person(disabled=True, able=False), Known(days(400), None), {}, [F.DISABLED]),
        (machine(), Known(days(1), days(0)), {}, [F.NO_END, F.NO_PURPOSE]),
        (machine(purpose="x", ends_at=NOW), Known(days(1), days(0)), {}, []),
        (machine(purpose="x", ends_at=NOW, able=False), Known(days(1), days(0)), {}, [F.OWNER_GONE]),
        (person(roles=frozenset({"requester"})), Known(days(400), days(1)), {}, []),
        (person(roles=frozenset({"reviewer"})), Known(days(400), days(1)), {}, [F.UNUSED_PRIVILEGES]),
        (person(roles=frozenset({"reviewer"})), Known(days(5), days(1)), {}, []),
        (
            person(roles=frozenset({"reviewer"})),
            Known(days(400), days(1)),
            {Permission.REVIEW: days(2), Permission.SESSIONS: days(3)},
            [],
        ),
        (
            person(roles=frozenset({"reviewer"})),
            Known(days(400), days(1)),
            {Permission.REVIEW: days(2), Permission.SESSIONS: days(91)},
            [F.UNUSED_PRIVILEGES],
        ),
    ],
)
def test_what_deserves_a_look_about_somebody(
    who: Identity, known: Known, used: dict[str, datetime], expected: list[Finding]
):
    assert examined(who, known, used, [], NOW).findings == expected


@pytest.mark.parametrize(
    ("who", "age", "last", "rotates", "expected"),
    [
        (machine(), 10, 1, True, []),
        (machine(), 91, 1, True, [F.NEVER_ROTATED]),
        (machine(), 91, 1, False, []),
        (machine(), 10, None, True, []),
        (machine(), 31, None, True, [F.NEVER_USED]),
        (machine(), 200, 91, False, [F.DORMANT]),
        (machine(able=False), 10, 1, True, [F.OWNER_GONE]),
    ],
)
def test_what_deserves_a_look_about_a_thing(
    who: Identity, age: float, last: float | None, rotates: bool, expected: list[Finding]
):
    thing = Thing(
        kind=Kind.KEY, id="key_1", identity_id="idn_1", description="", created_at=days(age), rotates=rotates,
        last_used_at=None if last is None else days(last),
    )  # fmt: skip
    assert examined(who, Known(days(1), NOW), {}, [thing], NOW).findings_of["key_1"] == expected


def test_what_was_not_used_is_told_by_name():
    access = examined(person(roles=frozenset({"auditor"})), Known(days(400), NOW), {Permission.AUDIT: NOW}, [], NOW)
    assert access.unused == ["recordings", "sessions"]
    assert dict(access.used) == {"audit": NOW}


async def test_a_machine_is_shown_with_its_owner_and_all_that_it_has(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, key: dict[str, str]
):
    made = await Bearer(anonymous, key["key"]).post("/v1/tokens", targets=["*"])
    await control_plane.who.access_reviews.uses.write()
    shown = await line(admin, "bot")
    assert (shown["kind"], shown["owner"], shown["purpose"], shown["able"]) == ("machine", "lin", "migrates", True)
    assert shown["permissions"] == ["request", "self"]
    assert [(one["kind"], one["id"]) for one in shown["things"]] == [
        ("service-account-key", key["id"]),
        ("credential", made.json()["credential_id"]),
    ]
    assert shown["last_seen_at"] == shown["things"][0]["last_used_at"] == shown["used"]["request"]
    assert (shown["findings"], shown["things"][0]["findings"]) == ([], [])


async def test_what_is_over_is_not_shown(admin: httpx.AsyncClient, key: dict[str, str]):
    assert (await admin.delete(f"/v1/service-account-keys/{key['id']}")).is_success
    assert (await line(admin, "bot"))["things"] == []


async def test_a_session_at_an_agent_is_a_use_too(
    admin: httpx.AsyncClient, control_plane: ControlPlane, key: dict[str, str]
):
    bot = await identity(control_plane, "bot")
    at_ms = int(datetime(2026, 2, 28, tzinfo=UTC).timestamp() * 1000)
    report = OpenedReport("ses_1", at_ms, "orders", "postgres", bot.id, "crd_1", "10.0.0.9:1", "psql", 1, "boot")
    async with control_plane.units() as uow:
        await control_plane.sessions.opened(uow, Reporter("demo", "ins_1", "boot"), report)
    shown = await line(admin, "bot")
    assert shown["last_seen_at"] == shown["used"]["request"] == "2026-02-28T00:00:00Z"
    assert key


async def test_what_is_approved_in_a_chat_is_a_use_too(
    admin: httpx.AsyncClient, reviewer: httpx.AsyncClient, control_plane: ControlPlane
):
    """A vote stands with its request, through whatever channel it came."""
    rosa = await identity(control_plane, "reviewer")
    at_ms = int(datetime(2026, 2, 27, tzinfo=UTC).timestamp() * 1000)
    request, vote = request_with_vote(rosa.id, at_ms)
    async with control_plane.units() as uow:
        uow.session.add(request)
        await uow.session.flush()
        uow.session.add(vote)
    shown = await line(admin, "reviewer")
    assert shown["last_seen_at"] == shown["used"]["review"] == "2026-02-27T00:00:00Z"
    assert reviewer


async def test_who_was_seen_is_written_once_an_hour_and_not_on_the_way(
    admin: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock
):
    uses = control_plane.who.access_reviews.uses
    assert (await admin.get("/v1/identities")).is_success
    assert (await line(admin, "admin"))["last_seen_at"] is None, "the request has written nothing"
    await uses.write()
    first = (await line(admin, "admin"))["used"]
    assert set(first) == {"admin", "audit"}
    clock.advance(minutes=59)
    assert (await admin.get("/v1/identities")).is_success
    await uses.write()
    assert (await line(admin, "admin"))["used"]["admin"] == first["admin"]
    clock.advance(seconds=EVERY.total_seconds())
    assert (await admin.get("/v1/identities")).is_success
    await uses.write()
    assert (await line(admin, "admin"))["used"]["admin"] > first["admin"]


async def test_what_is_refused_is_no_use(
    requester: httpx.AsyncClient, admin: httpx.AsyncClient, control_plane: ControlPlane
):
    assert (await requester.get("/v1/identities")).status_code == 403
    await control_plane.who.access_reviews.uses.write()
    assert (await line(admin, "requester"))["used"] == {}


async def test_somebody_who_is_gone_by_then_is_passed_over(control_plane: ControlPlane, admin: httpx.AsyncClient):
    made = await admin.post("/v1/identities", json={"name": "ada", "kind": "person"})
    ada = await identity(control_plane, "ada")
    uses = control_plane.who.access_reviews.uses
    uses.note(ada.principal(CredentialId("sin_1"), "cli", NOW), Permission.AUDIT)
    assert (await admin.delete("/v1/identities/ada")).is_success
    await uses.write()
    assert made.is_success


async def test_the_report_is_in_pages_and_whole_as_a_file(admin: httpx.AsyncClient, key: dict[str, str]):
    first = (await admin.get("/v1/identities/report", params={"limit": 2})).json()
    rest = (await admin.get("/v1/identities/report", params={"cursor": first["next_cursor"]})).json()
    names = [one["name"] for one in [*first["items"], *rest["items"]]]
    assert names == ["admin", "bot", "lin"]
    told = await admin.get("/v1/identities/report/export", params={"format": "json"})
    assert [json.loads(row)["name"] for row in told.text.splitlines()] == names
    told = await admin.get("/v1/identities/report/export")
    assert told.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(told.text)))
    assert [(row["identity"], row["kind"]) for row in rows] == [
        ("admin", "identity"),
        ("admin", "sign-in"),
        ("bot", "identity"),
        ("bot", "service-account-key"),
        ("lin", "identity"),
    ]
    assert rows[3]["id"] == key["id"]


async def test_no_cell_of_a_spreadsheet_is_a_formula(admin: httpx.AsyncClient, key: dict[str, str]):
    rows = list(csv.DictReader(io.StringIO((await admin.get("/v1/identities/report/export")).text)))
    assert next(row["description"] for row in rows if row["id"] == key["id"]) == "'=CI"


@pytest.mark.parametrize("path", ["/v1/identities/report", "/v1/identities/report/export"])
async def test_the_report_is_for_auditors(client_of: Any, path: str):
    answers = {role: (await (await client_of(role)).get(path)).status_code for role in ("auditor", "reviewer")}
    assert answers == {"auditor": 200, "reviewer": 403}
