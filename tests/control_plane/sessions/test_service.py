"""Sessions as agents report them, and what people may see and end of them."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import zstandard

from control_plane.audit import repository as audit
from control_plane.audit.sealed import Decision, opened
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


async def decide(world: World, *reports: DecisionsReport, reporter: Reporter = REPORTER) -> None:
    async with world.units() as uow:
        await world.sessions.decisions(uow, reporter, reports)


Entry = tuple[int, int, str, str, list[str], str]  # operation, at_ms, effect, action, rules, code


def batch(*entries: Entry, session_id: str = "ses_1") -> DecisionsReport:
    """As an agent makes it."""
    effects = Counter(entry[2] for entry in entries)
    packed = zstandard.compress(msgspec.msgpack.encode(entries))
    told = (effects["allow"], effects["hold"], effects["deny"])
    return DecisionsReport(session_id, entries[0][0], entries[-1][0], len(entries), *told, packed)


def allowed(operation: int) -> Entry:
    return operation, 1000, "allow", "read", ["p/reads"], ""


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


async def test_every_decision_is_in_one_sealed_audit_event(world: World) -> None:
    """Invariant 8: who, what and by which rule, for each; the text stays in the recording."""
    await world.open_session()
    report = batch(
        (1, 1000, "allow", "read", ["p/reads"], ""),
        (2, 1001, "deny", "ddl", ["p/never"], "POLICY"),
        (3, 1002, "hold", "write", ["p/writes"], ""),
    )
    await decide(world, report)
    entry = audit.entry_of((await world.audited("operation.decided"))[0])
    assert entry.sealed == report.entries
    found = opened(entry.sealed, entry.data)
    assert isinstance(found, tuple)
    assert found[1] == Decision(2, 1001, "deny", "ddl", ("p/never",), "POLICY")
    row = await row_of(world)
    assert (row.allowed, row.denied, row.held, row.operations) == (1, 1, 1, 3)


async def test_batches_of_many_sessions_are_counted_each_for_its_own(world: World) -> None:
    await world.open_session()
    await world.open_session("ses_2")
    await decide(
        world,
        batch(allowed(1), allowed(2)),
        batch(allowed(1), session_id="ses_2"),
        batch(allowed(3)),
        batch(allowed(1), session_id="ses_unknown"),
    )
    first, second = await row_of(world), await row_of(world, "ses_2")
    assert (first.allowed, first.operations, second.allowed, second.operations) == (3, 3, 1, 1)
    assert await world.audited_kinds("session.unknown") == ["session.unknown-reported"]


async def test_another_agent_s_decisions_are_not_taken(world: World) -> None:
    await world.open_session()
    await decide(world, batch(allowed(1)), reporter=Reporter("other", "ins_other", "boot-1"))
    assert (await row_of(world)).allowed == 0
    assert await world.audited("operation.decided") == []


async def test_a_session_that_closes_after_its_decisions_keeps_its_counts(world: World) -> None:
    """In one transaction, as its reports come."""
    await world.open_session()
    async with world.units() as uow:
        assert await world.sessions.listed(uow, world.principal("ada", "auditor"), Filter(), Paging())
        await world.sessions.decisions(uow, REPORTER, [batch(allowed(1), allowed(2))])
        await world.sessions.closed(uow, REPORTER, ClosedReport("ses_1", world.clock.ms, "client-closed", 2, b"h" * 32))
    row = await row_of(world)
    assert (row.allowed, row.operations, row.close_reason) == (2, 2, "client-closed")


async def test_a_batch_that_cannot_be_what_it_is_told_to_be_is_audited_and_not_counted(world: World) -> None:
    await world.open_session()
    good = batch(allowed(1))
    bomb = zstandard.compress(bytes(65 << 20))
    await decide(
        world,
        msgspec.structs.replace(good, entries=b"not zstd"),
        msgspec.structs.replace(good, entries=bomb),
        msgspec.structs.replace(good, entries=bytes(3 << 20)),
        msgspec.structs.replace(good, denied=7),
        msgspec.structs.replace(good, count=0, allowed=0),
    )
    events = await world.audited("session.decisions-unreadable")
    assert all(len(json.loads(event.data)["sha256"]) == 64 for event in events)
    kept = [event.sealed for event in events]
    assert kept == [b"not zstd", bomb, None, good.entries, good.entries]  # by its hash only when it is very large
    assert (await row_of(world)).allowed == 0


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
