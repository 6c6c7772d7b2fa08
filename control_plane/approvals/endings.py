"""What the end of an identity ends here, in its transaction: what it asked for, what stood on its word, what it handed
over.

Requests that nobody is left to decide are voided by `upkeep`, which hears of the end at once. What an agent has begun
to execute is over when its session is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from control_plane.approvals import repository
from control_plane.approvals.delegations import Delegations
from control_plane.approvals.domain import State
from control_plane.approvals.kinds import Kind
from control_plane.approvals.standing import Standing
from control_plane.approvals.upkeep import Settled, settle
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork


class Endings:
    """`identities.ports.Consequence`."""

    def __init__(self, standing: Standing, delegations: Delegations) -> None:
        self._standing = standing
        self._delegations = delegations

    async def ended(
        self,
        uow: UnitOfWork,
        by: Actor,
        identity_ids: Sequence[str],
        reason: str,  # noqa: ARG002 - each request says why it fell
    ) -> Mapping[str, Json]:
        told: dict[str, list[str]] = {"holds": [], "grants": [], "plans": [], "access": []}
        touched = await repository.open_of(uow.session, identity_ids)
        told["delegations"] = await self._delegations.end_of(uow, by, identity_ids)
        for approval_id in touched:
            settled = await settle(uow, approval_id, self._standing)
            if settled is not None:
                told[_called(settled)].append(approval_id)
        return told


def _called(settled: Settled) -> str:
    match settled.kind:
        case Kind.PLAN:
            return "plans"
        case Kind.ACCESS:
            return "access"
        case Kind.OPERATION:
            return "holds" if settled.was is State.PENDING else "grants"
