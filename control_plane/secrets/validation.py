"""Whether targets name secrets that there are. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.documents.domain import World
from data_plane.policy import model
from data_plane.policy.documents import Problem


def check(world: World) -> Sequence[Problem]:
    targets: list[model.Target] = list(world.of("Target"))
    return [
        Problem(
            "Target",
            one.metadata.name,
            "$.spec.credential.secret",
            f"there is no secret named {one.spec.credential.secret!r}: "
            f"assentry secrets set {one.spec.credential.secret}",
        )
        for one in targets
        if one.spec.credential.secret and one.spec.credential.secret not in world.secrets
    ]
