"""What must be agreed, and by whom: ordered stages, each a tree of *k of* sets joined by all and any. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec


class Requirement(msgspec.Struct, frozen=True):
    """`required` distinct people out of all that groups, people and on_call name; or every one of `all_of`; or one of
    `any_of`. Groups, people and on-call schedules stand here by their names."""

    groups: tuple[str, ...] = ()
    required: int = 1
    people: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()
    all_of: tuple[Requirement, ...] = ()
    any_of: tuple[Requirement, ...] = ()

    @property
    def parts(self) -> tuple[Requirement, ...]:
        return self.all_of or self.any_of


class Escalation(msgspec.Struct, frozen=True):
    """Who is asked besides once the stage's own time is over: any of them may take a place that is still free."""

    timeout_seconds: float
    groups: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()

    @property
    def needs(self) -> Requirement:
        return Requirement(self.groups, 1, self.people, self.on_call)


class Stage(msgspec.Struct, frozen=True):
    """A requirement with its time. What it asks for stands in it as in a requirement."""

    groups: tuple[str, ...] = ()
    required: int = 1
    timeout_seconds: float = 900
    people: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()
    all_of: tuple[Requirement, ...] = ()
    any_of: tuple[Requirement, ...] = ()
    name: str = ""
    escalation: Escalation | None = None  # None: who is silent denies

    @property
    def needs(self) -> Requirement:
        return Requirement(self.groups, self.required, self.people, self.on_call, self.all_of, self.any_of)

    @property
    def longest_seconds(self) -> float:
        return self.timeout_seconds + (self.escalation.timeout_seconds if self.escalation else 0)


class Window(msgspec.Struct, frozen=True):
    """What a reviewer may choose: an approval for operations of the same shape, so long and so many."""

    longest_seconds: float
    most: int


class RowGuard(msgspec.Struct, frozen=True):
    """A change that touches more rows than reviewers were told and both margins together is undone."""

    margin_percent: int = 0
    margin_rows: int = 0
    required: bool = False  # where no guard can bind the operation it is refused


class Chain(msgspec.Struct, frozen=True):
    """Ordered stages. It is kept with the request as it was when the operation was held."""

    name: str
    stages: tuple[Stage, ...]
    execute_within_seconds: float
    break_glass: bool = False  # a person with that permission may override it
    channels: tuple[str, ...] = ()  # through which decisions count; empty: all
    reauthenticate_seconds: float = 0  # how old a deciding sign-in may be; 0: as old as it is
    security_key: bool = False  # a key of whoever approves signs what they were shown
    acr: tuple[str, ...] = ()  # of the deciding sign-in, one of these; empty: any
    amr: tuple[str, ...] = ()  # of the deciding sign-in, all of these
    approve_within_seconds: float = 0  # the whole chain; 0: all the time of its stages
    remind_every_seconds: float = 0  # 0: never
    window: Window | None = None  # None: an approval is for one operation
    row_guard: RowGuard | None = None

    @property
    def asks_for_proof(self) -> bool:
        """Whether it takes decisions only from those who have signed in here."""
        return bool(self.reauthenticate_seconds or self.security_key or self.acr or self.amr)

    @property
    def longest_seconds(self) -> float:
        """The whole chain's time, when the client waits that long."""
        return self.approve_within_seconds or sum(stage.longest_seconds for stage in self.stages)


class Leaf(msgspec.Struct, frozen=True):
    """A *k of* set of a stage; `path` says which branch at each step down from the stage."""

    path: tuple[int, ...]
    needs: Requirement


class Asked(msgspec.Struct, frozen=True):
    """Everybody whom some of the stages name."""

    groups: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    on_call: frozenset[str] = frozenset()


def leaves(needs: Requirement, path: tuple[int, ...] = ()) -> Iterator[Leaf]:
    if not needs.parts:
        yield Leaf(path, needs)
    for index, part in enumerate(needs.parts):
        yield from leaves(part, (*path, index))


def alternatives(needs: Requirement, path: tuple[int, ...] = ()) -> list[tuple[Leaf, ...]]:
    """Every choice of leaves that together satisfy it: one choice only where there is no `any`."""
    if not needs.parts:
        return [(Leaf(path, needs),)]
    parts = [alternatives(part, (*path, index)) for index, part in enumerate(needs.parts)]
    if needs.any_of:
        return [choice for part in parts for choice in part]
    return [tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*parts)]


def asked(*stages: Stage, added: bool = True) -> Asked:
    """`added`: with those whom escalations add."""
    every = [leaf.needs for stage in stages for leaf in leaves(stage.needs)]
    every += [stage.escalation.needs for stage in stages if stage.escalation and added]
    return Asked(
        frozenset(name for one in every for name in one.groups),
        frozenset(name for one in every for name in one.people),
        frozenset(name for one in every for name in one.on_call),
    )


def describe(needs: Stage | Requirement) -> str:
    """`1 of group dba`; `2 of groups dba, security`; `2 of group dba and (ada or whoever is on call for web)`."""
    joined = " and " if needs.all_of else " or "
    parts = needs.all_of or needs.any_of
    if not parts:
        return _leaf_words(needs)
    words = [f"({describe(part)})" if part.parts and len(parts) > 1 else describe(part) for part in parts]
    return joined.join(words)


def set_words(needs: Stage | Requirement | Escalation) -> str:
    """`groups dba, security`; `group dba, ada or whoever is on call for web`: the set without how many."""
    named = [f"{'group' if len(needs.groups) == 1 else 'groups'} {', '.join(needs.groups)}"] if needs.groups else []
    named += needs.people
    named += [f"whoever is on call for {schedule}" for schedule in needs.on_call]
    return " or ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named)


def _leaf_words(needs: Stage | Requirement) -> str:
    words = set_words(needs)
    alone = needs.required == 1 and not needs.groups and len(needs.people) + len(needs.on_call) == 1
    return words if alone else f"{needs.required} of {words}"


def approve_by_ms(chain: Chain, requested_at_ms: int, wait_until_ms: int) -> int:
    """The end of the chain's time or of the client's wait, whichever is sooner."""
    return min(wait_until_ms, requested_at_ms + int(chain.longest_seconds * 1000))
