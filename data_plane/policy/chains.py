"""Whether an ApprovalChain or an OnCallSchedule makes sense; and how long a chain can take.

Whether enough people are in a group is not asked here: groups change, and a request that nobody could decide is refused
when it is made, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from data_plane.policy import durations, model, on_call

Found = Iterator[tuple[str, str]]  # JSON path, message
Reference = Callable[[str, str, str, Collection[str] | None], Found]  # path, what, name, known

MOST_STAGES: Final = 10
MOST_SETS: Final = 32  # of a chain
MOST_PLACES: Final = 50
MOST_WAYS: Final = 16  # to satisfy it, by the choices that `any` leaves
DEEPEST: Final = 5
_LONGEST_NAME: Final = 63
_SHORTEST_REMINDER: Final = 60.0
SIGNED_IN: Final = ("console", "cli")  # the channels where a sign-in is at hand that can be asked for again
WITH_KEYS: Final = ("console",)  # where there is a browser, which speaks with security keys
_LONGEST_CONTEXT: Final = 255


class _World(Protocol):
    @property
    def groups(self) -> frozenset[str] | None: ...
    @property
    def people(self) -> frozenset[str] | None: ...
    @property
    def schedules(self) -> frozenset[str]: ...


def longest_seconds(spec: model.ChainSpec) -> float:
    """How long reviewers have at most, when the client waits. For a chain that was validated."""
    if spec.approve_within:
        return durations.seconds(spec.approve_within)
    return math.fsum(_stage_seconds(stage) for stage in spec.stages)


def _stage_seconds(stage: model.Stage) -> float:
    escalated = isinstance(stage.on_timeout, model.OnTimeout)
    further = stage.on_timeout.escalate.timeout if isinstance(stage.on_timeout, model.OnTimeout) else ""
    return durations.seconds(stage.timeout) + (durations.seconds(further) if escalated else 0)


# ------------------------------------------------------------------ chains


def chain_problems(spec: model.ChainSpec, world: _World, reference: Reference) -> Found:
    if not 1 <= len(spec.stages) <= MOST_STAGES:
        yield "$.spec.stages", f"a chain has one to {MOST_STAGES} stages, this has {len(spec.stages)}"
    names: set[str] = set()
    for index, stage in enumerate(spec.stages):
        path = f"$.spec.stages[{index}]"
        yield from _stage_name(path, stage.name, names)
        yield from _duration(f"{path}.timeout", stage.timeout)
        deep = list(_too_deep(path, stage, 1))
        if deep:
            yield from deep
            return
        yield from _requirement(path, stage)
        yield from _references(path, stage, world, reference)
        if isinstance(stage.on_timeout, model.OnTimeout):
            yield from _escalation(f"{path}.on_timeout.escalate", stage, stage.on_timeout.escalate, world, reference)
    yield from _size(spec)
    yield from _times(spec)
    yield from _options(spec)
    yield from _proof(spec)


def _stage_name(path: str, name: str, names: set[str]) -> Found:
    if name and (name in names or len(name) > _LONGEST_NAME or not name.isprintable()):
        twice = "another stage has the same name"
        yield f"{path}.name", twice if name in names else f"a name has at most {_LONGEST_NAME} printable characters"
    names.add(name)


def _too_deep(path: str, needs: model.Requirement, depth: int) -> Found:
    """Looked at first, and no further than it must: everything else goes down all the way."""
    if depth > DEEPEST:
        yield path, f"all and any stand in each other at most {DEEPEST} deep"
        return
    for name, parts in (("all", needs.all_of), ("any", needs.any_of)):
        for index, part in enumerate(parts):
            yield from _too_deep(f"{path}.{name}[{index}]", part, depth + 1)


def _requirement(path: str, needs: model.Requirement) -> Found:
    """Either a set with how many of it, or all, or any."""
    kinds = [name for name, given in (("all", needs.all_of), ("any", needs.any_of)) if given]
    if needs.groups or needs.people or needs.on_call:
        kinds.append("groups, people or on_call")
    if len(kinds) > 1:
        yield path, f"{' and '.join(kinds)} stand beside each other: put one inside the other"
    elif not kinds:
        yield (
            f"{path}.groups",
            "this needs groups, people or on_call who may approve; or all or any of such sets",
        )
    elif not (needs.all_of or needs.any_of):
        yield from _set(path, needs)
    elif needs.require != 1:
        yield f"{path}.require", "this belongs to a set of groups, people or on_call, not to all or any"
    for name, parts in (("all", needs.all_of), ("any", needs.any_of)):
        for index, part in enumerate(parts):
            yield from _requirement(f"{path}.{name}[{index}]", part)


def _set(path: str, needs: model.Requirement) -> Found:
    if needs.require < 1:
        yield f"{path}.require", "at least one person must approve"
    most = len(set(needs.people)) + len(set(needs.on_call))
    if not needs.groups and needs.require > most:
        yield f"{path}.require", f"{needs.require} people can never be found here: {most} at a time are named"


def _references(path: str, needs: model.Requirement, world: _World, reference: Reference) -> Found:
    yield from _named(path, needs, world, reference)
    for name, parts in (("all", needs.all_of), ("any", needs.any_of)):
        for index, part in enumerate(parts):
            yield from _references(f"{path}.{name}[{index}]", part, world, reference)


def _named(path: str, named: model.Requirement | model.Escalation, world: _World, reference: Reference) -> Found:
    known: Mapping[str, tuple[str, Sequence[str], Collection[str] | None]] = {
        "groups": ("group", named.groups, world.groups),
        "people": ("person", named.people, world.people),
        "on_call": ("on-call schedule", named.on_call, world.schedules),
    }
    for field, (what, names, there) in known.items():
        for index, name in enumerate(names):
            place = f"{path}.{field}[{index}]"
            yield from reference(place, what, name, there)
            if name in names[:index]:
                yield place, f"{name!r} is listed twice"


def _escalation(path: str, stage: model.Stage, to: model.Escalation, world: _World, reference: Reference) -> Found:
    yield from _duration(f"{path}.timeout", to.timeout)
    yield from _named(path, to, world, reference)
    if not (to.groups or to.people or to.on_call):
        yield path, "an escalation needs groups, people or on_call who are asked besides"
        return
    sets = ((to.groups, stage.groups), (to.people, stage.people), (to.on_call, stage.on_call))
    if all(set(asked) <= set(already) for asked, already in sets):
        yield path, "all of these are asked by the stage itself: escalate to others"


def _size(spec: model.ChainSpec) -> Found:
    """Before it is reckoned with: how much there is to look through when people are counted."""
    sets = [leaf for stage in spec.stages for leaf in _leaves(stage)]
    if len(sets) > MOST_SETS:
        yield "$.spec.stages", f"a chain has at most {MOST_SETS} sets of people, this has {len(sets)}"
    elif sum(max(1, leaf.require) for leaf in sets) > MOST_PLACES:
        yield "$.spec.stages", f"a chain asks for at most {MOST_PLACES} people"
    elif math.prod(_ways(stage) for stage in spec.stages) > MOST_WAYS:
        yield "$.spec.stages", f"any leaves more than {MOST_WAYS} ways to satisfy this chain: name fewer choices"


def _leaves(needs: model.Requirement) -> list[model.Requirement]:
    parts = needs.all_of + needs.any_of
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [needs]


def _ways(needs: model.Requirement) -> int:
    if needs.any_of:
        return sum(_ways(part) for part in needs.any_of)
    return math.prod(_ways(part) for part in needs.all_of)


def _times(spec: model.ChainSpec) -> Found:
    yield from _duration("$.spec.execute_within", spec.execute_within)
    for field in ("approve_within", "remind_every"):
        if getattr(spec, field):
            yield from _duration(f"$.spec.{field}", getattr(spec, field))
    try:
        stages = math.fsum(_stage_seconds(stage) for stage in spec.stages)
        whole = longest_seconds(spec)
        every = durations.seconds(spec.remind_every) if spec.remind_every else 0
    except durations.DurationError:
        return  # reported where it stands
    if spec.stages and whole > stages:
        yield "$.spec.approve_within", f"the stages end it sooner: all their time together is {stages:.0f}s"
    if every and every < _SHORTEST_REMINDER:
        yield "$.spec.remind_every", f"people are reminded at most every {_SHORTEST_REMINDER:.0f}s"
    elif every and spec.stages and every >= whole:
        yield "$.spec.remind_every", "this never comes: the chain is over before"


def _options(spec: model.ChainSpec) -> Found:
    if spec.window is not None:
        yield from _duration("$.spec.window.longest", spec.window.longest)
        if spec.window.most < 1:
            yield "$.spec.window.most", "a window is for one operation at least"
    for field in ("margin_percent", "margin_rows"):
        if spec.row_guard is not None and getattr(spec.row_guard, field) < 0:
            yield f"$.spec.row_guard.{field}", "a margin is not negative"
    if spec.channels == ():
        yield "$.spec.channels", "without a channel nobody can decide: name some, or leave this out for all"
    for index, channel in enumerate(spec.channels or ()):
        if channel in (spec.channels or ())[:index]:
            yield f"$.spec.channels[{index}]", f"{channel!r} is listed twice"
        elif spec.proof and channel not in deciding_channels(spec.proof):
            what = "use a security key" if spec.proof.method == "security-key" else "sign in again"
            yield f"$.spec.channels[{index}]", f"nobody can {what} through {channel}, as reauthenticate asks"


def deciding_channels(proof: model.Reauthenticate) -> tuple[str, ...]:
    """Where it can be given."""
    return WITH_KEYS if proof.method == "security-key" else SIGNED_IN


def _proof(spec: model.ChainSpec) -> Found:
    path, proof = "$.spec.reauthenticate", spec.proof
    if proof is None:
        return
    if proof.within:
        yield from _duration(path if isinstance(spec.reauthenticate, str) else f"{path}.within", proof.within)
    if proof == model.Reauthenticate():
        yield path, "this asks for nothing: say within, method, acr or amr, or leave it out"
    for field, values in (("acr", proof.acr), ("amr", proof.amr)):
        for index, value in enumerate(values):
            if not 1 <= len(value) <= _LONGEST_CONTEXT or not value.isprintable() or " " in value:
                yield f"{path}.{field}[{index}]", f"this is 1 to {_LONGEST_CONTEXT} printable characters, no space"
            elif value in values[:index]:
                yield f"{path}.{field}[{index}]", f"{value!r} is listed twice"


# ------------------------------------------------------------------ schedules


def schedule_problems(spec: model.OnCallSpec, world: _World, reference: Reference) -> Found:
    rotation = spec.rotation
    if not rotation.people:
        yield "$.spec.rotation.people", "a rotation needs at least one person"
    for index, person in enumerate(rotation.people):
        yield from reference(f"$.spec.rotation.people[{index}]", "person", person, world.people)
    yield from _told("$.spec.rotation.start", partial(on_call.wall_time, rotation.start))
    yield from _told("$.spec.rotation.timezone", partial(on_call.zone_of, rotation.timezone))
    yield from _told("$.spec.rotation.every", partial(on_call.turn, rotation.every))
    for index, override in enumerate(spec.overrides):
        path = f"$.spec.overrides[{index}]"
        yield from reference(f"{path}.person", "person", override.person, world.people)
        yield from _told(f"{path}.from", partial(on_call.instant, override.start, on_call.UTC_ZONE))
        yield from _told(f"{path}.until", partial(on_call.instant, override.until, on_call.UTC_ZONE))
        yield from _told(f"{path}.until", partial(on_call.in_order, override, rotation.timezone))


def _told(path: str, work: Callable[[], object]) -> Found:
    try:
        work()
    except (on_call.ScheduleError, durations.DurationError) as error:
        yield path, str(error)


def _duration(path: str, text: str) -> Found:
    yield from _told(path, partial(durations.seconds, text))
