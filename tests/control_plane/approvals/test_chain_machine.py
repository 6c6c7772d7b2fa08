"""No sequence of events satisfies a chain without the required distinct, entitled humans (DESIGN invariant 5).

Votes, in one's own place or another's, lost and regained roles, scopes and groups, disabled identities, hand-overs of
on-call duty, revoked delegations, escalations: whenever the rules say that people have agreed, an oracle that tries
everything finds that many distinct people who may review this now, each in a set that asks for them.
"""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from control_plane.approvals.domain import (
    Agreed,
    Chain,
    Counted,
    Denied,
    Person,
    Refused,
    Request,
    Scope,
    StandIn,
    State,
    Verb,
    entitlement,
    ineligible,
)
from control_plane.approvals.domain import rule as ruled
from tests.control_plane.approvals import crowds
from tests.control_plane.approvals.crowds import NAMES, PARTIES, groups_of_one, turns_of_one

SHOWN = b"d" * 32
names = st.sampled_from(NAMES)
SCOPES = st.sampled_from(
    [(Scope(),), (Scope(("production",)),), (Scope(("staging",)),), (Scope(labels={"team": "shop"}),), ()]
)


class ChainMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.people: dict[str, Person] = {}
        self.request = Request(State.PENDING, Chain("none", (), 1), PARTIES, SHOWN, approve_by_ms=1000)

    @initialize(chain=crowds.chains, groups=st.tuples(*[groups_of_one] * 6), turns=st.tuples(*[turns_of_one] * 6))
    def begin(self, chain: Chain, groups: tuple, turns: tuple) -> None:
        self.request = msgspec.structs.replace(self.request, chain=chain)
        for name, some, on_call in zip(NAMES, groups, turns, strict=True):
            # the last two are the requester and the owner of the credential
            known_as = {"p4": "idn_requester", "p5": "idn_owner"}.get(name, f"idn_{name}")
            self.people[name] = Person(known_as, name, "person", some, True, True, on_call=on_call)

    @property
    def known(self) -> dict[str, Person]:
        return {one.id: one for one in self.people.values()}

    def change(self, name: str, **changes: object) -> None:
        self.people[name] = msgspec.structs.replace(self.people[name], **changes)

    # ------------------------------------------------------------------ what happens

    @rule(name=names, on_call=turns_of_one)
    def is_handed_over(self, name: str, on_call: frozenset[str]) -> None:
        self.change(name, on_call=on_call)

    @rule(name=names, scopes=SCOPES)
    def reviews_elsewhere(self, name: str, scopes: tuple[Scope, ...]) -> None:
        self.change(name, scopes=scopes)

    @rule(name=names, role=st.booleans(), enabled=st.sampled_from([True, True, False]))
    def role_changes(self, name: str, role: bool, enabled: bool) -> None:
        self.change(name, may_review=role, enabled=enabled)

    @rule(name=names, groups=groups_of_one)
    def moves(self, name: str, groups: frozenset[str]) -> None:
        self.change(name, groups=groups)

    @rule(name=names, machine=st.sampled_from(["person", "person", "machine"]))
    def is_another_kind(self, name: str, machine: str) -> None:
        self.change(name, kind=machine)

    @rule(stage=st.integers(0, 2))
    def is_silent(self, stage: int) -> None:
        self.request = msgspec.structs.replace(self.request, escalated=self.request.escalated | {stage})

    @rule(delegator=names, delegate=names)
    def delegates(self, delegator: str, delegate: str) -> None:
        known = {one.delegator_id for one in self.request.stand_ins} | {
            one.delegate_id for one in self.request.stand_ins
        }
        first, second = self.people[delegator].id, self.people[delegate].id
        if first != second and known.isdisjoint({first, second}):
            lent = StandIn(f"dlg_{len(self.request.stand_ins)}", first, second)
            self.request = msgspec.structs.replace(self.request, stand_ins=(*self.request.stand_ins, lent))

    @rule()
    @precondition(lambda self: self.request.stand_ins)
    def takes_back(self) -> None:
        revoked, *others = self.request.stand_ins
        votes = tuple(
            msgspec.structs.replace(vote, void=True) if vote.delegation_id == revoked.id else vote
            for vote in self.request.votes
        )
        self.request = msgspec.structs.replace(self.request, stand_ins=tuple(others), votes=votes)

    @rule(name=names, verb=st.sampled_from([Verb.APPROVE, Verb.APPROVE, Verb.APPROVE, Verb.DENY]))
    def speaks(self, name: str, verb: Verb) -> None:
        self.says(name, verb)

    def says(self, name: str, verb: Verb) -> None:
        person = self.people[name]
        why = entitlement(self.request, person, self.known)
        ruling = ruled(self.request, verb, person, self.known, shown=SHOWN, at_ms=1, channel="rest", reason="no")
        assert isinstance(ruling, Refused) is (why is not None), "what is shown beforehand is what happens"
        if isinstance(ruling, Denied):
            assert ineligible(PARTIES, person) is None
        if isinstance(ruling, Counted | Agreed):
            self.request = msgspec.structs.replace(self.request, votes=(*self.request.votes, ruling.vote))
            assert self.agreed() is isinstance(ruling, Agreed)

    @rule(order=st.permutations(NAMES), some=st.integers(1, 6))
    def several_agree(self, order: list[str], some: int) -> None:
        for name in order[:some]:
            self.says(name, Verb.APPROVE)

    # ------------------------------------------------------------------ what must hold

    def reached(self) -> tuple[int, int]:
        """By trying everything, with everybody as they are now and on-call duty as it was at each vote."""
        voters: list[Person] = []
        spoke: set[str] = set()
        for vote in self.request.votes:
            involved = [self.known[one] for one in (vote.identity_id, vote.for_id) if one]
            if not vote.void and all(crowds.may_count(one) for one in involved):
                assert spoke.isdisjoint(vote.whose), "somebody had a say twice"
                spoke |= vote.whose
                voters.append(msgspec.structs.replace(involved[-1], on_call=frozenset(vote.on_call)))
        return crowds.missing(self.request.chain, self.request.escalated, voters)

    def agreed(self) -> bool:
        return self.reached() == (len(self.request.chain.stages), 0)

    @invariant()
    def what_counts_is_what_the_oracle_counts(self) -> None:
        if self.request.chain.stages:
            progress = self.request.progress(self.known)
            stage, missing = self.reached()
            assert (progress.stage, progress.missing) == (min(stage, len(self.request.chain.stages) - 1), missing)
            counted = [one for vote in progress.counted for one in vote.whose]
            assert len(counted) == len(set(counted))
            assert all(crowds.may_count(self.known[one]) for one in counted)


ChainMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
TestChains = ChainMachine.TestCase
