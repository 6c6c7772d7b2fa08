"""Chains as they are written become the domain's, and are said in words."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.approvals import words
from control_plane.approvals.domain import (
    Chain,
    Escalation,
    Parties,
    Person,
    Progress,
    Requirement,
    Stage,
    Vote,
    describe,
    progress,
)
from control_plane.approvals.written import chain_of
from data_plane.policy import model
from tests.data_plane.policy.test_validate import document


def written(**spec: Any) -> Chain:
    made = document("ApprovalChain", "made", **spec)
    assert isinstance(made, model.ApprovalChain)
    return chain_of("made", made.spec)


def of(*groups: str, **more: Any) -> Requirement:
    return Requirement(groups, **more)


def after(chain: Chain, *agreed: tuple[str, str]) -> Progress:
    """`agreed`: who, and their group."""
    people = {name: Person(name, name, "person", frozenset({group}), True, True) for name, group in agreed}
    votes = [Vote(name, name, 0, at, "rest") for at, (name, _) in enumerate(agreed)]
    return progress(chain, Parties("nobody"), votes, people)


# ------------------------------------------------------------------ as it is written


def test_what_is_left_out_is_said() -> None:
    assert written(stages=[{"groups": ["dba"]}]) == Chain("made", (Stage(("dba",), 1, 900),), 300)


def test_all_that_can_be_written_arrives() -> None:
    further = {"escalate": {"groups": ["leads"], "people": ["ada"], "on_call": ["web"], "timeout": "2m"}}
    tree = [{"groups": ["dba"], "require": 2}, {"any": [{"people": ["ada"]}, {"on_call": ["web"]}]}]
    chain = written(
        stages=[{"name": "first", "all": tree, "timeout": "5m", "on_timeout": further}],
        approve_within="6m",
        remind_every="1m",
        window={"longest": "10m", "most": 3},
        row_guard={"margin_percent": 5},
        break_glass=True,
    )
    (stage,) = chain.stages
    assert (stage.name, stage.timeout_seconds, stage.longest_seconds) == ("first", 300, 420)
    assert stage.escalation == Escalation(120, ("leads",), ("ada",), ("web",))
    assert describe(stage) == "2 of group dba and (ada or whoever is on call for web)"
    assert (chain.longest_seconds, chain.remind_every_seconds, chain.break_glass) == (360, 60, True)
    assert chain.window is not None
    assert (chain.window.longest_seconds, chain.window.most) == (600, 3)
    assert chain.row_guard is not None
    assert chain.row_guard.margin_percent == 5


@pytest.mark.parametrize(
    ("spec", "channels"),
    [
        ({}, ()),
        ({"channels": ["slack"]}, ("slack",)),
        ({"reauthenticate": "5m"}, ("console", "cli")),
        ({"reauthenticate": "5m", "channels": ["cli"]}, ("cli",)),
        ({"reauthenticate": {"acr": ["phr"]}}, ("console", "cli")),
        ({"reauthenticate": {"method": "security-key", "within": "5m"}}, ("console",)),
    ],
)
def test_a_chain_that_asks_to_sign_in_again_takes_decisions_where_that_is_possible(spec: dict, channels: tuple) -> None:
    assert written(stages=[{"groups": ["dba"]}], **spec).channels == channels


# ------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (of("dba"), "1 of group dba"),
        (of("dba", "security", required=2), "2 of groups dba, security"),
        (of("dba", people=("ada",), on_call=("web",)), "1 of group dba, ada or whoever is on call for web"),
        (of(people=("ada",)), "ada"),
        (of(people=("ada", "bob")), "1 of ada or bob"),
        (of(on_call=("web",)), "whoever is on call for web"),
        (of(any_of=(of("a"), of(all_of=(of("b"), of("c"))))), "1 of group a or (1 of group b and 1 of group c)"),
        (of(all_of=(of("a"),)), "1 of group a"),
    ],
)
def test_a_requirement_reads_as_it_is_meant(needs: Requirement, said: str) -> None:
    assert describe(needs) == said


def test_what_is_missing_is_only_what_is_missing() -> None:
    tree = (of("dba", required=2), of(any_of=(of("security"), of(people=("zoe",)))))
    chain = Chain("c", (Stage(all_of=tree), Stage(("leads",), name="last")), 1)
    nobody = "2 more of group dba and (1 more of group security or zoe) (stage 1 of 2)"
    assert words.waits_for(chain, after(chain), frozenset()) == nobody
    one_of_each = after(chain, ("ada", "dba"), ("eve", "security"))
    assert words.waits_for(chain, one_of_each, frozenset()) == "1 more of group dba (stage 1 of 2)"
    first = after(chain, ("ada", "dba"), ("eve", "security"), ("bob", "dba"))
    assert words.waits_for(chain, first, frozenset()) == "1 more of group leads (last, stage 2 of 2)"


def test_what_silence_does_is_said_stage_by_stage() -> None:
    further = Escalation(60, ("leads",), ("zoe",))
    chain = Chain("c", (Stage(("dba",), 1, 5400, escalation=further), Stage(("dba",), 1, 30)), 1)
    assert words.escalations(chain) == (
        "Stage 1: after 1h30m without enough agreement group leads or zoe are asked besides."
    )
    assert words.asked(chain, 0, frozenset({0})) == "1 of group dba or group leads or zoe besides (stage 1 of 2)"
