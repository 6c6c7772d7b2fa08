"""Taking reports in: each once, in order, none holding up the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
import zstandard

from control_plane.accounts.service import AccountService
from control_plane.agents import repository
from control_plane.agents.domain import Agent, Hello, Notice, Numbered
from control_plane.agents.errors import End, StreamEndedError
from control_plane.agents.reports import ReportIntake, reporter
from control_plane.agents.tables import AgentRow
from control_plane.approvals.domain import Outcome
from control_plane.approvals.reports import DecidedAnswer, PendingAnswer
from control_plane.sessions.reports import ClosedReport, DecisionsReport, OpenedReport
from tests.control_plane.world import World

HELLO = Hello("demo", "inst_1", "boot_1", "0.1.0", (), 0, 1, (), (), ())


class Intake:
    """One agent and its instance, before any report."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.intake = ReportIntake(world.approvals, world.sessions, AccountService())
        self.agent = Agent("agt_1", "demo", world.clock.now() + timedelta(days=1))

    async def greet(self, hello: Hello = HELLO, agent: Agent | None = None) -> int:
        async with self.world.units() as uow:
            return await self.intake.greet(uow, agent or self.agent, hello)

    async def take(self, *batch: tuple[int, object]):
        async with self.world.units() as uow:
            numbered = [Numbered(number, report) for number, report in batch]
            return await self.intake.take(uow, reporter(self.agent, HELLO), numbered)

    async def notices(self) -> list[str]:
        return [json.loads(row.data)["text"] for row in await self.world.audited("agent.notice")]

    def opened(self, session_id: str = "ses_1") -> OpenedReport:
        return OpenedReport(
            session_id, self.world.clock.ms, "orders", "postgres", "idn_bot", "crd_1", "10.0.0.1:1", "psql", 1, "boot_1"
        )


@pytest.fixture
async def intake(world: World) -> AsyncIterator[Intake]:
    async with world.units() as uow:
        uow.session.add(AgentRow(id="agt_1", name="demo", created_at=uow.now))
    made = Intake(world)
    await made.greet()
    return made


async def test_a_batch_that_is_sent_again_changes_nothing(intake: Intake) -> None:
    batch = [(number, Notice("n", str(number))) for number in (1, 2, 3)]
    assert (await intake.take(*batch))[0] == 3
    assert (await intake.take(*batch))[0] == 3
    assert (await intake.take(*batch, (4, Notice("n", "4"))))[0] == 4
    assert await intake.notices() == ["1", "2", "3", "4"]
    assert await intake.greet() == 4


async def test_a_gap_ends_the_stream_and_takes_nothing(intake: Intake) -> None:
    with pytest.raises(StreamEndedError, match="report 2 is missing") as ended:
        await intake.take((1, Notice("n", "1")), (3, Notice("n", "3")))
    assert ended.value.end is End.CONFUSED
    assert await intake.notices() == []
    assert await intake.greet() == 0


async def test_reports_that_an_agent_has_lost_are_in_the_audit_log(intake: Intake) -> None:
    lost = Hello("demo", "inst_1", "boot_2", "0.1.0", (), 0, 8, (), (), ())
    assert await intake.greet(lost) == 7
    assert json.loads((await intake.world.audited("agent.reports-lost"))[0].data) == {"from": 1, "to": 7}


