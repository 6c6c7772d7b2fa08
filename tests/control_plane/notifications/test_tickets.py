"""Tickets in Jira and ServiceNow (their doubles): opened once, linked, followed, closed."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from control_plane.approvals import repository as approvals
from control_plane.approvals.domain import Event, State
from control_plane.approvals.transitions import move
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.notifications.channels import Selected
from control_plane.notifications.documents import JiraSpec, SecretSource, Selection, ServiceNowSpec
from control_plane.notifications.jira import Jira
from control_plane.notifications.outgoing import Outgoing
from control_plane.notifications.ports import Later, Never
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.servicenow import ServiceNow
from control_plane.notifications.tickets import TicketCourier
from tests.control_plane.notifications.post import Fixed, Post
from tests.control_plane.world import World, operation_of
from tests.support.sinks import HttpSink, http_sink
from tests.support.ticketing.jira import Issue, JiraDouble, text_of
from tests.support.ticketing.servicenow import ServiceNowDouble

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # nothing here depends on it
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SECRET = "a-long-api-token"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "token").write_text(SECRET)
    return Secrets(tmp_path, {}.get)


def jira_of(sink: HttpSink, secrets: Secrets, **changes: Any) -> TicketCourier:
    spec = JiraSpec(
        url=sink.url,
        user="bot@example.org",
        token_from=SecretSource(file="token"),
        project="OPS",
        closed_transition="Done",
    )
    return TicketCourier(Jira(msgspec.structs.replace(spec, **changes), Outgoing(LOOPBACK), secrets))


def servicenow_of(sink: HttpSink, secrets: Secrets, **changes: Any) -> TicketCourier:
    spec = ServiceNowSpec(
        url=sink.url,
        user="assentry",
        password_from=SecretSource(file="token"),
        fields={"assignment_group": "dba"},
        closed={"state": "7", "close_code": "Closed by caller", "close_notes": "decided in Assentry"},
    )
    return TicketCourier(ServiceNow(msgspec.structs.replace(spec, **changes), Outgoing(LOOPBACK), secrets))


@asynccontextmanager
async def jira_double(**changes: Any) -> AsyncIterator[tuple[JiraDouble, HttpSink]]:
    double = JiraDouble("bot@example.org", SECRET, **changes)
    async with http_sink(double) as sink:
        yield double, sink


@asynccontextmanager
async def servicenow_double() -> AsyncIterator[tuple[ServiceNowDouble, HttpSink]]:
    double = ServiceNowDouble("assentry", SECRET)
    async with http_sink(double) as sink:
        yield double, sink


def posted(world: World, courier: TicketCourier) -> Post:
    return Post(world, Fixed(Selected("tickets", Selection(), courier)))


# ------------------------------------------------------------------ Jira


async def test_an_issue_opens_with_a_request_follows_it_and_closes_with_its_outcome(
    world: World, secrets: Secrets
) -> None:
    async with jira_double() as (jira, sink):
        post = posted(world, jira_of(sink, secrets))
        approval = await world.held()
        await post.round()
        (issue,) = jira.issues
        assert issue.fields["summary"].startswith("Approval wanted: bot on orders (")
        assert issue.fields["labels"] == ["assentry", f"assentry-{approval}"]
        described = text_of(issue.fields["description"])
        assert "DELETE FROM orders WHERE id = 1041" in described
        assert f"https://assentry.example/approvals/{approval}" in described
        link = issue.links[f"assentry:{approval}"]
        assert link["url"] == f"https://assentry.example/approvals/{approval}"
        (shown,) = (await world.view(approval)).telling.links
        assert (shown.label, shown.url) == ("OPS-1", f"{sink.url}/browse/OPS-1")
        await world.deny("ada", approval, "use the archive")
        await post.round()
    (comment,) = issue.comments
    assert "State: denied (use the archive)" in text_of(comment["body"])
    assert issue.status == "Done"
    assert [row.note for row in await post.deliveries()] == ["OPS-1: opened", "OPS-1: closed"]


async def test_after_a_crash_the_issue_is_found_instead_of_opened_again(world: World, secrets: Secrets) -> None:
    async with jira_double() as (jira, sink):
        courier = jira_of(sink, secrets)
        given = await Post(world, Fixed()).given("approval.pending", await world.held())
        assert (await courier.deliver(*given)).note == "OPS-1: opened"
        assert (await courier.deliver(*given)).note == "OPS-1: was open already"
    assert len(jira.issues) == 1


async def test_a_comment_that_was_written_before_a_crash_is_not_written_again(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    post = Post(world, Fixed())
    async with jira_double() as (jira, sink):
        courier = jira_of(sink, secrets)
        await courier.deliver(*await post.given("approval.pending", approval))
        for attempt in (1, 2, 3):
            notice, facts = await post.given("approval.commented", approval, attempt=attempt, reference="OPS-1")
            await courier.deliver(notice, facts)
        other = await post.given("approval.commented", approval, attempt=2, reference="OPS-1", idempotency_key="dlv_b")
        await courier.deliver(*other)
    assert len(jira.issues[0].comments) == 2


async def test_closing_twice_closes_once(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    await world.deny("ada", approval)
    post = Post(world, Fixed())
    async with jira_double() as (jira, sink):
        courier = jira_of(sink, secrets)
        jira.issues.append(Issue("1", "OPS-1", {"labels": []}))
        for attempt in (1, 2):
            await courier.deliver(*await post.given("approval.denied", approval, attempt=attempt, reference="OPS-1"))
    assert jira.issues[0].status == "Done"
    assert [got.path for got in sink.got if got.method == "POST" and "transitions" in got.path] == [
        "/rest/api/3/issue/OPS-1/transitions"
    ]


async def test_a_transition_that_is_not_there_is_said_and_harms_nothing(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    async with jira_double() as (_, sink):
        post = posted(world, jira_of(sink, secrets, closed_transition="Close"))
        await post.round()
        await world.deny("ada", approval)
        await post.round()
    (row,) = await post.deliveries(kind="approval.denied")
    assert (row.state, row.note) == (
        "delivered",
        "OPS-1: not closed: it has no transition 'Close' now, but Start, Done",
    )


async def test_a_request_that_was_over_before_it_was_told_of_makes_no_issue(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    await world.deny("ada", approval)
    async with jira_double() as (jira, sink):
        post = posted(world, jira_of(sink, secrets))
        await post.round()
    assert jira.issues == []
    assert await post.states() == ["delivered", "delivered"]


async def test_a_text_beyond_what_jira_takes_is_counted(world: World, secrets: Secrets) -> None:
    """Invariant 2."""
    approval = await world.held(operation=operation_of(text="SELECT '" + "x" * 50_000 + "'"))
    async with jira_double() as (jira, sink):
        await jira_of(sink, secrets).deliver(*await Post(world, Fixed()).given("approval.pending", approval))
    assert "bytes hidden: read all of it at https://assentry.example/approvals/" in text_of(
        jira.issues[0].fields["description"]
    )


async def test_what_jira_refuses_is_told_and_not_repeated(world: World, secrets: Secrets) -> None:
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    async with jira_double(issue_types=("Story",)) as (_, sink):
        with pytest.raises(Never, match="answered 400: issuetype: The issue type selected is invalid"):
            await jira_of(sink, secrets).deliver(*given)


async def test_a_token_that_is_no_longer_good_may_be_replaced(world: World, secrets: Secrets, tmp_path: Path) -> None:
    """Invariant 9: the token is in no error."""
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    async with jira_double() as (jira, sink):
        (tmp_path / "token").write_text("wrong-token")
        with pytest.raises(Later, match="answered 401") as raised:
            await jira_of(sink, secrets).deliver(*given)
        assert "wrong-token" not in str(raised.value)
        (tmp_path / "token").write_text(SECRET)
        await jira_of(sink, secrets).deliver(*given)
    assert len(jira.issues) == 1


# ------------------------------------------------------------------ ServiceNow


async def test_a_record_opens_with_a_request_follows_it_and_closes_with_its_outcome(
    world: World, secrets: Secrets
) -> None:
    async with servicenow_double() as (now, sink):
        post = posted(world, servicenow_of(sink, secrets))
        approval = await world.held()
        await post.round()
        (record,) = now.records
        assert record["correlation_id"] == approval
        assert record["assignment_group"] == "dba"
        assert f"https://assentry.example/approvals/{approval}" in record["description"]
        (shown,) = (await world.view(approval)).telling.links
        assert (shown.label, shown.url) == ("INC0000001", f"{sink.url}/incident.do?sys_id={record['sys_id']}")
        await world.deny("ada", approval, "use the archive")
        await post.round()
    assert (record["state"], record["close_code"]) == ("7", "Closed by caller")
    (note,) = now.journal
    assert "State: denied (use the archive)" in note["value"]


async def test_a_record_is_found_and_a_note_is_written_once(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    post = Post(world, Fixed())
    async with servicenow_double() as (now, sink):
        courier = servicenow_of(sink, secrets)
        first = await courier.deliver(*await post.given("approval.pending", approval))
        again = await courier.deliver(*await post.given("approval.pending", approval))
        assert first.reference == again.reference
        for attempt in (1, 2):
            commented = await post.given("approval.commented", approval, attempt=attempt, reference=first.reference)
            await courier.deliver(*commented)
    assert (len(now.records), len(now.journal)) == (1, 1)


async def test_what_does_not_fit_a_record_is_counted(world: World, secrets: Secrets) -> None:
    """Invariant 2."""
    approval = await world.held(operation=operation_of(text="SELECT '" + "x" * 50_000 + "'"))
    async with servicenow_double() as (now, sink):
        courier = servicenow_of(sink, secrets)
        told = await courier.deliver(*await Post(world, Fixed()).given("approval.pending", approval))
        commented = await Post(world, Fixed()).given("approval.commented", approval, reference=told.reference)
        await courier.deliver(*commented)
    assert "bytes hidden: read all of it at" in now.records[0]["description"]
    assert "bytes hidden: read all of it at" in now.journal[0]["value"]


async def test_a_record_that_somebody_deleted_ends_the_delivery(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    async with servicenow_double() as (_, sink):
        gone = await Post(world, Fixed()).given("approval.commented", approval, reference="abc INC0000009")
        with pytest.raises(Never, match="answered 404: No Record found"):
            await servicenow_of(sink, secrets).deliver(*gone)


async def test_what_was_executed_closes_too_and_what_runs_is_not_written_down(world: World, secrets: Secrets) -> None:
    approval = await world.held()
    async with servicenow_double() as (now, sink):
        post = posted(world, servicenow_of(sink, secrets))
        await post.round()
        await world.approve("ada", approval)
        async with world.units() as uow:
            row = await approvals.locked(uow.session, approval)
            assert row is not None
            move(uow, row, Event.CONSUMED, SYSTEM)
            move(uow, row, Event.SUCCEEDED, SYSTEM)
        await post.round()
    assert await world.state(approval) == State.EXECUTED
    assert now.records[0]["state"] == "7"
    assert [note["value"].partition(":")[0] for note in now.journal] == ["Approved", "Executed"]
