"""The audit log in the database and over REST."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control_plane.assembly import ControlPlane
from control_plane.audit.chain import GENESIS, entry_hash
from control_plane.audit.repository import entry_of, following
from control_plane.audit.verification import verify
from control_plane.config import Settings
from control_plane.kit.unit_of_work import SYSTEM, Actor, AuditEvent, Units
from tests.control_plane.audit.batches import batch
from tests.control_plane.conftest import QUICK, ManualClock

ADA = Actor("idn_ada", "ada", "person")


async def write(units: Units, *events: AuditEvent) -> None:
    async with units() as uow:
        for event in events:
            uow.audit(event)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET kind = 'x'",
        "DELETE FROM audit_entries",
        "UPDATE audit_checkpoints SET hash = 'x'",
        "DELETE FROM audit_checkpoints",
        "DELETE FROM document_versions",
    ],
)
async def test_the_database_refuses_to_change_what_was_written(control_plane: ControlPlane, statement: str):
    await write(control_plane.units, AuditEvent("a.done", SYSTEM, "x"))
    async with control_plane.units() as uow:
        await control_plane.audit.checkpoint(uow)
    await _add_a_version(control_plane)
    with pytest.raises(DBAPIError, match="append-only"):
        async with control_plane.units() as uow:
            await (await uow.session.connection()).execute(text(statement))


async def _add_a_version(control_plane: ControlPlane) -> None:
    insert = "INSERT INTO document_versions VALUES ('Policy', 'p', 1, '{}', '2026-01-01', 'ada', 'idn_ada')"
    async with control_plane.units() as uow:
        await (await uow.session.connection()).execute(text(insert))


async def test_postgresql_refuses_to_truncate(control_plane: ControlPlane):
    if control_plane.database.single_writer:
        return
    with pytest.raises(DBAPIError, match="append-only"):
        async with control_plane.units() as uow:
            await (await uow.session.connection()).execute(text("TRUNCATE audit_entries"))


async def test_two_replicas_cannot_fork_the_chain(control_plane: ControlPlane, settings: Settings, clock: ManualClock):
    other = ControlPlane(settings, clock, QUICK)
    await other.open()
    try:
        event = AuditEvent("a.done", SYSTEM, "x")
        both = [write(one.units, event, event) for one in (control_plane, other) for _ in range(15)]
        await asyncio.gather(*both)
    finally:
        await other.close()
    async with control_plane.units.reading() as uow:
        rows = await following(uow.session, 0, 1000, 1000)
    previous = GENESIS
    for number, row in enumerate(rows, start=1):
        assert row.sequence == number
        previous = entry_hash(previous, entry_of(row))
        assert row.hash == previous.hex()
    assert len(rows) == 60


async def test_an_auditor_searches(control_plane: ControlPlane, auditor: httpx.AsyncClient, clock: ManualClock):
    await write(control_plane.units, AuditEvent("policy.updated", ADA, "prod", {"version": 2}))
    clock.advance(hours=1)
    await write(control_plane.units, AuditEvent("policy.deleted", SYSTEM, "prod"), AuditEvent("mask.created", ADA, "m"))

    async def kinds(**query: str) -> list[str]:
        answer = await auditor.get("/v1/audit", params=query)
        assert answer.status_code == 200, answer.text
        return [item["kind"] for item in answer.json()["items"]]

    assert await kinds(kind="policy.") == ["policy.deleted", "policy.updated"]
    assert await kinds(kind="policy.updated") == ["policy.updated"]
    assert await kinds(actor="ada") == ["mask.created", "policy.updated"]
    assert await kinds(actor="idn_ada", subject="m") == ["mask.created"]
    assert await kinds(subject="prod", since="2026-03-01T12:30:00Z") == ["policy.deleted"]
    assert await kinds(subject="prod", until="2026-03-01T12:30:00Z") == ["policy.updated"]


async def test_pages_follow_one_another(control_plane: ControlPlane, auditor: httpx.AsyncClient):
    await write(control_plane.units, *(AuditEvent("a.done", SYSTEM, str(number)) for number in range(5)))
    seen: list[str] = []
    query: dict[str, str] = {"kind": "a.done", "limit": "2"}
    while True:
        page = (await auditor.get("/v1/audit", params=query)).json()
        seen += [item["subject"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ["4", "3", "2", "1", "0"]


async def test_the_export_over_rest_verifies_and_is_itself_audited(
    auditor: httpx.AsyncClient, control_plane: ControlPlane
):
    answer = await auditor.get("/v1/audit/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    keys = {key.key_id: key.raw for key in control_plane.keys.public_keys()}
    found = verify(answer.content.splitlines(), keys)
    assert found.problems == ()
    assert b"audit.exported" in answer.content


async def test_an_export_from_the_middle_verifies_too(auditor: httpx.AsyncClient, control_plane: ControlPlane):
    keys = {key.key_id: key.raw for key in control_plane.keys.public_keys()}
    await auditor.get("/v1/audit/checkpoint")
    answer = await auditor.get("/v1/audit/export", params={"first_sequence": 2})
    found = verify(answer.content.splitlines(), keys)
    assert found.problems == ()
    assert found.first_sequence == 2


async def test_a_batch_of_decisions_is_one_row_and_many_events(auditor: httpx.AsyncClient, control_plane: ControlPlane):
    await write(control_plane.units, batch(1000))
    [shown] = (await auditor.get("/v1/audit", params={"kind": "operation.decided"})).json()["items"]
    assert [decision["operation"] for decision in shown["decisions"]] == list(range(1, 1001))
    assert shown["decisions"][0] == {
        "operation": 1,
        "at": "2026-03-01T12:00:00Z",
        "effect": "allow",
        "action": "read",
        "rules": ["p/r"],
        "code": "",
    }
    keys = {key.key_id: key.raw for key in control_plane.keys.public_keys()}
    found = verify((await auditor.get("/v1/audit/export")).content.splitlines(), keys)
    assert (found.problems, found.unreadable) == ((), ())
    assert found.events == found.entries + 999


async def test_a_page_of_very_many_decisions_is_shorter_and_goes_on(
    auditor: httpx.AsyncClient, control_plane: ControlPlane
):
    await write(control_plane.units, *(batch(4000) for _ in range(4)))
    page = (await auditor.get("/v1/audit", params={"kind": "operation.decided"})).json()
    assert len(page["items"]) == 3
    query = {"kind": "operation.decided", "cursor": page["next_cursor"]}
    rest = (await auditor.get("/v1/audit", params=query)).json()
    assert [len(item["decisions"]) for item in rest["items"]] == [4000]
    assert rest["next_cursor"] is None


async def test_a_batch_that_is_not_what_was_told_is_shown_as_unreadable(
    auditor: httpx.AsyncClient, control_plane: ControlPlane
):
    lie = {**batch(3).data, "allowed": 2, "denied": 1}
    await write(control_plane.units, AuditEvent("operation.decided", SYSTEM, "ses_1", lie, batch(3).sealed))
    [shown] = (await auditor.get("/v1/audit", params={"kind": "operation.decided"})).json()["items"]
    assert shown["decisions"] == []
    assert "what was told" in shown["unreadable"]
    keys = {key.key_id: key.raw for key in control_plane.keys.public_keys()}
    found = verify((await auditor.get("/v1/audit/export")).content.splitlines(), keys)
    assert found.intact
    assert "what was told" in found.unreadable[0].message


async def test_text_that_databases_and_utf8_refuse_is_kept_readable(
    auditor: httpx.AsyncClient, control_plane: ControlPlane
):
    odd = Actor("idn_x", "a\0b\ud800", "person")
    await write(control_plane.units, AuditEvent("odd.done", odd, "s\0", {"text": "\0\ud800"}))
    shown = (await auditor.get("/v1/audit", params={"kind": "odd.done"})).json()["items"][0]
    assert shown["actor"]["name"] == "a\\x00b\\ud800"
    assert shown["subject"] == "s\\x00"
    assert shown["data"] == {"text": "\0\\ud800"}


async def test_a_checkpoint_of_the_same_end_is_the_same(auditor: httpx.AsyncClient):
    first = (await auditor.get("/v1/audit/checkpoint")).json()
    assert (await auditor.get("/v1/audit/checkpoint")).json() == first


async def test_an_export_from_beyond_the_end_is_not_found(auditor: httpx.AsyncClient):
    assert (await auditor.get("/v1/audit/export", params={"first_sequence": 10_000})).status_code == 404


async def test_others_do_not_see_the_log(reviewer: httpx.AsyncClient, anonymous: httpx.AsyncClient):
    assert (await reviewer.get("/v1/audit")).status_code == 403
    assert (await anonymous.get("/v1/audit/export")).status_code == 401
