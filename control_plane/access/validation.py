"""Whether offers of access mean something, beside the other documents. Pure.

What reviewers read must be all that an offer gives: so whatever policy names its group is for its target alone. What
a condition (`when`) makes of a group is not looked at; a policy that names the group must select first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from control_plane.access.documents import KIND, AccessOffer, AccessOfferSpec
from control_plane.documents.domain import World
from data_plane.gate.interface import TargetFacts
from data_plane.identifiers import TargetName
from data_plane.policy import durations, model
from data_plane.policy.documents import Problem
from data_plane.policy.rules import selects_target

Found = Iterator[tuple[str, str]]


def check(world: World) -> Sequence[Problem]:
    offers: list[AccessOffer] = list(world.of(KIND))
    return [
        Problem(KIND, offer.metadata.name, f"$.spec.{path}", message)
        for offer in offers
        for path, message in (*_references(offer.spec, world), *_opened(offer.spec, world))
    ]


def _references(spec: AccessOfferSpec, world: World) -> Found:
    named = (
        ("target", "Target", spec.target),
        ("group", "Group", spec.group),
        ("approval", "ApprovalChain", spec.approval),
        *((f"ask[{index}]", "Group", group) for index, group in enumerate(spec.ask)),
    )
    for path, kind, name in named:
        if name not in world.names(kind):
            yield path, f"there is no {kind} named {name!r}"
    if not spec.ask:
        yield "ask", "nobody may ask for it: name a group"
    if spec.group in spec.ask:
        yield "ask", "who is in the group already need not ask for it"
    try:
        if durations.seconds(spec.longest) < 1:
            yield "longest", "at least one second"
    except durations.DurationError as error:
        yield "longest", str(error)


def _opened(spec: AccessOfferSpec, world: World) -> Found:
    if spec.group not in world.names("Group") or spec.target not in world.names("Target"):
        return
    policies: list[model.Policy] = list(world.of("Policy"))
    opening = [policy for policy in policies if spec.group in policy.spec.requesters.groups]
    targets: list[model.Target] = list(world.of("Target"))
    opened = {
        target.metadata.name
        for target in targets
        for policy in opening
        if selects_target(policy.spec.targets, _facts(target))
    }
    if spec.target not in opened:
        yield "group", f"no policy selects {spec.group!r} on {spec.target!r}: it would give nothing"
    if more := sorted(opened - {spec.target}):
        yield "group", f"policies select {spec.group!r} on {', '.join(more)} too: lend a group that opens one target"


def _facts(target: model.Target) -> TargetFacts:
    spec = target.spec
    return TargetFacts(TargetName(target.metadata.name), spec.protocol, spec.environment, dict(target.metadata.labels))
