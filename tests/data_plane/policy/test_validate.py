"""What makes no sense is refused when it is written, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.policy import documents, model
from data_plane.policy.validate import validate
from tests.support.policies import DDL, READS, WRITES, allow, deny, hold, policy_document


def document(kind: str, name: str, **spec: Any) -> model.AnyDocument:
    made = documents.convert({"apiVersion": "assentry.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    assert not isinstance(made, documents.Problem), made
    return made


CHAIN = document("ApprovalChain", "dba", stages=[{"groups": ["dba"]}])
MASK = document("Mask", "pii", columns=[{"column": "public.customers.email"}])
TARGET = document("Target", "orders", protocol="postgres", environment="production", agent="a", address="db:5432")


def problems(*rules: dict[str, Any], **spec: Any) -> dict[str, str]:
    made = documents.convert(policy_document("p", list(rules), **spec))
    assert isinstance(made, model.Policy), made
    return {each.path: each.message for each in validate([made, CHAIN, MASK, TARGET], groups=["dba", "ci"])}


def test_a_sensible_set_has_no_problems() -> None:
    assert problems(
        allow(match=READS),
        hold(match=DDL, hold={"wait": "15m", "in_transaction": "60s"}),
        deny(match={"verbs": ["UPDATE", "DELETE"]}, when="!op.has_where", message="add a WHERE clause"),
        {"name": "masked", "match": {"tables": ["public.customers"]}, "mask": ["pii"]},
        targets={"environment": "production", "names": ["orders"]},
        requesters={"groups": ["ci"]},
    ) == {}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        (hold(approval="dbaa"), ".approval", "did you mean 'dba'?"),
        (hold(approval=""), ".approval", "needs an approval chain"),
        (hold(hold={"wait": "ten"}), ".hold.wait", "not a duration"),
        (hold(match={"action": "connect"}), ".match.action", "connecting cannot be held"),
        (
            hold(hold={"preview": ["facts", "dry-run"]}),
            ".hold.preview[1]",
            "no target that this policy selects consents",
        ),
        (hold(hold={"preview": ["count", "count"]}), ".hold.preview[1]", "listed twice"),
        (deny(hold={"preview": ["count"]}), ".hold", "only a rule with effect hold"),
        (allow(mask=["pie"]), ".mask[0]", "did you mean 'pii'?"),
        (allow(approval="dba"), ".approval", "only a rule with effect hold"),
        (allow(hold={"wait": "1m"}), ".hold", "only a rule with effect hold"),
        (deny(mask=["pii"]), ".mask", "no result to mask"),
        ({"name": "r"}, "", "does nothing"),
        ({"name": "r", "mask": ["pii"], "match": READS}, ".match.action", "may match tables only"),
        ({"name": "r", "mask": ["pii"], "match": {"verbs": ["SELECT"]}}, ".match.verbs", "may match tables only"),
        ({"name": "r", "mask": ["pii"], "when": "op.has_where"}, ".when", "unknown field 'op.has_where'"),
        (allow(match={"verbs": ["SELCT"]}), ".match.verbs[0]", "did you mean 'SELECT'?"),
        (allow(match={"tables": ["customers"]}), ".match.tables[0]", "public.customers"),
        (allow(match={"functions": ["pg_*[a]."]}), ".match.functions[0]", "is not schema.name"),
        (allow(match={"action": "read", "verbs": ["DROP"]}), ".match", "DROP never comes with action read"),
        (allow(match={"action": "ddl", "verbs": ["BEGIN"]}), ".match", "never comes with"),
        (hold(match={"action": "ddl", "verbs": ["REINDEX"]}), ".match", "REINDEX never comes with action ddl"),
        (deny(match={"action": "connect", "tables": ["a.b"]}), ".match", "touches no table"),
        (deny(when="op.nope"), ".when", "line 1, column 3: unknown field 'op.nope'"),
        (deny(when="false"), ".when", "never true"),
        (deny(message="two\nlines"), ".message", "one line"),
        (allow("Name"), ".name", "lower-case"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_where_it_stands(rule: dict, path: str, message: str) -> None:
    found = problems(rule)
    assert message in found.get(f"$.spec.rules[0]{path}", ""), found


def test_references_of_selectors_are_checked() -> None:
    found = problems(allow(), targets={"names": ["order"]}, requesters={"groups": ["cii"], "identities": ["x"]})
    assert "did you mean 'orders'?" in found["$.spec.targets.names[0]"]
    assert "did you mean 'ci'?" in found["$.spec.requesters.groups[0]"]
    assert "$.spec.requesters.identities[0]" not in found, "identities were not given, so they are not checked"


def test_plans_need_a_chain_that_the_policy_holds_for() -> None:
    assert problems(hold(), plans={"approval": "dba"}) == {}
    assert "did you mean 'dba'?" in problems(hold(), plans={"approval": "dbb"})["$.spec.plans.approval"]
    assert "would cover nothing" in problems(allow(), plans={"approval": "dba"})["$.spec.plans.approval"]
    assert "1 to 200" in problems(hold(), plans={"approval": "dba", "most": 0})["$.spec.plans.most"]


def test_names_are_unique() -> None:
    assert "same name" in problems(allow("a"), allow("a"))["$.spec.rules[1].name"]
    assert [problem.path for problem in validate([CHAIN, CHAIN])] == ["$.metadata.name"]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (deny("wide"), allow("narrow", match=READS)),
        (deny("wide"), hold("narrow", match=WRITES)),
        (hold("wide", match=WRITES), allow("narrow", match=WRITES, when="op.has_where")),
        (deny("wide", match={"tables": ["public.*"]}), allow("narrow", match={"tables": ["public.a", "public.b*"]})),
        (deny("wide", match={"verbs": ["UPDATE", "DELETE"]}), hold("narrow", match={"verbs": ["delete"]})),
        (deny("wide", match={"action": ["read", "write"]}), allow("narrow", match=READS)),
    ],
)
def test_a_rule_that_a_stricter_one_always_beats_can_never_fire(wide: dict, narrow: dict) -> None:
    for rules in ([wide, narrow], [narrow, wide]):
        found = problems(*rules)
        assert any("can never fire: p/wide" in message for message in found.values()), found


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (deny("wide", when="op.has_where"), allow("narrow")),
        (deny("wide", match=READS), allow("narrow")),
        (deny("wide", match={"tables": ["public.a"]}), allow("narrow", match={"tables": ["public.*"]})),
        (deny("wide", match={"tables": ["public.*"]}), allow("narrow", match=READS)),
        (deny("wide", match={"verbs": ["UPDATE"]}), allow("narrow", match=WRITES)),
        (hold("wide"), deny("narrow", match=READS)),
        (hold("wide", match=WRITES), allow("narrow", match={"action": "session"})),
        (deny("wide", match={"action": "connect"}), allow("narrow")),
    ],
)
def test_a_rule_that_can_still_fire_is_not_refused(wide: dict, narrow: dict) -> None:
    assert problems(wide, narrow) == {}


def test_a_rule_is_not_beaten_by_one_for_other_sessions() -> None:
    def two(strict: dict[str, Any], mild: dict[str, Any]) -> list[documents.Problem]:
        made = [
            documents.convert(policy_document("strict", [deny()], **strict)),
            documents.convert(policy_document("mild", [allow()], **mild)),
        ]
        return validate([each for each in made if isinstance(each, model.Policy)])

    staging, production = {"targets": {"environment": "staging"}}, {"targets": {"environment": "production"}}
    assert two({}, staging) != []
    assert two(staging, {}) == []
    assert two(staging, production) == []
    assert two({"requesters": {"groups": ["ci"]}}, {}) == []
    assert two({"requesters": {"groups": ["ci", "x"]}}, {"requesters": {"groups": ["ci"]}}) != []
    assert two({"targets": {"labels": {"a": "b"}}}, {}) == []


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (document("ApprovalChain", "c", stages=[]), "$.spec.stages"),
        (document("ApprovalChain", "c", stages=[{"groups": ["dba"]}] * 11), "$.spec.stages"),
        (document("ApprovalChain", "c", stages=[{"groups": []}]), "$.spec.stages[0].groups"),
        (document("ApprovalChain", "c", stages=[{"groups": ["dbb"]}]), "$.spec.stages[0].groups[0]"),
        (document("ApprovalChain", "c", stages=[{"groups": ["dba"], "require": 0}]), "$.spec.stages[0].require"),
        (document("ApprovalChain", "c", stages=[{"groups": ["dba"], "timeout": "x"}]), "$.spec.stages[0].timeout"),
        (document("ApprovalChain", "c", stages=[{"groups": ["dba"]}], execute_within="x"), "$.spec.execute_within"),
        (document("Mask", "m"), "$.spec"),
        (document("Mask", "m", columns=[{"column": "customers.email"}]), "$.spec.columns[0].column"),
        (document("Mask", "m", detectors=[{"detect": "ip"}] * 2), "$.spec.detectors[1].detect"),
        (document("Target", "t", protocol="postgres", environment="e", agent="a", address="db"), "$.spec.address"),
        (
            document("Target", "t", protocol="postgres", environment="e", agent="a", address="db:70000"),
            "$.spec.address",
        ),
        (document("Target", "t", protocol="postgres", environment="", agent="a", address="db:1"), "$.spec.environment"),
    ],
)
def test_other_documents_are_checked_too(made: model.AnyDocument, path: str) -> None:
    assert [problem.path for problem in validate([made], groups=["dba"])] == [path]


def test_a_dry_run_may_be_asked_for_where_a_target_that_the_policy_selects_consents() -> None:
    """The fixed target of this file does not; another one, of staging, does."""
    consenting = document(
        "Target", "staging", protocol="postgres", environment="staging", agent="a", address="db:5432",
        preview={"dry_run": True},
    )  # fmt: skip
    rule = hold(hold={"preview": ["dry-run"]})
    for environment, wrong in (("production", True), ("staging", False)):
        policy = documents.convert(policy_document("p", [rule], targets={"environment": environment}))
        assert isinstance(policy, model.Policy)
        found = {each.path for each in validate([policy, CHAIN, TARGET, consenting])}
        assert ("$.spec.rules[0].hold.preview[0]" in found) is wrong


def test_an_unknown_word_of_a_preview_is_refused_with_those_that_are_known() -> None:
    made = documents.convert(policy_document("p", [hold(hold={"preview": ["guess"]})]))
    assert isinstance(made, documents.Problem)
    assert made.path == "$.spec.rules[0].hold.preview[0]"
    assert "facts, estimate, count, dry-run" in made.message


def test_the_limits_of_previews_are_short_durations() -> None:
    slow = document(
        "Target", "slow", protocol="postgres", environment="e", agent="a", address="db:5432",
        preview={"statement_timeout": "5m", "lock_timeout": "soon"},
    )  # fmt: skip
    found = {each.path: each.message for each in validate([slow])}
    assert "30s at most" in found["$.spec.preview.statement_timeout"]
    assert "not a duration" in found["$.spec.preview.lock_timeout"]


def test_a_chain_that_demands_a_row_guard_is_only_for_rules_that_ask_for_a_count() -> None:
    demanding = document("ApprovalChain", "counted", stages=[{"groups": ["dba"]}], row_guard={"required": True})
    for preview, wrong in (([], True), (["facts", "estimate"], True), (["count"], False)):
        policy = documents.convert(policy_document("p", [hold(approval="counted", hold={"preview": preview})]))
        assert isinstance(policy, model.Policy)
        found = {each.path: each.message for each in validate([policy, demanding])}
        assert ("$.spec.rules[0].hold.preview" in found) is wrong, preview
