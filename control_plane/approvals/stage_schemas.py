"""How far a request's chain is, as the API shows it: each stage as a tree of sets, and who took which place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from control_plane.approvals import repository, stages, words
from control_plane.approvals.domain import Chain, Progress, Requirement, State, Taken, describe, set_words
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.clock import from_milliseconds

Path = tuple[int, ...]


class TakenOut(BaseModel):
    """Somebody's agreement in a place of the chain. It is the best for the chain, and may be another as more agree."""

    identity_id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["ada"])
    in_place_of: str = Field(description="whose place it is, by delegation; else empty", examples=[""])
    asked_besides: bool = Field(description="by the escalation, as none of those who were asked first")
    at: datetime

    @classmethod
    def of(cls, taken: Taken) -> TakenOut:
        vote = taken.vote
        return cls(
            identity_id=vote.identity_id,
            name=vote.name,
            in_place_of=vote.for_name,
            asked_besides=taken.place.added,
            at=from_milliseconds(vote.at_ms),
        )


class SetOut(BaseModel):
    """`set`: `required` people of it; `all`: every part; `any`: one of the parts."""

    joined: Literal["set", "all", "any"]
    needs: str = Field(examples=["2 of group dba"])
    required: int = Field(description="of a set; else 0")
    missing: int = Field(description="the fewest people with whom it would be satisfied")
    taken: list[TakenOut]
    parts: list[SetOut]


class StageOut(BaseModel):
    name: str = Field(examples=["database"])
    needs: str = Field(examples=["1 of group dba and 1 of group security"])
    groups: list[str] = Field(description="of a stage that is a single set; see `sets` for all")
    required: int = Field(description="the fewest people with whom it is satisfied")
    missing: int = Field(description="how many people this stage still waits for")
    state: Literal["agreed", "waiting", "later"]
    sets: SetOut
    until: datetime | None = Field(description="of the stage that waits: the end of its time")
    escalates_to: str = Field(description="when it is silent; empty: to nobody", examples=["group leads"])
    escalated: bool = Field(description="they are asked now")


def stages_of(row: ApprovalRow, progress: Progress) -> list[StageOut]:
    chain = repository.chain_of(row)
    return [_stage(row, chain, progress, index) for index in range(len(chain.stages))]


def _stage(row: ApprovalRow, chain: Chain, progress: Progress, index: int) -> StageOut:
    stage = chain.stages[index]
    agreed = index < progress.stage or progress.satisfied
    waiting = index == progress.stage and not agreed
    taken = [one for one in progress.places if one.place.stage == index]
    sets = _set(stage.needs, (), taken)
    return StageOut(
        name=stage.name,
        needs=describe(stage),
        groups=list(stage.groups),
        required=words.missing(stage.needs, (), {}),
        missing=0 if agreed else sets.missing,
        state="agreed" if agreed else "waiting" if waiting else "later",
        sets=sets,
        until=from_milliseconds(stages.stage_by_ms(row)) if waiting and row.state == State.PENDING else None,
        escalates_to=set_words(stage.escalation) if stage.escalation else "",
        escalated=index in repository.escalated_of(row),
    )


def _set(needs: Requirement, path: Path, taken: Sequence[Taken]) -> SetOut:
    here = [one for one in taken if one.place.path == path]
    counts: dict[Path, int] = {}
    for one in taken:
        counts[one.place.path] = counts.get(one.place.path, 0) + 1
    return SetOut(
        joined="all" if needs.all_of else "any" if needs.any_of else "set",
        needs=describe(needs),
        required=0 if needs.parts else needs.required,
        missing=words.missing(needs, path, counts),
        taken=[TakenOut.of(one) for one in here],
        parts=[_set(part, (*path, index), taken) for index, part in enumerate(needs.parts)],
    )
