"""Delegation as a rule: a place changes hands, and nothing that was not the delegator's comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.approvals.domain import (
    Agreed,
    Chain,
    Counted,
    Ineligible,
    Parties,
    Person,
    Refusal,
    Refused,
    Request,
    Ruling,
    Stage,
    StandIn,
    State,
    Verb,
    Vote,
    entitlement,
    rule,
)
from tests.control_plane.world import person

SHOWN = bytes(32)
PARTIES = Parties("idn_bot", frozenset({"idn_owner"}))
ADA, BOB, EVE, ZOE = person("ada", "dba"), person("bob", "dba"), person("eve", "security"), person("zoe", "web")
EVERYBODY = (ADA, BOB, EVE, ZOE, person("owner", "dba"), person("bot", "dba"))


def request(*stages: Stage, votes: Sequence[Vote] = (), given: Sequence[tuple[str, str]] = ()) -> Request:
    """`given`: who handed their place to whom."""
    stand_ins = tuple(StandIn(f"dlg_{a}_{b}", f"idn_{a}", f"idn_{b}") for a, b in given)
    chain = Chain("dba", stages or (Stage(("dba",), 1, 900),), 300)
    return Request(State.PENDING, chain, PARTIES, SHOWN, 1_000_000, tuple(votes), stand_ins)


def says(asked: Request, who: Person, people: Sequence[Person] = EVERYBODY, **more: Any) -> Ruling:
    known = {one.id: one for one in people}
    return rule(asked, Verb.APPROVE, who, known, shown=SHOWN, at_ms=1, channel="console", **more)


def test_the_delegate_decides_in_the_delegators_place():
    ruling = says(request(given=[("ada", "eve")]), EVE)
    assert isinstance(ruling, Agreed)
    assert (ruling.vote.name, ruling.vote.for_name, ruling.vote.delegation_id) == ("eve", "ada", "dlg_ada_eve")


def test_ones_own_place_goes_before_one_that_was_handed_over():
    ruling = says(request(given=[("ada", "bob")]), BOB)
    assert isinstance(ruling, Agreed)
    assert ruling.vote.for_id == ""


def test_without_a_delegation_there_is_no_place():
    assert isinstance(says(request(), EVE), Refused)


def test_a_place_is_not_handed_on():
    asked = request(given=[("ada", "eve"), ("eve", "zoe")])
    assert entitlement(asked, ZOE, {one.id: one for one in EVERYBODY}) is Ineligible.NOT_IN_STAGE


@pytest.mark.parametrize("order", [("eve", "ada"), ("ada", "eve"), ("eve", "eve"), ("ada", "ada")])
def test_neither_the_delegate_nor_the_delegator_counts_again(order: tuple[str, str]):
    """Over the whole chain: the second stage asks for groups that both are in."""
    both = [ADA, person("eve", "security", "web")]
    people = {one.name: one for one in [*EVERYBODY, *both]}
    asked = request(Stage(("dba",), 1, 900), Stage(("web", "dba"), 1, 900), given=[("ada", "eve")])
    first = says(asked, people["eve" if order[0] == "eve" else "ada"], list(people.values()))
    assert isinstance(first, Counted)
    then = msgspec.structs.replace(asked, votes=(first.vote,))
    second = says(then, people[order[1]], list(people.values()))
    if order == ("ada", "eve"):  # ada said it herself, so eve has not had a say yet
        assert isinstance(second, Agreed)
        assert second.vote.for_id == ""
    else:
        assert isinstance(second, Refused)
        assert second.why is Refusal.NOT_ENTITLED


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"enabled": False}, "disabled"),
        ({"kind": "machine"}, "machine"),
        ({"may_review": False}, "no reviewer any more"),
        ({"groups": frozenset()}, "out of the group"),
    ],
)
def test_a_delegator_who_may_not_hands_over_nothing(changed: dict[str, Any], why: str):
    people = [msgspec.structs.replace(ADA, **changed), EVE]
    assert isinstance(says(request(given=[("ada", "eve")]), EVE, people), Refused), why


@pytest.mark.parametrize("changed", [{"enabled": False}, {"kind": "machine"}, {"may_review": False}])
def test_a_delegate_who_may_not_review_takes_no_place(changed: dict[str, Any]):
    eve = msgspec.structs.replace(EVE, **changed)
    assert isinstance(says(request(given=[("ada", "eve")]), eve, [ADA, eve]), Refused)


@pytest.mark.parametrize("name", ["bot", "owner"])
def test_the_requester_and_the_owner_take_nobodys_place_and_lend_none(name: str):
    party = person(name, "dba")
    assert isinstance(says(request(given=[("ada", name)]), party), Refused)
    assert isinstance(says(request(given=[(name, "eve")]), EVE), Refused)


def test_what_was_agreed_under_a_revoked_delegation_counts_no_more_and_frees_both():
    stages = (Stage(("dba",), 2, 900),)
    vote = Vote("idn_eve", "eve", 0, 1, "console", "idn_ada", "ada", "dlg_ada_eve")
    people = {one.id: one for one in EVERYBODY}
    held = request(*stages, votes=[vote])
    assert held.progress(people).missing == 1
    void = request(*stages, votes=[msgspec.structs.replace(vote, void=True)])
    assert void.progress(people).missing == 2
    assert entitlement(held, ADA, people) is Ineligible.ALREADY
    assert entitlement(void, ADA, people) is None


NAMES = ["ada", "bob", "eve", "zoe", "owner", "bot"]
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=6)


@given(given_=PAIRS, order=st.lists(st.sampled_from(NAMES), max_size=10), required=st.integers(1, 3))
def test_no_delegations_make_one_person_two(given_: list[tuple[str, str]], order: list[str], required: int):
    """However many places change hands: as many distinct people as are asked for, none with two says, and every place
    that is taken is a fit person's own."""
    people = {one.id: one for one in EVERYBODY}
    asked = request(Stage(("dba",), required, 900), given=[pair for pair in given_ if pair[0] != pair[1]])
    for name in order:
        ruling = says(asked, people[f"idn_{name}"])
        if isinstance(ruling, Refused):
            continue
        asked = msgspec.structs.replace(asked, votes=(*asked.votes, ruling.vote))
        if isinstance(ruling, Agreed):
            break
    said = [one for vote in asked.votes for one in sorted(vote.whose)]
    assert len(said) == len(set(said))
    assert not {"idn_owner", "idn_bot"} & set(said)
    assert all("dba" in people[vote.for_id or vote.identity_id].groups for vote in asked.votes)
    assert asked.progress(people).satisfied == (len(asked.votes) >= required)
