"""Whether a set of documents makes sense together: everything that would be wrong, found when it is written.

The whole set is judged as it would be in force: references, duplicate names, conditions, durations, and rules that can
never fire. Nothing here decides anything at run time; `rules.compile_policy` refuses what could not be evaluated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from data_plane.gate.interface import TargetFacts
from data_plane.identifiers import TargetName
from data_plane.policy import chains, conditions, durations, globs, model, session_roles, unreachable, vocabulary
from data_plane.policy.documents import Problem
from data_plane.policy.rules import listed, selects_target

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_RULE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LONGEST_MESSAGE = 500
MOST_PLANNED = 200
_LONGEST_PREVIEW = 30.0  # seconds that a client waits before anybody is asked

_Found = Iterator[tuple[str, str]]  # JSON path, message


class World(msgspec.Struct, frozen=True):
    """What documents may refer to. None: not known here, so references to it are not checked."""

    chains: frozenset[str]
    masks: frozenset[str]
    targets: frozenset[str]
    previewed: tuple[tuple[TargetFacts, model.TargetPreview], ...]
    counting: frozenset[str]  # chains that refuse what has no row guard
    groups: frozenset[str] | None
    identities: frozenset[str] | None
    people: frozenset[str] | None
    schedules: frozenset[str]


def validate(
    documents: Iterable[model.AnyDocument],
    *,
    groups: Collection[str] | None = None,
    identities: Collection[str] | None = None,
    people: Collection[str] | None = None,
) -> list[Problem]:
    """Every problem of the set, in the order of its documents. `groups`, `identities`: the names that there are;
    `people`: of the identities those that are no machines."""
    whole = tuple(documents)
    world = World(
        chains=_names(whole, model.ApprovalChain),
        masks=_names(whole, model.Mask),
        targets=_names(whole, model.Target),
        previewed=tuple(_previewed(each) for each in whole if isinstance(each, model.Target)),
        counting=_counting(whole),
        groups=None if groups is None else frozenset(groups),
        identities=None if identities is None else frozenset(identities),
        people=None if people is None else frozenset(people),
        schedules=_names(whole, model.OnCallSchedule),
    )
    problems = list(_duplicates(whole))
    for document in whole:
        kind, name = type(document).__name__, document.metadata.name
        problems += [Problem(kind, name, path, message) for path, message in _document(document, world)]
    policies = [document for document in whole if isinstance(document, model.Policy)]
    return problems + unreachable.shadowed(policies)


def _names(documents: Sequence[model.AnyDocument], kind: type) -> frozenset[str]:
    return frozenset(document.metadata.name for document in documents if isinstance(document, kind))


def _duplicates(documents: Sequence[model.AnyDocument]) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for document in documents:
        key = (type(document).__name__, document.metadata.name)
        if key in seen:
            yield Problem(*key, "$.metadata.name", "another document of this kind has the same name")
        seen.add(key)


def _document(document: model.AnyDocument, world: World) -> _Found:
    if not document.metadata.name:
        yield "$.metadata.name", "a name is needed"
    match document:
        case model.Policy():
            yield from _policy(document.spec, world)
        case model.ApprovalChain():
            yield from chains.chain_problems(document.spec, world, _reference)
        case model.OnCallSchedule():
            yield from chains.schedule_problems(document.spec, world, _reference)
        case model.Mask():
            yield from _mask(document.spec)
        case model.Target():
            yield from _target(document.spec)


def _policy(spec: model.PolicySpec, world: World) -> _Found:
    for index, name in enumerate(listed(spec.targets.names)):
        if "*" not in name:
            yield from _reference(f"$.spec.targets.names[{index}]", "target", name, world.targets)
    for index, group in enumerate(spec.requesters.groups):
        yield from _reference(f"$.spec.requesters.groups[{index}]", "group", group, world.groups)
    for index, identity in enumerate(spec.requesters.identities):
        yield from _reference(f"$.spec.requesters.identities[{index}]", "identity", identity, world.identities)
    if spec.plans is not None:
        yield from _plans(spec, spec.plans, world)
    if not spec.rules:
        yield "$.spec.rules", "a policy without rules decides nothing"
    seen: set[str] = set()
    for index, rule in enumerate(spec.rules):
        if rule.name in seen:
            yield f"$.spec.rules[{index}].name", "another rule of this policy has the same name"
        seen.add(rule.name)
        for path, message in (*_rule(rule, world), *_previews(rule, spec.targets, world)):
            yield f"$.spec.rules[{index}]{path}", message


def _plans(spec: model.PolicySpec, plans: model.Plans, world: World) -> _Found:
    yield from _reference("$.spec.plans.approval", "approval chain", plans.approval, world.chains)
    if plans.approval in world.chains and not any(
        rule.effect == "hold" and rule.approval == plans.approval for rule in spec.rules
    ):
        yield "$.spec.plans.approval", f"no rule here holds for {plans.approval!r}: a plan would cover nothing"
    if not 1 <= plans.most <= MOST_PLANNED:
        yield "$.spec.plans.most", f"a plan has 1 to {MOST_PLANNED} operations"


def _rule(rule: model.Rule, world: World) -> _Found:
    if _RULE_NAME.fullmatch(rule.name) is None:
        yield ".name", "a rule's name has lower-case letters, digits and . _ -"
    yield from _match(rule.match)
    yield from _condition(rule)
    for index, mask in enumerate(rule.mask):
        yield from _reference(f".mask[{index}]", "mask", mask, world.masks)
    if len(rule.message) > _LONGEST_MESSAGE or not rule.message.isprintable():
        yield ".message", f"a message is one line of at most {_LONGEST_MESSAGE} printable characters"
    if rule.effect is None:
        yield from _masking_rule(rule)
    elif rule.effect == "hold":
        yield from _hold_rule(rule, world)
    else:
        yield from _deciding_rule(rule)


def _match(match: model.Match) -> _Found:
    for index, verb in enumerate(match.verbs):
        if verb.upper() not in vocabulary.VERBS:
            yield f".match.verbs[{index}]", _unknown("verb", verb, sorted(vocabulary.VERBS))
    for field in ("tables", "functions"):
        for index, pattern in enumerate(getattr(match, field)):
            if wrong := globs.wrong(pattern):
                yield f".match.{field}[{index}]", wrong
    if contradiction := unreachable.contradiction(match):
        yield ".match", f"this can never match: {contradiction}"


def _condition(rule: model.Rule) -> _Found:
    if not rule.when:
        return
    condition = conditions.compiled(rule.when, of_session=rule.effect is None)
    if isinstance(condition, conditions.ConditionError):
        yield ".when", str(condition)
    elif condition.never:
        yield ".when", "this condition is never true, so the rule can never fire"


def _masking_rule(rule: model.Rule) -> _Found:
    if not rule.mask:
        yield "", "the rule does nothing: give it an effect (allow, hold or deny) or masks"
    for field in ("action", "verbs", "functions"):
        if getattr(rule.match, field):
            yield f".match.{field}", "a rule that only masks may match tables only: masking must not depend on spelling"
    if rule.approval:
        yield ".approval", "only a rule with effect hold asks for approval"
    if rule.message:
        yield ".message", "a rule that only masks has nobody to tell"


def _hold_rule(rule: model.Rule, world: World) -> _Found:
    if not rule.approval:
        yield ".approval", "a hold needs an approval chain: name one"
    else:
        yield from _reference(".approval", "approval chain", rule.approval, world.chains)
    yield from _duration(".hold.wait", rule.hold.wait)
    yield from _duration(".hold.in_transaction", rule.hold.in_transaction)
    if "connect" in listed(rule.match.action):
        yield ".match.action", "connecting cannot be held: allow or deny it"


def _counting(documents: Iterable[model.AnyDocument]) -> frozenset[str]:
    chains = (document for document in documents if isinstance(document, model.ApprovalChain))
    guards = ((chain.metadata.name, chain.spec.row_guard) for chain in chains)
    return frozenset(name for name, guard in guards if guard is not None and guard.required)


def _previewed(target: model.Target) -> tuple[TargetFacts, model.TargetPreview]:
    spec, metadata = target.spec, target.metadata
    facts = TargetFacts(TargetName(metadata.name), spec.protocol, spec.environment, metadata.labels)
    return facts, spec.preview


def _previews(rule: model.Rule, selector: model.TargetSelector, world: World) -> _Found:
    """A dry run is only asked of a target that consents. Where several are selected one of them must."""
    seen: set[str] = set()
    for index, kind in enumerate(rule.hold.preview):
        if kind in seen:
            yield f".hold.preview[{index}]", f"{kind!r} is listed twice"
        seen.add(kind)
        chosen = [preview for facts, preview in world.previewed if selects_target(selector, facts)]
        if kind == "dry-run" and chosen and not any(preview.dry_run for preview in chosen):
            consent = (
                "no target that this policy selects consents to dry runs; set preview.dry_run there, or leave it out"
            )
            yield f".hold.preview[{index}]", consent
    if rule.approval in world.counting and seen.isdisjoint({"count", "dry-run"}):
        demands = f"the chain {rule.approval!r} refuses what has no row guard: ask for a count or a dry-run"
        yield ".hold.preview", demands


def _deciding_rule(rule: model.Rule) -> _Found:
    if rule.approval:
        yield ".approval", "only a rule with effect hold asks for approval"
    if rule.hold != model.HoldLimits():
        yield ".hold", "only a rule with effect hold has a wait"
    if rule.mask and rule.effect == "deny":
        yield ".mask", "what is denied gives no result to mask"


def _mask(spec: model.MaskSpec) -> _Found:
    if not spec.columns and not spec.detectors:
        yield "$.spec", "the mask masks nothing: give it columns or detectors"
    seen: set[str] = set()
    for index, mask in enumerate(spec.columns):
        if mask.column.count(".") != 2 or not all(mask.column.split(".")):
            yield f"$.spec.columns[{index}].column", f"{mask.column!r} is not schema.table.column"
        if mask.column in seen:
            yield f"$.spec.columns[{index}].column", f"{mask.column!r} is listed twice"
        seen.add(mask.column)
    for index, detector in enumerate(spec.detectors):
        if detector.detect in seen:
            yield f"$.spec.detectors[{index}].detect", f"{detector.detect!r} is listed twice"
        seen.add(detector.detect)


def _target(spec: model.TargetSpec) -> _Found:
    found = _ADDRESS.fullmatch(spec.address)
    if found is None or not 0 < int(found[2]) < 1 << 16:
        yield "$.spec.address", f"{spec.address!r} is not host:port, such as db.internal:5432"
    for field in ("environment", "agent"):
        if not getattr(spec, field):
            yield f"$.spec.{field}", "this is needed"
    if spec.recording.rows < 0:
        yield "$.spec.recording.rows", "a number of rows is not negative"
    yield from _duration("$.spec.preview.statement_timeout", spec.preview.statement_timeout, _LONGEST_PREVIEW)
    yield from _duration("$.spec.preview.lock_timeout", spec.preview.lock_timeout, _LONGEST_PREVIEW)
    if spec.tls.ca and "-----BEGIN CERTIFICATE-----" not in spec.tls.ca:
        yield "$.spec.tls.ca", "this is not a PEM certificate"
    yield from session_roles.credential_problems(spec.credential)


def _reference(path: str, what: str, name: str, known: Collection[str] | None) -> _Found:
    if known is not None and name not in known:
        yield path, _unknown(what, name, sorted(known))


def _duration(path: str, text: str, longest: float | None = None) -> _Found:
    try:
        seconds = durations.seconds(text)
    except durations.DurationError as error:
        yield path, str(error)
        return
    if longest is not None and seconds > longest:
        yield path, f"{text} is too long here: {longest:.0f}s at most"


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    few = ", ".join(known[:20]) or "none"
    return f"unknown {what} {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {few}")
