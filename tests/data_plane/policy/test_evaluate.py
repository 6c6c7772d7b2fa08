"""Deny over hold over allow, and what each match means (DESIGN invariants 3 and 4)."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from data_plane.gate.interface import Action, Effect
from data_plane.policy import evaluate
from data_plane.policy.evaluate import SessionPolicy, combined
from data_plane.policy.rules import compile_policy
from tests.support.policies import DDL, READS, WRITES, allow, decider, deny, hold, policy, session, subject

STRICTNESS = [Effect.ALLOW, Effect.HOLD, Effect.DENY]


def test_what_no_rule_matches_is_denied() -> None:
    assert decider(allow(match=READS)).decide(subject("write", "INSERT")).effect is Effect.DENY
    assert decider().decide(subject()).effect is Effect.DENY


def test_deny_wins_over_hold_and_hold_wins_over_allow_in_any_order() -> None:
    rules = [allow(), hold(), deny()]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        decision = decider(*[rules[index] for index in order]).decide(subject())
        assert (decision.effect, decision.rules) == (Effect.DENY, ("p/deny",))
    assert decider(allow(), hold()).decide(subject()).effect is Effect.HOLD


def test_a_hold_carries_its_chain_and_the_shortest_wait() -> None:
    slow = hold("slow", hold={"wait": "15m", "in_transaction": "30s"})
    quick = hold("quick", hold={"wait": "1m", "in_transaction": "50s", "then": "ticket"})
    decision = decider(slow, quick).decide(subject())
    assert decision.chain == "dba"
    assert (decision.wait_seconds, decision.wait_in_transaction_seconds, decision.ticket) == (60, 30, False)
    assert decision.rules == ("p/quick", "p/slow")


def test_a_hold_asks_for_all_previews_of_the_rules_that_fired_in_the_order_of_their_cost() -> None:
    one, other = hold("one", hold={"preview": ["count", "facts"]}), hold("other", hold={"preview": ["estimate"]})
    assert decider(one, other).decide(subject()).preview == ("facts", "estimate", "count")
    batch = combined([decider(one).decide(subject()), decider(other).decide(subject())])
    assert batch.preview == ("facts", "estimate", "count")


def test_holds_that_ask_different_people_cannot_both_be_obeyed_and_deny() -> None:
    decision = decider(hold("one"), hold("other", approval="finance")).decide(subject())
    assert decision.effect is Effect.DENY
    assert decision.message.endswith("p/one asks for dba, p/other asks for finance")


def test_an_allowing_rule_must_match_every_candidate_of_every_table() -> None:
    rules = decider(allow(match={"tables": ["public.*"]}))
    assert rules.decide(subject(tables=("public.a", "public.b"))).effect is Effect.ALLOW
    assert rules.decide(subject(tables=("public.a", "secret.b"))).effect is Effect.DENY
    assert rules.decide(subject(tables=(("public.a", "secret.a"),))).effect is Effect.DENY
    assert rules.decide(subject(tables=("?.a",))).effect is Effect.DENY


def test_a_star_matches_every_table() -> None:
    one = subject(tables=("public.a",))
    assert decider(allow(match={"tables": ["*"]})).decide(one).effect is Effect.ALLOW
    assert decider(allow(), hold(match={"tables": ["*"]})).decide(one).effect is Effect.HOLD
    assert decider(allow(), deny(match={"tables": ["hr.x", "*"]})).decide(one).effect is Effect.DENY
    assert decider(allow(), deny(match={"tables": ["*"]})).decide(subject()).effect is Effect.ALLOW


def test_an_allowing_rule_with_tables_says_nothing_about_operations_without_tables() -> None:
    rules = decider(allow(match={"tables": ["*"]}))
    assert rules.decide(subject("admin", "CREATE")).effect is Effect.DENY


def test_a_denying_rule_matches_when_one_candidate_of_one_table_does() -> None:
    rules = decider(allow(), deny(match={"tables": ["public.salaries"]}))
    assert rules.decide(subject(tables=("public.a", ("public.salaries", "hr.salaries")))).effect is Effect.DENY
    assert rules.decide(subject(tables=("?.salaries",))).effect is Effect.DENY
    assert rules.decide(subject(tables=("hr.salaries",))).effect is Effect.ALLOW


def test_functions_match_like_tables() -> None:
    rules = decider(allow(match={"functions": ["pg_catalog.*"]}), hold(match={"functions": ["pg_catalog.pg_sleep*"]}))
    assert rules.decide(subject(functions=("pg_catalog.now",))).effect is Effect.ALLOW
    assert rules.decide(subject(functions=("pg_catalog.now", "public.f"))).effect is Effect.DENY
    assert rules.decide(subject(functions=("pg_catalog.now", "pg_catalog.pg_sleep_for"))).effect is Effect.HOLD


def test_verbs_match_any_and_in_any_case() -> None:
    rules = decider(allow(), deny(match={"verbs": ["update", "DELETE"]}))
    assert rules.decide(subject("write", "INSERT")).effect is Effect.ALLOW
    assert rules.decide(subject("write", "INSERT", "UPDATE")).effect is Effect.DENY


def test_what_is_not_understood_is_allowed_only_by_a_rule_that_names_unknown() -> None:
    puzzling = subject("unknown", "SELECT", understood=False)
    assert decider(allow()).decide(puzzling).effect is Effect.DENY
    assert decider(allow(match={"action": ["read", "unknown"]})).decide(puzzling).effect is Effect.ALLOW
    assert decider(hold()).decide(puzzling).effect is Effect.HOLD
    assert decider(deny()).decide(puzzling).rules == ("p/deny",)


def test_an_action_that_is_claimed_for_something_not_understood_allows_nothing() -> None:
    puzzling = subject("read", "SELECT", understood=False)
    assert decider(allow(match=READS)).decide(puzzling).effect is Effect.DENY
    assert decider(deny(match=READS), allow(match={"action": "unknown"})).decide(puzzling).effect is Effect.DENY


def test_a_milder_part_of_an_operation_is_held_and_denied_like_one_that_stands_alone() -> None:
    """CREATE TEMP TABLE x AS WITH d AS (DELETE …) SELECT …, where temporary tables are free and writes are held."""
    made = subject("ddl", "CREATE", "DELETE", "SELECT", also=("write", "read"), temporary=True)
    free = allow("free", match=DDL, when="op.temporary")
    reads = allow("reads", match=READS)
    assert decider(free, reads, hold(match=WRITES)).decide(made).rules == ("p/hold",)
    assert decider(free, reads, allow(match=WRITES), deny(match=WRITES)).decide(made).effect is Effect.DENY
    assert decider(free, reads, hold(match={**WRITES, "verbs": ["DELETE"]})).decide(made).effect is Effect.HOLD


def test_rules_that_allow_cover_every_action_alone_or_together() -> None:
    both = subject("ddl", "CREATE", also=("write", "read"))
    several = [allow("a", match=DDL, mask=["one"]), allow("b", match=WRITES, mask=["two"]), allow("c", match=READS)]
    together = decider(*several).decide(both)
    assert (together.effect, together.rules, together.masks) == (Effect.ALLOW, ("p/a", "p/b", "p/c"), ("one", "two"))
    assert decider(allow(match={"action": ["ddl", "write", "read"]})).decide(both).effect is Effect.ALLOW
    for missing, action in enumerate(("ddl", "write", "read")):
        refused = decider(*(rule for index, rule in enumerate(several) if index != missing)).decide(both)
        assert refused.effect is Effect.DENY
        assert f"it is also {action}" in refused.message


def test_people_are_not_asked_to_approve_what_is_worse_than_what_is_held() -> None:
    worse = subject("admin", "DELETE", "SELECT", also=("write", "read"))
    refused = decider(hold(match=WRITES), allow(match=READS)).decide(worse)
    assert (refused.effect, "it is also admin" in refused.message) == (Effect.DENY, True)
    assert decider(hold(match=WRITES), allow(match={"action": "admin"})).decide(worse).effect is Effect.HOLD
    assert decider(hold(match={"action": "admin"})).decide(worse).effect is Effect.HOLD, "what is milder is seen too"


def test_what_is_not_understood_needs_a_rule_for_what_else_it_is() -> None:
    puzzling = subject("unknown", "DELETE", understood=False, also=("write",))
    assert decider(allow(match={"action": "unknown"})).decide(puzzling).effect is Effect.DENY
    assert decider(allow(match={"action": ["unknown", "write"]})).decide(puzzling).effect is Effect.ALLOW
    assert decider(allow(match={"action": "unknown"}), hold(match=WRITES)).decide(puzzling).effect is Effect.HOLD


def test_what_concerns_the_session_beside_something_else_needs_no_rule_and_can_be_denied() -> None:
    beside = subject("read", "SELECT", "SET", also=("session",))
    assert decider(allow(match=READS)).decide(beside).effect is Effect.ALLOW
    assert decider(allow(match=READS), deny(match={"action": "session"})).decide(beside).effect is Effect.DENY


def test_the_action_of_a_subject_is_among_its_actions() -> None:
    assert subject("write").actions == {"write"}
    changed = msgspec.structs.replace(subject("read"), action=Action.UNKNOWN, understood=False)
    assert changed.actions == {"read", "unknown"}


def test_session_actions_are_allowed_unless_denied_or_held_by_name() -> None:
    begin = subject("session", "BEGIN")
    assert decider().decide(begin).rules == ("builtin/session",)
    assert decider(hold()).decide(begin).effect is Effect.ALLOW
    assert decider(hold(match={"action": "session"})).decide(begin).effect is Effect.HOLD
    assert decider(deny()).decide(begin).effect is Effect.DENY


def test_conditions_are_asked_only_where_the_match_holds() -> None:
    rules = decider(allow(), deny(match={"verbs": ["UPDATE", "DELETE"]}, when="!op.has_where", message="add a WHERE"))
    assert rules.decide(subject("write", "DELETE", has_where=True)).effect is Effect.ALLOW
    refused = rules.decide(subject("write", "DELETE", has_where=False))
    assert (refused.effect, refused.message) == (Effect.DENY, "add a WHERE")


def test_a_condition_that_cannot_be_evaluated_denies_and_holds_and_never_allows() -> None:
    without_fact = subject("write", "DELETE")
    when = {"when": "op.has_where"}
    assert decider(allow(), deny(**when)).decide(without_fact).effect is Effect.DENY
    assert decider(allow(), hold(**when)).decide(without_fact).effect is Effect.HOLD
    assert decider(allow(**when)).decide(without_fact).effect is Effect.DENY


def test_session_actions_without_facts_have_the_usual_ones() -> None:
    rules = decider(deny(when="op.limit > 1000"))
    assert rules.decide(subject("session", "EXECUTE")).effect is Effect.ALLOW


def test_conditions_see_requester_target_and_session() -> None:
    when = (
        "'ci' in requester.groups && requester.kind == 'machine' && target.labels['team'] == 'shop' "
        "&& session.database == 'shop' && session.application_name.startsWith('ps') && op.tables == ['public.a']"
    )
    rules = decider(allow(when=when))
    assert rules.decide(subject(tables=("public.a",))).effect is Effect.ALLOW
    assert rules.decide(subject(tables=("public.b",))).effect is Effect.DENY


def test_policies_apply_where_their_selectors_hold() -> None:
    for spec, applies in (
        ({"targets": {"environment": "production", "protocol": ["mysql", "postgres"]}}, True),
        ({"targets": {"names": "ord*"}}, True),
        ({"targets": {"environment": "staging"}}, False),
        ({"targets": {"labels": {"team": "shop"}}}, True),
        ({"targets": {"labels": {"team": "bank"}}}, False),
        ({"requesters": {"groups": ["dba", "ci"]}}, True),
        ({"requesters": {"groups": ["dba"], "identities": ["robot"]}}, True),
        ({"requesters": {"groups": ["dba"]}}, False),
        ({"requesters": {"kind": "person"}}, False),
    ):
        assert (decider(allow(), **spec).decide(subject()).effect is Effect.ALLOW) == applies, spec


def test_a_session_opens_when_a_policy_selects_it_and_none_denies_connecting() -> None:
    assert decider(allow(match=READS)).connect().effect is Effect.ALLOW
    assert decider(allow(), requesters={"groups": ["dba"]}).connect().effect is Effect.DENY
    refused = decider(allow(), deny(match={"action": "connect"}, message="not at night")).connect()
    assert (refused.effect, refused.message) == (Effect.DENY, "not at night")
    assert decider(deny()).connect().effect is Effect.ALLOW, "a rule that does not name connect says nothing of it"


def test_masks_of_rules_that_only_mask_hold_for_the_session_and_others_when_they_fire() -> None:
    rules = decider(
        {"name": "always", "match": {"tables": ["public.customers"]}, "mask": ["pii"]},
        {"name": "elsewhere", "when": "target.environment == 'staging'", "mask": ["other"]},
        {"name": "not-told", "when": "target.labels['missing'] == 'x'", "mask": ["strict"]},
        allow(match=READS, mask=["mail"]),
        allow("more", match=READS, mask=["cards"]),
    )
    assert rules.masks == ("pii", "strict")
    assert rules.decide(subject()).masks == ("cards", "mail")


def test_a_batch_is_denied_over_held_over_allowed() -> None:
    rules = decider(allow(match=READS, mask=["mail"]), hold(match=WRITES), deny(match=DDL))
    read, write, ddl = (rules.decide(subject(action)) for action in ("read", "write", "ddl"))
    assert combined([read, write, ddl]).effect is Effect.DENY
    held = combined([read, write])
    assert (held.effect, held.chain, held.masks, held.rules) == (Effect.HOLD, "dba", ("mail",), ("p/hold",))
    assert combined([read, read]).effect is Effect.ALLOW
    assert combined([]).effect is Effect.DENY


def test_a_batch_whose_statements_need_different_people_is_denied_with_the_way_out() -> None:
    rules = decider(hold("one", match=WRITES), hold("two", approval="finance", match=READS))
    decision = combined([rules.decide(subject("write")), rules.decide(subject("read"))])
    assert decision.effect is Effect.DENY
    assert "send them separately" in decision.message


actions = st.sampled_from(["read", "write", "ddl", "admin", "exec", "session", "unknown"])
tables = st.sampled_from(["public.a", "public.b", "secret.a", "?.a"])
patterns = st.sampled_from(["public.*", "*", "public.a", "*.a", "secret.*"])
whens = st.sampled_from(["", "op.has_where", "!op.has_where", "'ci' in requester.groups", "op.tables[3] == 'x'"])
matches = st.fixed_dictionaries(
    {},
    optional={
        "action": st.lists(actions, min_size=1, max_size=2),
        "verbs": st.lists(st.sampled_from(["SELECT", "UPDATE"]), min_size=1),
        "tables": st.lists(patterns, min_size=1, max_size=2),
    },
)
subjects = st.builds(
    lambda action, also, verb, touched, facts, understood: subject(
        action,
        verb,
        tables=tuple(touched),
        understood=understood and "unknown" not in (action, *also),
        also=tuple(also),
        **facts,
    ),
    actions,
    st.lists(actions, max_size=2),
    st.sampled_from(["SELECT", "UPDATE"]),
    st.lists(st.one_of(tables, st.tuples(tables, tables)), max_size=2),
    st.fixed_dictionaries({}, optional={"has_where": st.booleans()}),
    st.booleans(),
)


@st.composite
def rules(draw: st.DrawFn) -> list[dict]:
    effects = draw(st.lists(st.sampled_from(["allow", "hold", "deny"]), max_size=5))
    made = []
    for index, effect in enumerate(effects):
        chain = {"approval": draw(st.sampled_from(["dba", "finance"]))} if effect == "hold" else {}
        made.append({"name": f"r{index}", "effect": effect, "match": draw(matches), "when": draw(whens), **chain})
    return made


@given(rules(), subjects, matches, whens)
def test_adding_a_deny_never_widens(rules: list[dict], what, match: dict, when: str) -> None:
    before = decider(*rules).decide(what).effect
    after = decider(*rules, deny("added", match=match, when=when)).decide(what).effect
    assert STRICTNESS.index(after) >= STRICTNESS.index(before)


@given(rules(), subjects, matches, whens)
def test_adding_a_hold_never_lets_through_what_did_not_pass(rules: list[dict], what, match: dict, when: str) -> None:
    before = decider(*rules).decide(what).effect
    after = decider(*rules, hold("added", match=match, when=when)).decide(what).effect
    assert after is not Effect.ALLOW or before is Effect.ALLOW


@given(rules(), subjects, actions, st.booleans())
def test_one_more_action_never_widens(rules: list[dict], what, action: str, worst: bool) -> None:
    more = msgspec.structs.replace(what, actions=what.actions | {Action(action)})
    if worst and action == "unknown":
        more = msgspec.structs.replace(more, action=Action.UNKNOWN, understood=False)
    before, after = decider(*rules).decide(what), decider(*rules).decide(more)
    assert after.effect is not Effect.ALLOW or before.effect is Effect.ALLOW
    assert before.effect is not Effect.DENY or not before.rules or after.effect is Effect.DENY


def test_facts_are_missing_and_not_false_as_soon_as_one_action_has_some() -> None:
    """A part without facts beside one that should have them tells nothing of the other."""
    rules = decider(allow(when="!op.has_where"))
    assert rules.decide(subject("session", "BEGIN")).effect is Effect.ALLOW
    assert rules.decide(subject("session", "SELECT", also=("read",))).effect is Effect.DENY


@given(rules(), subjects)
def test_what_is_allowed_is_covered_and_nothing_in_it_is_held_or_denied(rules: list[dict], what) -> None:
    """Each of its actions alone would not be refused by a rule either."""
    if decider(*rules).decide(what).effect is Effect.ALLOW:
        for action in what.actions:
            alone = msgspec.structs.replace(what, action=action, actions=frozenset({action}))
            assert decider(*rules).decide(alone).effect is Effect.ALLOW


@given(rules(), subjects, st.randoms())
def test_the_order_of_rules_and_policies_does_not_matter(rules: list[dict], what, random) -> None:
    shuffled = list(rules)
    random.shuffle(shuffled)
    split = random.randint(0, len(rules))
    one = decider(*rules).decide(what)
    assert decider(*shuffled).decide(what) == one
    parts = [policy("p", shuffled[split:]), policy("p", shuffled[:split])]
    assert SessionPolicy([compile_policy(part) for part in parts], session(), "shop").decide(what) == one


@given(rules(), st.sampled_from([None, 3, "text", subject("read", has_where="not a boolean"), subject("connect")]))
def test_deciding_never_raises_and_never_allows_nonsense(rules: list[dict], nonsense) -> None:
    decision = decider(*rules).decide(nonsense)
    if not hasattr(nonsense, "action"):
        assert decision.effect is Effect.DENY


@given(rules(), subjects)
def test_looking_rules_up_by_table_finds_what_trying_each_finds(rules: list[dict], what) -> None:
    policy_of_session = decider(*rules)
    seen = evaluate._Seen(what, policy_of_session._values)
    for candidates in policy_of_session._candidates(what):
        assert candidates.fired(seen) == [rule for rule in candidates._every if evaluate._fires(rule, seen)]
