"""Sessions as agents report them, and what people may see and end of them."""

from __future__ import annotations

import json

import msgspec
import zstandard

from control_plane.audit import repository as audit
from control_plane.kit.events import News
from control_plane.kit.pagination import Paging
from control_plane.sessions.reports import ClosedReport, DecisionsReport, RefusedReport, Reporter
from control_plane.sessions.repository import Filter
from control_plane.sessions.service import TERMINATE
from control_plane.sessions.tables import SessionRow
from tests.control_plane.world import REPORTER, World


async def row_of(world: World, session_id: str = "ses_1") -> SessionRow:
    async with world.units.reading() as uow:
        row = await uow.session.get(SessionRow, session_id, populate_existing=True)
    assert row is not None
    return row


async def close(world: World, session_id: str = "ses_1", reporter: Reporter = REPORTER) -> None:
    report = ClosedReport(session_id, world.clock.ms, "client-closed", 12, b"h" * 32)
    async with world.units() as uow:
        await world.sessions.closed(uow, reporter, report)


async def decide(world: World, entries: bytes, session_id: str = "ses_1") -> None:
    async with world.units() as uow:
        await world.sessions.decisions(uow, REPORTER, DecisionsReport(session_id, 1, 3, entries))


def packed(*entries: list[object]) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(entries))


async def test_from_opened_to_closed(world: World) -> None:
    await world.open_session()
    row = await row_of(world)
    assert (row.requester_name, row.owner_id, row.environment) == ("bot", "idn_owner", "production")
    assert row.closed_at_ms is None
    await close(world)
    row = await row_of(world)
    assert (row.close_reason, row.operations, row.recording_hash) == ("client-closed", 12, b"h" * 32)
    assert await world.audited_kinds("session.") == ["session.opened", "session.closed"]


async def test_what_a_client_says_of_itself_may_be_long_and_odd(world: World) -> None:
    await world.open_session(application_name="psql\0\u202e" * 500)
    assert (await row_of(world)).application_name == "psql\u202e" * 500


async def test_an_id_is_not_used_twice(world: World) -> None:
    await world.open_session()
    await world.open_session(requester_id="idn_ada")
    assert (await row_of(world)).requester_id == "idn_bot"
    assert (await world.audited_kinds("session."))[-1] == "session.id-reused"


async def test_another_agent_cannot_end_it(world: World) -> None:
    await world.open_session()
    await close(world, reporter=Reporter("other", "ins_other", "boot-1"))
    assert (await row_of(world)).closed_at_ms is None
    assert (await world.audited_kinds("session."))[-1] == "session.unknown-reported"


async def test_every_decision_is_a_part_of_one_audit_event(world: World) -> None:
    """Invariant 8: who, what and by which rule, for each; the text stays in the recording."""
    await world.open_session()
    await decide(
        world,
        packed(
            [1, 1000, "allow", "read", ["p/reads"], ""],
            [2, 1001, "deny", "ddl", ["p/never"], "POLICY"],
            [3, 1002, "hold", "write", ["p/writes"], ""],
        ),
    )
    event = (await world.audited("operation.decided"))[0]
    assert event.part_count == 3
    parts = audit.entry_of(event).parts
    assert parts[1] == {
        "operation": 2,
        "at_ms": 1001,
        "effect": "deny",
        "action": "ddl",
        "rules": ["p/never"],
        "code": "POLICY",
    }
    row = await row_of(world)
    assert (row.allowed, row.denied, row.held, row.operations) == (1, 1, 1, 3)


async def test_a_batch_that_cannot_be_read_is_audited_by_its_hash(world: World) -> None:
    await world.open_session()
    for entries in (b"not zstd", zstandard.compress(b"\xc1"), zstandard.compress(bytes(65 << 20))):
        await decide(world, entries)
    events = await world.audited("session.decisions-unreadable")
    assert len(events) == 3
    assert all(len(json.loads(event.data)["sha256"]) == 64 for event in events)


async def test_a_refused_connection_is_in_the_audit_log(world: World) -> None:
    async with world.units() as uow:
        await world.sessions.refused(uow, REPORTER, RefusedReport(world.clock.ms, "orders", "expired", "10.0.0.1:1"))
    event = (await world.audited("session.refused"))[0]
    assert json.loads(event.data)["reason"] == "expired"


# ------------------------------------------------------------------ restarts


async def test_what_an_agent_no_longer_has_open_is_over(world: World) -> None:
    for session_id in ("ses_1", "ses_2"):
        await world.open_session(session_id)
    async with world.units() as uow:
        await world.sessions.reconcile(uow, REPORTER, ["ses_2"])
    assert (await row_of(world, "ses_1")).close_reason == "agent-restarted"
    assert (await row_of(world, "ses_2")).closed_at_ms is None


async def test_the_agent_s_own_word_replaces_what_was_inferred(world: World) -> None:
    await world.open_session()
    async with world.units() as uow:
        await world.sessions.reconcile(uow, REPORTER, [])
    await close(world)
    assert (await row_of(world)).close_reason == "client-closed"


async def test_a_session_of_an_older_boot_is_over_when_it_is_told(world: World) -> None:
    await world.open_session(boot_id="boot-0")
    assert (await row_of(world)).close_reason == "agent-restarted"


# ------------------------------------------------------------------ people


async def listed(world: World, name: str, role: str, wanted: Filter | None = None) -> list[str]:
    async with world.units.reading() as uow:
        rows, _ = await world.sessions.listed(uow, world.principal(name, role), wanted or Filter(), Paging())
    return [row.id for row in rows]


async def test_everybody_sees_their_own_and_those_with_the_permission_see_all(world: World) -> None:
    await world.open_session()
    await world.open_session("ses_2", requester_id="idn_eve", target="orders", at_ms=world.clock.ms + 1)
    assert await listed(world, "ada", "reviewer") == ["ses_2", "ses_1"]
    assert await listed(world, "eve", "requester") == ["ses_2"]
    assert await listed(world, "owner", "requester") == ["ses_1"]
    assert await listed(world, "bob", "requester") == []
    assert await listed(world, "ada", "auditor", Filter(requester="bot")) == ["ses_1"]
    await close(world)
    assert await listed(world, "ada", "auditor", Filter(open=True)) == ["ses_2"]


async def test_ending_a_session_reaches_its_agent_and_is_told_again_after_a_reconnect(world: World) -> None:
    await world.open_session()
    async with world.events.subscribe(TERMINATE) as news:
        async with world.units() as uow:
            assert await world.sessions.terminate(uow, "ses_1", world.principal("ada").actor, "odd") is not None
        told = await news.get()
        while told.topic != TERMINATE:
            told = await news.get()
        assert told == News(TERMINATE, "ses_1")
    async with world.units.reading() as uow:
        assert await world.sessions.terminations(uow, REPORTER.instance_id) == [("ses_1", "odd")]
    await close(world)
    async with world.units() as uow:
        assert await world.sessions.terminations(uow, REPORTER.instance_id) == []
        assert await world.sessions.terminate(uow, "ses_1", world.principal("ada").actor, "odd") is None
