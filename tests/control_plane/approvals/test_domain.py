"""The rules of approval, by table and by every sequence that hypothesis can think of."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.approvals.domain import (
    OUTCOMES,
    TRANSITIONS,
    UNDECIDED,
    Agreed,
    Chain,
    Counted,
    Denied,
    Event,
    IllegalTransition,
    Ineligible,
    Outcome,
    Parties,
    Person,
    Refusal,
    Refused,
    Request,
    Stage,
    State,
    Verb,
    Vote,
    after,
    approve_by_ms,
    ineligible,
    progress,
    rule,
    unanswerable,
)

SHOWN = b"d" * 32
PARTIES = Parties("idn_requester", frozenset({"idn_owner"}))


def person(name: str, *groups: str, kind: str = "person", may_review: bool = True, enabled: bool = True) -> Person:
    return Person(f"idn_{name}", name, kind, frozenset(groups), may_review, enabled)


def chain(*stages: tuple[tuple[str, ...], int]) -> Chain:
    return Chain("chain", tuple(Stage(groups, required, 60) for groups, required in stages), 300)


def request(needs: Chain, *votes: Vote, state: State = State.PENDING) -> Request:
    return Request(state, needs, PARTIES, SHOWN, approve_by_ms=1000, votes=votes)


def decide(asked: Request, who: Person, verb: Verb = Verb.APPROVE, **more: object) -> object:
    known = {"shown": SHOWN, "at_ms": 10, "channel": "console", "reason": "no", **more}
    people = {f"idn_{vote.name}": person(vote.name, "dba") for vote in asked.votes}
    return rule(asked, verb, who, people, **known)  # type: ignore[arg-type]


# ------------------------------------------------------------------ states


def test_every_state_but_the_first_can_be_reached_and_the_last_ones_go_nowhere() -> None:
    assert set(TRANSITIONS.values()) == set(State) - {State.REQUESTED}
    undone = {State.REFUSED, State.DENIED, State.EXPIRED, State.CANCELLED, State.VOIDED}
    final = undone | {State.EXECUTED, State.FAILED, State.ENDED}
    assert {state for state in State if not any(state is before for before, _ in TRANSITIONS)} == final


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_the_table_does_not_name_is_refused(state: State, event: Event) -> None:
    then = after(state, event)
    if (state, event) in TRANSITIONS:
        assert then is TRANSITIONS[state, event]
    else:
        assert then == IllegalTransition(state, event)


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_no_sequence_of_events_gives_two_decisions(events: list[Event]) -> None:
    """Once people said yes or no, or nobody did, no event turns one of these into another."""
    state, decisions = State.REQUESTED, []
    for event in events:
        then = after(state, event)
        if isinstance(then, IllegalTransition):
            continue
        if state in UNDECIDED and then not in UNDECIDED:
            decisions.append(then)
        state = then
    assert len(decisions) <= 1
    if decisions and decisions[0] is not State.APPROVED:
        assert state is decisions[0]


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_nothing_executes_without_an_approval(events: list[Event]) -> None:
    state, approved = State.REQUESTED, False
    for event in events:
        then = after(state, event)
        if isinstance(then, State):
            state = then
            approved = approved or state is State.APPROVED
        assert approved or OUTCOMES.get(state) is not Outcome.APPROVED


# ------------------------------------------------------------------ who


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (person("ada", "dba"), None),
        (person("ada", "dba", kind="machine"), Ineligible.MACHINE),
        (person("ada", "dba", enabled=False), Ineligible.DISABLED),
        (person("ada", "dba", may_review=False), Ineligible.NOT_REVIEWER),
        (person("requester", "dba"), Ineligible.REQUESTER),
        (person("owner", "dba"), Ineligible.OWNER),
    ],
)
def test_who_may_ever_decide(who: Person, why: Ineligible | None) -> None:
    assert ineligible(PARTIES, who) is why


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("name", ["requester", "owner"])
def test_requester_and_owner_neither_approve_nor_deny(verb: Verb, name: str) -> None:
    ruling = decide(request(chain((("dba",), 1))), person(name, "dba"), verb)
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.NOT_ENTITLED


def test_a_person_of_another_group_does_not_decide() -> None:
    ruling = decide(request(chain((("dba",), 1))), person("eve", "security"))
    assert ruling == Refused(Refusal.NOT_ENTITLED, Ineligible.NOT_IN_STAGE.value)


def test_one_person_counts_once() -> None:
    asked = request(chain((("dba",), 2)), Vote("idn_ada", "ada", 0, 5, "cli"))
    assert decide(asked, person("ada", "dba")) == Refused(Refusal.NOT_ENTITLED, Ineligible.ALREADY.value)
    assert isinstance(decide(asked, person("bob", "dba")), Agreed)


def test_two_of_a_group_need_two() -> None:
    ruling = decide(request(chain((("dba",), 2))), person("ada", "dba"))
    assert isinstance(ruling, Counted)
    assert ruling.progress.missing == 1


def test_who_lost_the_role_after_agreeing_does_not_count_any_more() -> None:
    asked = request(chain((("dba",), 2)), Vote("idn_ada", "ada", 0, 5, "cli"))
    people = {"idn_ada": person("ada", "dba", may_review=False)}
    ruling = rule(asked, Verb.APPROVE, person("bob", "dba"), people, shown=SHOWN, at_ms=9, channel="cli")
    assert isinstance(ruling, Counted)
    assert [vote.name for vote in ruling.progress.counted] == ["bob"]


def test_stages_come_in_order() -> None:
    needs = chain((("dba",), 1), (("security",), 1))
    eve, ada = person("eve", "security"), person("ada", "dba")
    assert isinstance(decide(request(needs), eve), Refused)
    first = decide(request(needs), ada)
    assert isinstance(first, Counted)
    assert first.progress.stage == 1
    assert isinstance(decide(request(needs, first.vote), eve), Agreed)


def test_somebody_in_both_groups_counts_for_one_stage_only() -> None:
    needs = chain((("dba",), 1), (("security",), 1))
    both = person("both", "dba", "security")
    first = decide(request(needs), both)
    assert isinstance(first, Counted)
    assert isinstance(decide(request(needs, first.vote), both), Refused)


# ------------------------------------------------------------------ what else is asked


def test_another_digest_than_the_one_shown_is_refused() -> None:
    ruling = decide(request(chain((("dba",), 1))), person("ada", "dba"), shown=b"x" * 32)
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.STALE


@pytest.mark.parametrize("state", [state for state in State if state is not State.PENDING])
def test_only_what_is_pending_can_be_decided(state: State) -> None:
    ruling = decide(request(chain((("dba",), 1)), state=state), person("ada", "dba"))
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.OVER


def test_at_the_deadline_it_is_too_late() -> None:
    asked = request(chain((("dba",), 1)))
    assert isinstance(decide(asked, person("ada", "dba"), at_ms=999), Agreed)
    late = decide(asked, person("ada", "dba"), at_ms=1000)
    assert isinstance(late, Refused)
    assert late.why is Refusal.OVER


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_denial_says_why(reason: str) -> None:
    asked = request(chain((("dba",), 1)))
    ruling = decide(asked, person("ada", "dba"), Verb.DENY, reason=reason)
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.REASON_MISSING
    assert isinstance(decide(asked, person("ada", "dba"), Verb.DENY), Denied)


def test_a_chain_that_nobody_can_satisfy_is_refused_at_once() -> None:
    two = chain((("dba",), 2))
    ada, owner, bot = person("ada", "dba"), person("owner", "dba"), person("bot", "dba", kind="machine")
    assert "1 could approve" in (unanswerable(two, PARTIES, [ada, owner, bot]) or "")
    assert unanswerable(two, PARTIES, [ada, person("bob", "dba"), owner]) is None
    assert unanswerable(chain(), PARTIES, [ada]) == "approval chain 'chain' has no stage"


def test_the_client_s_wait_bounds_the_stage() -> None:
    needs = chain((("dba",), 1))  # 60 seconds
    assert approve_by_ms(needs, 1_000, 1_000_000) == 61_000
    assert approve_by_ms(needs, 1_000, 30_000) == 30_000


# ------------------------------------------------------------------ every chain, every crowd

GROUPS = ("dba", "security", "oncall")
stages = st.tuples(st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True).map(tuple), st.integers(1, 3))
crowd = st.lists(
    st.builds(
        Person,
        id=st.sampled_from([f"idn_{number}" for number in range(6)] + ["idn_requester", "idn_owner"]),
        name=st.just("somebody"),
        kind=st.sampled_from(["person", "person", "person", "machine"]),
        groups=st.frozensets(st.sampled_from(GROUPS)),
        may_review=st.sampled_from([True, True, False]),
        enabled=st.sampled_from([True, True, False]),
    ),
    unique_by=lambda one: one.id,
    max_size=8,
)


@given(st.lists(stages, min_size=1, max_size=3), crowd, st.lists(st.integers(0, 7), max_size=20))
def test_a_grant_needs_the_required_distinct_entitled_people(
    needs: list[tuple[tuple[str, ...], int]], people: list[Person], order: list[int]
) -> None:
    """Whoever speaks in whatever order, and however often: agreement means that enough different people, each
    entitled and in a group of the stage, agreed to every stage."""
    wanted, known = chain(*needs), {one.id: one for one in people}
    asked = request(wanted)
    for index in order:
        if not people:
            break
        who = people[index % len(people)]
        ruling = rule(asked, Verb.APPROVE, who, known, shown=SHOWN, at_ms=1, channel="rest")
        if isinstance(ruling, Counted | Agreed):
            asked = msgspec.structs.replace(asked, votes=(*asked.votes, ruling.vote))
        if isinstance(ruling, Agreed):
            voters = [vote.identity_id for vote in ruling.progress.counted]
            assert len(voters) == len(set(voters)) == sum(stage.required for stage in wanted.stages)
            assert {"idn_requester", "idn_owner"}.isdisjoint(voters)
            for vote in ruling.progress.counted:
                voter = known[vote.identity_id]
                assert voter.kind == "person"
                assert voter.enabled
                assert voter.may_review
                assert voter.groups & set(wanted.stages[vote.stage].groups)
            return


@given(
    st.lists(stages, min_size=1, max_size=2),
    crowd,
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), max_size=8),
)
def test_votes_that_are_repeated_or_forged_never_count_twice(
    needs: list[tuple[tuple[str, ...], int]], people: list[Person], cast: list[tuple[int, int]]
) -> None:
    votes = [Vote(people[index % len(people)].id, "x", stage, 1, "rest") for index, stage in cast if people]
    found = progress(chain(*needs), PARTIES, votes, {one.id: one for one in people})
    voters = [vote.identity_id for vote in found.counted]
    assert len(voters) == len(set(voters))
    for permuted in itertools.islice(itertools.permutations(votes), 6):
        again = progress(chain(*needs), PARTIES, permuted, {one.id: one for one in people})
        assert len(again.counted) <= sum(required for _, required in needs)