async def test_a_report_that_fails_half_way_leaves_nothing_of_itself(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = intake.world.sessions.opened

    async def opened_then_failed(uow, who, report) -> None:
        await genuine(uow, who, report)
        raise ValueError("afterwards")

    monkeypatch.setattr(intake.world.sessions, "opened", opened_then_failed)
    through, answers = await intake.take((1, intake.opened()), (2, Notice("n", "after")))
    assert (through, answers) == (2, [])
    assert await intake.world.audited("session.") == []
    kinds = [row.kind for row in await intake.world.audited("agent.")]
    assert kinds == ["agent.report-rejected", "agent.notice"]


async def test_trouble_with_the_database_takes_nothing_so_that_it_is_sent_again(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    async def away(*_) -> None:
        raise OperationalError("SELECT", {}, Exception("connection lost"))

    with monkeypatch.context() as patched:
        patched.setattr(intake.world.sessions, "opened", away)
        with pytest.raises(OperationalError):
            await intake.take((1, Notice("n", "1")), (2, intake.opened()))
    assert await intake.notices() == []
    assert (await intake.take((1, Notice("n", "1")), (2, intake.opened())))[0] == 2
    assert await intake.notices() == ["1"]


def decided(session_id: str = "ses_1", operation: int = 1) -> DecisionsReport:
    entries = zstandard.compress(msgspec.msgpack.encode([(operation, 1000, "allow", "read", ["p/r"], "")]))
    return DecisionsReport(session_id, operation, operation, 1, 1, 0, 0, entries)


async def test_batches_of_decisions_that_follow_one_another_are_taken_together(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, runs = intake.world.sessions.decisions, []

    async def counted(uow, who, reports) -> None:
        runs.append([report.first_operation for report in reports])
        await genuine(uow, who, reports)

    monkeypatch.setattr(intake.world.sessions, "decisions", counted)
    batch = [decided(operation=number) for number in (1, 2, 3, 4)]
    reports = [intake.opened(), *batch[:2], Notice("n", "between"), *batch[2:]]
    assert (await intake.take(*enumerate(reports, 1)))[0] == 6
    assert runs == [[1, 2], [3, 4]]
    assert len(await intake.world.audited("operation.decided")) == 4


async def test_sessions_that_are_opened_one_after_the_other_are_taken_together(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, runs = intake.world.sessions.opened, []

    async def counted(uow, who, *reports) -> None:
        runs.append([report.session_id for report in reports])
        await genuine(uow, who, *reports)

    monkeypatch.setattr(intake.world.sessions, "opened", counted)
    opened = [msgspec.structs.replace(intake.opened(), session_id=f"ses_{number}") for number in (1, 2, 2, 3)]
    reports = [*opened[:3], Notice("n", "between"), opened[3]]
    assert (await intake.take(*enumerate(reports, 1)))[0] == 5
    assert runs == [["ses_1", "ses_2", "ses_2"], ["ses_3"]]
    told = [(row.kind, row.subject) for row in await intake.world.audited("session.")]
    assert sorted(told) == [("session.id-reused", "ses_2"), *(("session.opened", f"ses_{n}") for n in (1, 2, 3))]


async def test_that_an_id_is_used_again_is_audited_after_the_opening_that_has_it(intake: Intake) -> None:
    await intake.take((1, intake.opened("ses_a")), (2, intake.opened("ses_a")))
    told = [row.kind for row in await intake.world.audited("session.")]
    assert told == ["session.opened", "session.id-reused"]


async def test_a_session_that_cannot_be_taken_does_not_hold_up_those_beside_it(intake: Intake) -> None:
    opened = [msgspec.structs.replace(intake.opened(), session_id=f"ses_{number}") for number in (1, 2, 3)]
    opened[1] = msgspec.structs.replace(opened[1], at_ms=2**64 - 1)
    assert (await intake.take(*enumerate(opened, 1)))[0] == 3
    assert [row.subject for row in await intake.world.audited("session.opened")] == ["ses_1", "ses_3"]
    [rejected] = await intake.world.audited("agent.report-rejected")
    assert json.loads(rejected.data)["number"] == 2


async def test_one_batch_that_cannot_be_taken_does_not_hold_up_the_others(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = intake.world.sessions.decisions

    async def choosy(uow, who, reports) -> None:
        await genuine(uow, who, reports)
        if any(report.first_operation == 2 for report in reports):
            raise ValueError("not this one")

    monkeypatch.setattr(intake.world.sessions, "decisions", choosy)
    batch = [decided(operation=number) for number in (1, 2, 3)]
    assert (await intake.take(*enumerate([intake.opened(), *batch], 1)))[0] == 4
    kept = [json.loads(row.data)["first_operation"] for row in await intake.world.audited("operation.decided")]
    assert kept == [1, 3]
    [rejected] = await intake.world.audited("agent.report-rejected")
    assert json.loads(rejected.data)["number"] == 3


async def test_numbers_that_no_column_holds_stop_nothing(intake: Intake) -> None:
    too_large = 2**64 - 1
    closed = ClosedReport("ses_1", 0, "client-closed", too_large)
    reports = [intake.opened(), decided(operation=too_large), decided(), closed, Notice("n", "after")]
    assert (await intake.take(*enumerate(reports, 1)))[0] == 5
    assert await intake.notices() == ["after"]
    assert len(await intake.world.audited("session.decisions-unreadable")) == 1
    assert len(await intake.world.audited("operation.decided")) == 1


async def test_whoever_asks_is_answered_even_when_the_request_cannot_be_taken(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await intake.take((1, intake.opened()))
    asked = intake.world.request()
    _, answers = await intake.take((2, asked))
    assert isinstance(answers[0], PendingAnswer)

    async def broken(*_) -> None:
        raise LookupError("no such thing")

    monkeypatch.setattr(intake.world.approvals, "requested", broken)
    _, answers = await intake.take((3, intake.world.request()))
    assert isinstance(answers[0], DecidedAnswer)
    assert answers[0].outcome is Outcome.REFUSED


async def test_an_unknown_kind_of_report_is_noted_and_passed_over(intake: Intake) -> None:
    assert (await intake.take((1, None), (2, Notice("n", "2"))))[0] == 2
    assert len(await intake.world.audited("agent.report-rejected")) == 1


async def test_an_instance_of_another_agent_is_refused(intake: Intake) -> None:
    async with intake.world.units() as uow:
        uow.session.add(AgentRow(id="agt_2", name="other", created_at=uow.now))
    stranger = Agent("agt_2", "other", intake.agent.certificate_expires_at)
    with pytest.raises(StreamEndedError) as ended:
        await intake.greet(agent=stranger)
    assert ended.value.end is End.REFUSED


async def test_recording_keys_stay_known_when_an_agent_shows_new_ones(intake: Intake) -> None:
    for key in ("one", "two", "one"):
        await intake.greet(Hello("demo", "inst_1", "boot_1", "0.1.0", (), 0, 1, (), (), (key,)))
    async with intake.world.units.reading() as uow:
        row = await repository.instance(uow.session, "inst_1")
    assert row is not None
    assert row.recording_keys == ["one", "two"]
