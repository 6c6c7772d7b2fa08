"""Whether policies, chains, schedules, masks and targets make sense together. The rules are `data_plane.policy`'s."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.documents.domain import World
from data_plane.policy.documents import Problem
from data_plane.policy.validate import validate

_KINDS = ("Target", "Mask", "OnCallSchedule", "ApprovalChain", "Policy")


def check(world: World) -> Sequence[Problem]:
    every = [document for kind in _KINDS for document in world.of(kind)]
    people = [one.metadata.name for one in world.of("Identity") if one.spec.kind == "person"]
    return validate(every, groups=world.names("Group"), identities=world.names("Identity"), people=people)
