"""Who takes which place: compared with an oracle that tries everything, for every chain, crowd and order."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.approvals.domain import (
    Agreed,
    Chain,
    Counted,
    Ineligible,
    Person,
    Refused,
    Request,
    Requirement,
    Stage,
    State,
    Verb,
    Vote,
    progress,
    rule,
    unanswerable,
)
from tests.control_plane.approvals import crowds
from tests.control_plane.approvals.crowds import PARTIES

SHOWN = b"d" * 32
escalations = st.frozensets(st.integers(0, 2))


def vote(person: Person, stage: int = 0, at_ms: int = 1) -> Vote:
    return Vote(person.id, person.name, stage, at_ms, "rest", on_call=tuple(person.on_call))


def person(name: str, *groups: str, on_call: tuple[str, ...] = ()) -> Person:
    return Person(f"idn_{name}", name, "person", frozenset(groups), True, True, on_call=frozenset(on_call))


def request(chain: Chain, escalated: frozenset[int] = frozenset()) -> Request:
    return Request(State.PENDING, chain, PARTIES, SHOWN, approve_by_ms=1000, escalated=escalated)


def agree(asked: Request, who: Person, known: dict[str, Person]) -> tuple[Request, object]:
    ruling = rule(asked, Verb.APPROVE, who, known, shown=SHOWN, at_ms=1, channel="rest")
    if isinstance(ruling, Counted | Agreed):
        asked = msgspec.structs.replace(asked, votes=(*asked.votes, ruling.vote))
    return asked, ruling


def chain(*needs: Requirement) -> Chain:
    return Chain("chain", tuple(crowds._stage(one, None) for one in needs), 300)


def of(*groups: str, required: int = 1, people: tuple[str, ...] = (), on_call: tuple[str, ...] = ()) -> Requirement:
    return Requirement(groups, required, people, on_call)


# ------------------------------------------------------------------ against the oracle


@settings(deadline=None)
@given(crowds.chains, escalations, crowds.crowds)
def test_the_furthest_that_votes_take_a_chain_is_what_trying_everything_finds(
    needs: Chain, escalated: frozenset[int], crowd: list[Person]
) -> None:
    found = progress(needs, PARTIES, [vote(one) for one in crowd], {one.id: one for one in crowd}, escalated)
    stage, missing = crowds.missing(needs, escalated, crowd)
    assert (found.stage, found.missing) == (min(stage, len(needs.stages) - 1), missing)


@settings(deadline=None)
@given(crowds.chains, escalations, crowds.crowds)
def test_every_place_is_taken_by_another_person_who_may_take_it(
    needs: Chain, escalated: frozenset[int], crowd: list[Person]
) -> None:
    known = {one.id: one for one in crowd}
    found = progress(needs, PARTIES, [vote(one) for one in crowd], known, escalated)
    voters = [one.vote.identity_id for one in found.places]
    assert len(voters) == len(set(voters))
    assert set(voters) <= {one.id for one in crowds.able(crowd)}
    assert [one.vote for one in found.places] == list(found.counted)
    for taken in found.places:
        stage = needs.stages[taken.place.stage]
        leaf = stage.needs
        for step in taken.place.path:
            leaf = leaf.parts[step]
        who = known[taken.vote.identity_id]
        assert crowds._in(stage, leaf, who, escalated=taken.place.stage in escalated)
        assert taken.place.added is not crowds._in(stage, leaf, who, escalated=False)


@settings(deadline=None)
@given(crowds.chains, crowds.crowds)
def test_a_request_is_refused_beforehand_just_when_these_people_could_never_satisfy_it(
    needs: Chain, crowd: list[Person]
) -> None:
    every = frozenset(range(len(needs.stages)))
    assert (unanswerable(needs, PARTIES, crowd) is None) is crowds.satisfied(needs, every, crowd)


@settings(deadline=None, max_examples=300)
@given(crowds.chains, escalations, crowds.crowds, st.randoms(use_true_random=False))
def test_no_order_in_which_honest_people_agree_keeps_them_from_satisfying_the_chain(
    needs: Chain, escalated: frozenset[int], crowd: list[Person], random
) -> None:
    """They say yes as soon as they may; whoever may not yet tries again after the others."""
    asked, known, agreed = request(needs, escalated), {one.id: one for one in crowd}, False
    for _ in range(len(crowd) + 1):
        random.shuffle(crowd)
        for one in crowd:
            if not agreed:
                asked, ruling = agree(asked, one, known)
                agreed = isinstance(ruling, Agreed)
    assert agreed is crowds.satisfied(needs, escalated, crowd)


# ------------------------------------------------------------------ by example


def said(needs: Chain, *people: Person) -> list[object]:
    """What comes of it when they agree one after another."""
    asked, rulings = request(needs), []
    for one in people:
        asked, ruling = agree(asked, one, {each.id: each for each in people})
        rulings.append(ruling)
    return rulings


def kinds(rulings: list[object]) -> list[str]:
    return [ruling.detail if isinstance(ruling, Refused) else type(ruling).__name__ for ruling in rulings]


def test_who_could_take_two_places_leaves_one_to_whoever_could_take_only_that() -> None:
    needs = chain(Requirement(all_of=(of("dba"), of("security"))))
    both, ada = person("both", "dba", "security"), person("ada", "dba")
    for order in ((both, ada), (ada, both)):
        assert kinds(said(needs, *order)) == ["Counted", "Agreed"]


def test_it_does_so_over_the_whole_chain() -> None:
    needs = chain(of("dba"), of("security"))
    both, ada = person("both", "dba", "security"), person("ada", "dba")
    assert kinds(said(needs, both, ada)) == ["Counted", "Agreed"]


def test_it_does_so_where_any_leaves_another_way_for_a_stage_that_has_agreed() -> None:
    needs = chain(Requirement(any_of=(of("dba"), of("security", required=2))), of("leads"))
    ada, eve, eva = person("ada", "dba", "leads"), person("eve", "security"), person("eva", "security")
    assert kinds(said(needs, ada, eve, eva)) == ["Counted", "Counted", "Agreed"]


def test_who_could_only_take_a_place_that_is_taken_is_told_so() -> None:
    needs = chain(Requirement(all_of=(of("dba"), of("security"))))
    told = kinds(said(needs, person("ada", "dba"), person("bob", "dba"), person("leo", "leads")))
    assert told == ["Counted", Ineligible.NOT_NEEDED.value, Ineligible.NOT_IN_STAGE.value]


def test_a_way_that_others_have_begun_does_not_close_another() -> None:
    needs = chain(Requirement(any_of=(of("dba", required=2), of("security", required=2))))
    people = [person("ada", "dba"), person("eve", "security"), person("eva", "security")]
    assert kinds(said(needs, *people)) == ["Counted", "Counted", "Agreed"]


def test_a_stage_that_is_not_reached_yet_asks_nobody() -> None:
    needs = chain(of("dba"), of("security"))
    assert kinds(said(needs, person("eve", "security"))) == [Ineligible.NOT_IN_STAGE.value]


def test_an_agreement_given_on_call_stays_one_after_the_hand_over() -> None:
    needs = chain(of(on_call=("web",), required=2))
    ada, bob = person("ada", on_call=("web",)), person("bob", on_call=("web",))
    asked, ruling = agree(request(needs), ada, {})
    assert isinstance(ruling, Counted)
    off = msgspec.structs.replace(ada, on_call=frozenset())
    assert isinstance(agree(asked, bob, {off.id: off})[1], Agreed)
    assert kinds(said(needs, off)) == [Ineligible.NOT_IN_STAGE.value]


def test_an_escalation_adds_people_for_places_that_are_free_and_only_once_it_has_come() -> None:
    stage = Stage(("dba",), 2, 60, escalation=crowds.Escalation(60, ("leads",)))
    needs = Chain("chain", (stage,), 300)
    ada, leo, lea = person("ada", "dba"), person("leo", "leads"), person("lea", "leads")
    before, ruling = agree(request(needs), ada, {})
    assert kinds([ruling, agree(before, leo, {ada.id: ada})[1]]) == ["Counted", Ineligible.NOT_IN_STAGE.value]
    after = msgspec.structs.replace(before, escalated=frozenset({0}))
    after, ruling = agree(after, leo, {ada.id: ada})
    assert isinstance(ruling, Agreed)
    assert [one.place.added for one in ruling.progress.places] == [False, True]
    assert isinstance(agree(after, lea, {ada.id: ada, leo.id: leo})[1], Refused)


def test_who_counts_again_after_all_lets_another_say_the_last_word() -> None:
    """Nothing is granted without somebody's word at that moment."""
    needs = chain(of("dba", required=2))
    ada, bob, cyd = (person(name, "dba") for name in ("ada", "bob", "cyd"))
    asked, _ = agree(request(needs), ada, {})
    lost = msgspec.structs.replace(ada, may_review=False)
    asked, ruling = agree(asked, bob, {ada.id: lost})
    assert isinstance(ruling, Counted)
    assert isinstance(agree(asked, cyd, {ada.id: ada, bob.id: bob})[1], Agreed)
