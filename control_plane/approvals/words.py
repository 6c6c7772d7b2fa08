"""A chain in words, for everybody who is shown a request: who is asked, who is missing, what silence means. Pure."""

from __future__ import annotations

from control_plane.approvals.domain import Chain, Place, Progress, Requirement, describe, leaf_of, set_words


def asked(chain: Chain, stage: int, escalated: frozenset[int]) -> str:
    """Whom the stage that waits asks now: `2 of group dba or group leads besides (stage 1 of 2)`."""
    waiting = chain.stages[stage]
    besides = f" or {set_words(waiting.escalation)} besides" if waiting.escalation and stage in escalated else ""
    return f"{describe(waiting)}{besides}{numbered(chain, stage)}"


def numbered(chain: Chain, stage: int) -> str:
    """Empty for the only stage of a chain."""
    name = chain.stages[stage].name
    named = f"{name}, " if name else ""
    return f" ({named}stage {stage + 1} of {len(chain.stages)})" if len(chain.stages) > 1 else ""


def waits_for(chain: Chain, progress: Progress, escalated: frozenset[int]) -> str:
    """`1 more of group dba`: the places that are free."""
    stage = chain.stages[progress.stage]
    besides = f"; {set_words(stage.escalation)} may too" if stage.escalation and progress.stage in escalated else ""
    return f"{_free(stage.needs, (), taken(progress, progress.stage))}{besides}{numbered(chain, progress.stage)}"


def taken(progress: Progress, stage: int) -> dict[tuple[int, ...], int]:
    """How many places are taken, by the set."""
    counts: dict[tuple[int, ...], int] = {}
    for one in progress.places:
        if one.place.stage == stage:
            counts[one.place.path] = counts.get(one.place.path, 0) + 1
    return counts


def missing(needs: Requirement, path: tuple[int, ...], counts: dict[tuple[int, ...], int]) -> int:
    """The fewest people with whom it would be satisfied."""
    if not needs.parts:
        return needs.required - counts.get(path, 0)
    parts = [missing(part, (*path, index), counts) for index, part in enumerate(needs.parts)]
    return sum(parts) if needs.all_of else min(parts)


def place_words(chain: Chain, place: Place) -> str:
    """Which place somebody would fill: `1 of group dba (stage 1 of 2)`."""
    stage = chain.stages[place.stage]
    needs = leaf_of(stage, place.path)
    by = f", asked besides as one of {set_words(stage.escalation)}" if place.added and stage.escalation else ""
    return f"{describe(needs) if not needs.parts else describe(stage)}{by}{numbered(chain, place.stage)}"


def escalations(chain: Chain) -> str:
    """What stages do when they are silent, beside ending. Empty: nothing."""
    several = len(chain.stages) > 1
    said = []
    for index, stage in enumerate(chain.stages, 1):
        if stage.escalation:
            when = f"{f'Stage {index}: after' if several else 'After'} {duration(stage.timeout_seconds)}"
            are = "is" if _one(stage.escalation.needs) else "are"
            said.append(f"{when} without enough agreement {set_words(stage.escalation)} {are} asked besides.")
    return " ".join(said)


def duration(seconds: float) -> str:
    """`90s`, `15m`, `1h30m`."""
    left = int(seconds)
    hours, minutes, rest = left // 3600, left % 3600 // 60, left % 60
    parts = [f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return "".join(parts) or f"{seconds:g}s"


def _one(needs: Requirement) -> bool:
    return len(needs.groups) + len(needs.people) + len(needs.on_call) == 1


def _free(needs: Requirement, path: tuple[int, ...], counts: dict[tuple[int, ...], int]) -> str:
    if not needs.parts:
        free = needs.required - counts.get(path, 0)
        return describe(needs) if describe(needs) == set_words(needs) else f"{free} more of {set_words(needs)}"
    open_parts = [
        (part, words)
        for index, part in enumerate(needs.parts)
        if missing(part, (*path, index), counts)
        for words in [_free(part, (*path, index), counts)]
    ]
    joined = " and " if needs.all_of else " or "
    several = len(open_parts) > 1
    return joined.join(f"({words})" if several and part.parts else words for part, words in open_parts)
