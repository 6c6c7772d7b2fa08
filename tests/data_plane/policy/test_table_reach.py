"""What policies let anybody do to which tables: wide where a rule leaves something open, never wider than a denial."""

from __future__ import annotations

from typing import Any

import msgspec

from data_plane.gate.interface import TargetFacts
from data_plane.identifiers import TargetName
from data_plane.policy import model, table_reach
from data_plane.policy.table_reach import Reached

TARGET = TargetFacts(TargetName("orders"), "postgres", "production", {"team": "shop"})


def spec(*rules: dict[str, Any], **words: Any) -> model.PolicySpec:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    return msgspec.convert({"rules": named, **words}, model.PolicySpec)


def reached(*policies: model.PolicySpec) -> tuple[Reached, ...]:
    return table_reach.reached(policies, TARGET)


def allowed(action: str, name: str, *policies: model.PolicySpec) -> bool:
    return any(one.action == action and one.covers(name) for one in reached(*policies))


def changes(name: str, *policies: model.PolicySpec) -> set[str]:
    return {change for one in reached(*policies) if one.covers(name) for change in one.changes_of(name)}


def allow(**match: Any) -> dict[str, Any]:
    return {"match": match, "effect": "allow"}


def deny(**match: Any) -> dict[str, Any]:
    return {"match": match, "effect": "deny"}


def test_a_rule_that_names_tables_reaches_those_and_no_others() -> None:
    policy = spec(allow(action="read", tables=["public.*", "sales.leads"]))
    assert allowed("read", "public.orders", policy)
    assert allowed("read", "sales.leads", policy)
    assert not allowed("read", "sales.deals", policy)
    assert not allowed("write", "public.orders", policy)


def test_a_hold_reaches_like_an_allow_and_says_that_people_decide() -> None:
    policy = spec({"match": {"action": "write"}, "effect": "hold", "approval": "dba"})
    assert [(one.action, one.held) for one in reached(policy)] == [("write", True)]


def test_what_is_only_denied_or_only_masked_reaches_nothing() -> None:
    assert reached(spec(deny(action="read"), {"mask": ["pii"]})) == ()


def test_policies_of_other_targets_reach_nothing() -> None:
    assert reached(spec(allow(action="read"), targets={"environment": "staging"})) == ()
    assert reached(spec(allow(action="read"), targets={"labels": {"team": "shop"}})) != ()


def test_a_denial_that_always_holds_takes_its_tables_away() -> None:
    policy = spec(allow(action="read"), deny(tables=["hr.*"]))
    assert allowed("read", "public.orders", policy)
    assert not allowed("read", "hr.salaries", policy)


def test_a_denial_with_a_condition_takes_nothing_away_because_it_may_not_fire() -> None:
    sometimes = {**deny(tables=["hr.*"]), "when": "op.has_where"}
    assert allowed("read", "hr.salaries", spec(allow(action="read"), sometimes))


def test_a_denial_of_one_action_leaves_the_others() -> None:
    policy = spec(allow(action=["read", "write"]), deny(action="write", tables=["hr.*"]))
    assert allowed("read", "hr.salaries", policy)
    assert not allowed("write", "hr.salaries", policy)


def test_a_denial_for_others_takes_nothing_away() -> None:
    mine = spec(allow(action="read"), requesters={"groups": ["dba"]})
    theirs = spec(deny(action="read", tables=["hr.*"]), requesters={"groups": ["bots"]})
    everybodys = spec(deny(action="read", tables=["hr.*"]))
    assert allowed("read", "hr.salaries", mine, theirs)
    assert not allowed("read", "hr.salaries", mine, everybodys)


def test_verbs_say_which_changes() -> None:
    assert changes("public.a", spec(allow(action="write"))) == {"INSERT", "UPDATE", "DELETE", "TRUNCATE"}
    assert changes("public.a", spec(allow(action="write", verbs=["insert"]))) == {"INSERT"}
    assert changes("public.a", spec(allow(action="write", verbs=["MERGE"]))) == {"INSERT", "UPDATE", "DELETE"}
    assert changes("public.a", spec(allow(action="write", verbs=["NOTIFY"]))) == set()
    assert changes("public.a", spec(allow(verbs=["SELECT"]))) == {"UPDATE"}, "SELECT … FOR UPDATE"
    assert changes("public.a", spec(allow(action="write"), deny(verbs=["TRUNCATE"]))) == {"INSERT", "UPDATE", "DELETE"}


def test_a_verb_that_never_comes_with_an_action_does_not_reach_it() -> None:
    assert {one.action for one in reached(spec(allow(verbs=["DROP"])))} == {"ddl", "admin", "exec"}


def test_what_is_not_understood_needs_what_calls_need() -> None:
    assert {one.action for one in reached(spec(allow(action="unknown")))} == {"exec"}


def test_a_mask_is_on_what_every_session_of_its_policy_gets() -> None:
    policy = spec(allow(action="read"), {"mask": ["pii"]}, {"mask": ["late"], "when": "requester.kind == 'machine'"})
    assert [one.masks for one in reached(policy)] == [frozenset({"pii"})]
    for_all, other = spec({"mask": ["pii"]}), spec(allow(action="read"))
    assert [one.masks for one in reached(for_all, other)] == [frozenset({"pii"})]
    for_bots = spec({"mask": ["pii"]}, requesters={"groups": ["bots"]})
    assert [one.masks for one in reached(for_bots, other)] == [frozenset()]


def test_a_whole_schema_is_covered_when_whatever_is_made_in_it_is_reached() -> None:
    (whole,) = reached(spec(allow(action="read", tables=["public.*"])))
    assert whole.covers_all_of("public")
    assert not whole.covers_all_of("publicity")
    (some,) = reached(spec(allow(action="read", tables=["public.order*"])))
    assert not some.covers_all_of("public")
    (but,) = reached(spec(allow(action="read"), deny(action="read", tables=["public.secret*"])))
    assert not but.covers_all_of("public")
    assert but.covers_all_of("sales")
