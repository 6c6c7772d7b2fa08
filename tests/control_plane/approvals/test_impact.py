"""The impact preview: part of what is shown and signed for, read strictly; and the row guard that follows from it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from assentry.v1 import link_pb2 as pb

from control_plane.agents.wire import Encoder
from control_plane.approvals import impact, shown
from control_plane.approvals.domain import RowGuard
from control_plane.approvals.impact import DryRun, Figure, Guarded, Impact
from control_plane.approvals.impact_schemas import ImpactOut, RowGuardOut
from control_plane.approvals.ports import GrantContents
from control_plane.approvals.reports import DecidedAnswer, PendingAnswer
from control_plane.approvals.schemas import ApprovalOut
from data_plane.gate import impact as agents
from tests.control_plane.approvals.grants import grant_of
from tests.control_plane.world import World, chain, operation_of

COUNTED = agents.encode(agents.Impact(count=agents.Figure(50_000)))


def guard(world: World, **fields: Any) -> None:
    world.neighbours.chains["dba"] = msgspec.structs.replace(chain("dba"), row_guard=RowGuard(**fields))


def test_what_an_agent_writes_is_what_is_read() -> None:
    said = agents.Impact(
        facts=(agents.Fact("verbs", "DELETE"),),
        estimate=agents.Figure(5_000),
        count=agents.Figure(missing="the target did not answer in time"),
        dry_run=agents.DryRun(
            3, tables=(agents.TableRows("public.t", 1, 2, 3),), keys=agents.Keys(("id",), (("1",),)), milliseconds=12,
            kept=("nothing",),
        ),
        unguarded="why",
        notes=("note",),
    )  # fmt: skip
    read = impact.read(agents.encode(said))
    assert msgspec.to_builtins(read) == msgspec.to_builtins(said)


def test_no_preview_is_none_and_one_that_cannot_be_read_says_so_and_guards_nothing() -> None:
    assert impact.read("") is None
    for text in ("nonsense", '{"count": {"rows": -1}}', '{"count": 5}', json.dumps({"notes": ["x" * impact.LARGEST]})):
        read = impact.read(text)
        assert read is not None
        assert read.count is None
        assert "preview" in read.notes[0]
        assert impact.guarded(RowGuard(), read) == Guarded(why="its preview cannot be read")


@pytest.mark.parametrize(
    ("margins", "told", "expected"),
    [
        ({}, Impact(count=Figure(50_000)), Guarded(50_000)),
        ({"margin_percent": 10}, Impact(count=Figure(50_000)), Guarded(55_000)),
        ({"margin_percent": 10}, Impact(count=Figure(11)), Guarded(13)),
        ({"margin_percent": 10, "margin_rows": 5}, Impact(count=Figure(100)), Guarded(115)),
        ({"margin_rows": 5}, Impact(count=Figure(0)), Guarded(5)),
        ({}, Impact(count=Figure(0)), Guarded(0)),
        ({}, Impact(count=Figure(10), dry_run=DryRun(9)), Guarded(9)),
        ({}, Impact(count=Figure(10), dry_run=DryRun(missing="no consent")), Guarded(10)),
        ({}, Impact(count=Figure(missing="locked")), Guarded(why="locked")),
        ({}, Impact(estimate=Figure(7)), Guarded(why="the rule that held it asks for no count of rows")),
        ({}, Impact(count=Figure(10), unguarded="two statements"), Guarded(why="two statements")),
        ({}, None, Guarded(why="the rule that held it asks for no count of rows")),
    ],
)
def test_the_guard_is_the_count_and_the_margins(
    margins: dict[str, int], told: Impact | None, expected: Guarded
) -> None:
    assert impact.guarded(RowGuard(**margins), told) == expected


def test_without_a_guard_in_the_chain_there_is_none() -> None:
    assert impact.guarded(None, Impact(count=Figure(5))) is None


async def test_the_preview_and_the_guard_are_part_of_what_is_shown_and_signed_for(world: World) -> None:
    guard(world, margin_percent=10)
    approval = await world.held(impact_json=COUNTED)
    row = (await world.view(approval)).row
    card = shown.decode(row.shown)
    assert card.impact is not None
    assert card.impact.count == Figure(50_000)
    assert card.row_guard == Guarded(55_000)
    other = shown.encode(msgspec.structs.replace(card, impact=Impact(count=Figure(5))))
    assert shown.digest(other) != row.shown_digest
    await world.approve("ada", approval)
    assert (await grant_of(world, approval))["most_rows"] == 55_000


@pytest.mark.parametrize("role", ["requester", "policy-editor"])
async def test_whoever_asked_learns_nothing_of_the_target_from_the_preview(world: World, role: str) -> None:
    """DELETE … WHERE email LIKE 'a%' is held, and its count would say what a mask hides, without any approval."""
    guard(world, margin_percent=10)
    approval = await world.held(impact_json=COUNTED)
    owner = world.principal("owner", role)
    asked = msgspec.structs.replace(owner, identity="idn_bot", name="bot", kind="machine")
    async with world.units.reading() as uow:
        for who in (owner, asked):
            view = await world.review.view(uow, who, approval)
            assert view is not None
            out = ApprovalOut.full(view)
            assert (out.impact, out.row_guard) == (None, None)
            assert not {"50000", "55000", "55,000"} & set(re.findall(r"[0-9][0-9,]*", out.model_dump_json()))
    seen = ApprovalOut.full(await world.view(approval))
    assert seen.impact is not None
    assert seen.row_guard is not None


async def test_a_chain_without_a_guard_puts_none_into_the_grant(world: World) -> None:
    approval = await world.held(impact_json=COUNTED)
    await world.approve("ada", approval)
    assert (await grant_of(world, approval))["most_rows"] is None


async def test_where_nothing_could_be_counted_there_is_no_guard_and_the_card_says_so(world: World) -> None:
    guard(world)
    approval = await world.held(impact_json=agents.encode(agents.Impact(count=agents.Figure(missing="it is locked"))))
    out = RowGuardOut.of((await world.view(approval)).shown.row_guard)
    assert out is not None
    assert (out.most_rows, out.says) == (
        None, "No row guard: it may touch any number of rows, because it is locked.",
    )  # fmt: skip
    await world.approve("ada", approval)
    assert (await grant_of(world, approval))["most_rows"] is None


async def test_a_guard_that_the_chain_demands_and_nothing_can_be_bound_to_refuses_the_request(world: World) -> None:
    guard(world, required=True)
    await world.open_session()
    answer = await world.ask(world.request(impact_json=""))
    assert isinstance(answer, DecidedAnswer)
    assert "demands a row guard" in answer.reason
    counted = await world.ask(world.request(impact_json=COUNTED))
    assert isinstance(counted, PendingAnswer)


def test_the_wire_carries_a_guard_of_no_rows_apart_from_none() -> None:
    fields: dict[str, Any] = {
        "deployment": "d", "agent_instance": "i", "session_id": "s", "credential_id": "c", "requester_id": "r",
        "target": "t", "policy_version": 1, "digest": b"d", "approval_id": "a", "nonce": b"n", "not_before_ms": 0,
        "execute_by_ms": 1, "scope": "once", "approvals": (),
    }  # fmt: skip
    for most in (None, 0, 55_000):
        payload = pb.GrantPayload.FromString(Encoder().encode_grant(GrantContents(**fields, most_rows=most)))
        assert (payload.row_guard.most_rows if payload.HasField("row_guard") else None) == most


def test_every_figure_is_shown_with_its_label_and_text_of_the_target_is_made_safe() -> None:
    told = Impact(
        facts=(impact.Fact("table\u202e", "x\x1b[2J"),),
        estimate=Figure(5_000),
        count=Figure(50_000),
        dry_run=DryRun(3, keys=impact.Keys(("id",), (("\u200b",),)), tables=(impact.TableRows("public.t\x07"),)),
    )
    out = ImpactOut.of(told)
    assert out is not None
    assert out.estimate is not None
    assert "orders of magnitude" in out.estimate.label
    assert out.count is not None
    assert "counted" in out.count.label
    text = out.model_dump_json()
    assert not {"\u202e", "\x1b", "\u200b", "\x07"} & set(text)
    assert RowGuardOut.of(Guarded(55_000)) == RowGuardOut(
        most_rows=55_000, says="Undone if it touches more than 55,000 rows."
    )


async def test_requests_that_differ_in_the_time_of_a_dry_run_alone_are_alike_and_others_are_not(world: World) -> None:
    def ran(rows: int, milliseconds: int) -> str:
        return agents.encode(agents.Impact(dry_run=agents.DryRun(rows, milliseconds=milliseconds)))

    await world.open_session()
    cards = []
    for told in (ran(3, 10), ran(3, 25), ran(4, 10)):
        answer = await world.ask(world.request(operation=operation_of(), impact_json=told))
        cards.append(shown.likeness((await world.view(answer.approval_id)).row.shown))
    assert cards[0] == cards[1] != cards[2]
