"""Deny over hold over allow, and what each match means (DESIGN invariants 3 and 4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data_plane.gate.interface import Effect
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


def test_holds_that_ask_different_people_cannot_both_be_obeyed_and_deny() -> None:
    decision = decider(hold("one"), hold("other", approval="finance")).decide(subject())
    assert decision.effect is Effect.DENY
    assert "dba, finance" in decision.message


def test_an_allowing_rule_must_match_every_candidate_of_every_table() -> None:
    rules = decider(allow(match={"tables": ["public.*"]}))
    assert rules.decide(subject(tables=("public.a", "public.b"))).effect is Effect.ALLOW
    assert rules.decide(subject(tables=("public.a", "secret.b"))).effect is Effect.DENY
    assert rules.decide(subject(tables=(("public.a", "secret.a"),))).effect is Effect.DENY
    assert rules.decide(subject(tables=("?.a",))).effect is Effect.DENY


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
    lambda action, verb, touched, facts, understood: subject(
        action, verb, tables=tuple(touched), understood=understood and action != "unknown", **facts
    ),
    actions,
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
