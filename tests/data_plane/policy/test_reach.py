"""What the account of a session is made for: what policy may allow it without people, neither more nor less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.gate.interface import Action, Effect, Requester, SessionFacts
from data_plane.policy import reach
from data_plane.policy.evaluate import SessionPolicy
from data_plane.policy.model import Policy
from data_plane.policy.rules import compile_policy
from data_plane.policy.vocabulary import possible
from tests.support.policies import DDL, READS, ROBOT, WRITES, allow, deny, hold, policy, session, subject

EVERYTHING = {"read", "write", "ddl", "admin", "exec"}


def reached(*rules: dict[str, Any], facts: SessionFacts | None = None, **spec: Any) -> set[str]:
    return of(policy("p", list(rules), **spec), facts=facts)


def of(*policies: Policy, facts: SessionFacts | None = None) -> set[str]:
    return set(reach.actions([compile_policy(each) for each in policies], facts or session(), "shop"))


def test_a_session_reaches_what_a_rule_allows_and_not_what_only_people_can() -> None:
    assert reached(allow(match=READS), hold(match=WRITES), deny(match=DDL)) == {"read"}
    assert reached() == set()


def test_policies_that_select_another_target_or_requester_give_nothing() -> None:
    assert reached(allow(), targets={"names": "billing"}) == set()
    assert reached(allow(), requesters={"groups": ["dba"]}) == set()
    assert of(policy("a", [allow(match=READS)]), policy("b", [allow(match=WRITES)])) == {"read", "write"}


def test_a_rule_without_an_action_reaches_all_that_its_verbs_can_have() -> None:
    assert reached(allow()) == EVERYTHING
    assert reached(allow(match={"tables": ["public.*"]})) == EVERYTHING
    assert reached(allow(match={"functions": ["public.f"]})) == EVERYTHING
    assert reached(allow(match={"verbs": ["BEGIN", "COMMIT"]})) == set()
    assert reached(allow(match={"verbs": ["TRUNCATE"]})) == EVERYTHING - {"read"}
    assert reached(allow(match={"verbs": ["vacuum"]})) == {"admin", "exec"}
    assert reached(allow(match={"verbs": ["DELETE"], **WRITES})) == {"write"}


def test_what_needs_no_right_at_the_target_is_not_in_it() -> None:
    assert reached(allow(match={"action": ["session", "connect"]})) == set()
    assert reach.needed([Action.SESSION, Action.CONNECT]) == set()


def test_what_is_not_understood_needs_the_rights_of_what_runs_any_code() -> None:
    assert reached(allow(match={"action": "unknown"})) == {"exec"}
    assert reached(allow(match={"action": "unknown"}), hold(match={"action": "unknown"})) == set()
    assert reach.needed([Action.UNKNOWN, Action.READ]) == {"exec", "read"}


def test_a_stricter_rule_that_always_applies_takes_its_action_away() -> None:
    assert reached(allow(), deny(match=WRITES)) == EVERYTHING - {"write"}
    assert reached(allow(), hold(match={"action": ["ddl", "admin", "exec"]})) == {"read", "write"}
    assert of(policy("a", [allow()]), policy("b", [hold()])) == set()


def test_a_stricter_rule_of_a_policy_that_does_not_select_the_session_takes_nothing() -> None:
    others = policy("b", [deny()], requesters={"groups": ["dba"]})
    assert of(policy("a", [allow(match=READS)]), others) == {"read"}


def test_a_stricter_rule_that_leaves_something_takes_nothing() -> None:
    assert reached(allow(match=WRITES), deny(match={"tables": ["public.salaries"]})) == {"write"}
    assert reached(allow(match=WRITES), deny(match={"verbs": ["DELETE"]})) == {"write"}
    assert reached(allow(match=WRITES), deny(match=WRITES, when="!op.has_where")) == {"write"}
    assert reached(allow(match=WRITES), deny(match={"functions": ["*"]})) == {"write"}


def test_a_stricter_rule_as_wide_as_what_is_allowed_leaves_nothing_of_it() -> None:
    orders = {"tables": ["public.orders"], **WRITES}
    assert reached(allow(match=orders), hold(match={"tables": ["public.*"], **WRITES})) == set()
    assert reached(allow(match={"verbs": ["DELETE"], **WRITES}), hold(match={"verbs": ["DELETE", "UPDATE"]})) == set()
    both = {"tables": ["public.orders", "hr.staff"], **WRITES}
    assert reached(allow(match=both), hold(match={"tables": ["public.*"], **WRITES})) == {"write"}


def test_conditions_on_the_session_count_as_they_are() -> None:
    assert reached(allow(when="target.environment == 'staging'")) == set()
    assert reached(allow(when="target.environment == 'production'")) == EVERYTHING
    assert reached(allow(when="session.database == 'shop'", match=READS)) == {"read"}
    assert reached(allow(), deny(match=WRITES, when="target.environment == 'production'")) == EVERYTHING - {"write"}
    assert reached(allow(), deny(match=WRITES, when="target.environment == 'staging'")) == EVERYTHING


def test_a_condition_on_the_session_that_cannot_be_evaluated_allows_nothing_and_denies() -> None:
    assert reached(allow(when="target.labels['owner'] == 'me'")) == set()
    assert reached(allow(), deny(match=DDL, when="target.labels['owner'] == 'me'")) == EVERYTHING - {"ddl"}


def test_a_condition_on_the_operation_is_assumed_to_let_it_pass() -> None:
    assert reached(allow(when="op.has_where", match=WRITES)) == {"write"}
    assert reached(allow(), hold(when="op.cascade", match=DDL)) == EVERYTHING


def test_what_a_condition_says_of_the_action_and_the_session_is_believed() -> None:
    assert reached(allow(when="op.action == 'read'")) == {"read"}
    assert reached(allow(when="op.action == 'write'")) == {"read", "write"}, "a write may read as well"
    assert reached(allow(when="op.has_where && target.environment == 'staging'")) == set()
    assert reached(allow(), hold(when="op.action != 'read'")) == {"read"}


def test_who_the_requester_is_now_decides() -> None:
    rules = policy("p", [allow(match=WRITES)], requesters={"groups": ["dba"]})
    dba = Requester(ROBOT.id, ROBOT.name, ROBOT.kind, ("dba",), ROBOT.owner_id)
    assert of(rules) == set()
    assert of(rules, facts=session(requester=dba)) == {"write"}


ACTIONS = ["read", "write", "ddl", "admin", "exec"]
VERBS = ["SELECT", "DELETE", "TRUNCATE", "DROP"]
TABLES = ["public.a", "public.b", "hr.c"]
PATTERNS = st.lists(st.sampled_from([*TABLES, "public.*", "*"]), max_size=2)
CONDITIONS = st.sampled_from(["", "", "op.has_where", "target.environment == 'production'", "op.action != 'read'"])


@st.composite
def written(draw: st.DrawFn) -> dict[str, Any]:
    match = {
        "action": draw(st.lists(st.sampled_from(ACTIONS), unique=True, max_size=2)),
        "verbs": draw(st.lists(st.sampled_from(VERBS), unique=True, max_size=2)),
        "tables": draw(PATTERNS),
    }
    made = draw(st.sampled_from([allow, allow, hold, deny]))
    when = draw(CONDITIONS)
    return made(f"r{draw(st.integers(0, 10**9))}", match=match, **({"when": when} if when else {}))


@given(
    st.lists(written(), max_size=5),
    st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(VERBS), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(TABLES), max_size=2, unique=True),
    st.booleans(),
)
def test_whatever_policy_allows_is_within_reach(rules, actions, verbs, tables, has_where) -> None:  # type: ignore[no-untyped-def]
    worst = max(actions, key=ACTIONS.index)
    if not all(possible(action, verb) for action in actions for verb in verbs):
        return
    asked = subject(worst, *verbs, tables=tuple(tables), also=tuple(actions), has_where=has_where)
    compiled = [compile_policy(policy("p", rules))]
    if SessionPolicy(compiled, session(), "shop").decide(asked).effect is Effect.ALLOW:
        assert set(actions) <= reach.actions(compiled, session(), "shop")


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_reached_by_the_rule_that_names_it(action: str) -> None:
    assert reached(allow(match={"action": action})) == {action}
