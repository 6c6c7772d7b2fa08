"""Whether policies, chains, masks and targets mean something, together. Most of it is `data_plane.policy`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from control_plane.documents.domain import World
from data_plane.policy import model
from data_plane.policy.documents import Problem


def check(world: World) -> Sequence[Problem]:
    return [*_chains(world)]


def _chains(world: World) -> Iterator[Problem]:
    known = world.names("Group")
    chains: list[model.ApprovalChain] = list(world.of("ApprovalChain"))
    for chain in chains:
        for place, stage in enumerate(chain.spec.stages):
            for index, group in enumerate(stage.groups):
                if group not in known:
                    path = f"$.spec.stages[{place}].groups[{index}]"
                    yield Problem("ApprovalChain", chain.metadata.name, path, f"there is no group named {group!r}")
