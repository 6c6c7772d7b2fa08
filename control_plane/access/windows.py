"""What other features are told of access windows: which groups are lent to whom at this moment.

A lent group is one that agents see: it opens what policies let it. It gives none of the group's roles, no place in a
chain, and no right to ask for more.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from control_plane.access import repository
from control_plane.access.documents import OfferKind, parse
from control_plane.identities.domain import Identity, SnapshotIdentities
from control_plane.identities.service import IdentityService
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.policies.service import PolicyService


class LentGroups:
    """The ports `approvals.directory.Windows` and `agents.ports.Identities`."""

    def __init__(self, offers: OfferKind, identities: IdentityService, policies: PolicyService) -> None:
        self._offers = offers
        self._identities = identities
        self._policies = policies

    async def lent_to(self, uow: UnitOfWork, identity_id: str) -> Sequence[str]:
        return [group for _, group in await repository.lent(uow.session, milliseconds(uow.now), identity_id)]

    async def grounds(self, uow: UnitOfWork, offer: str) -> Sequence[str]:
        row = await self._offers.row(uow, offer)
        if row is None:
            return [""]
        opened = await self.opened(uow, parse(row.json_text).spec.group)
        return [row.json_text, *opened.values()]

    async def opened(self, uow: UnitOfWork, group: str) -> dict[str, str]:
        """Name and text of the policies that select the group."""
        published = await self._policies.published(uow)
        return {one.name: one.text for one in published.policies if group in one.document.spec.requesters.groups}

    async def snapshot(self, uow: UnitOfWork) -> SnapshotIdentities:
        """As agents are told: with the groups that are lent now."""
        known = await self._identities.snapshot(uow)
        groups: dict[str, list[str]] = {}
        for identity_id, group in await repository.lent(uow.session, milliseconds(uow.now)):
            groups.setdefault(identity_id, []).append(group)
        identities = tuple(_with(one, groups.get(one.id, ())) for one in known.identities)
        return msgspec.structs.replace(known, identities=identities)


def _with(identity: Identity, lent: Sequence[str]) -> Identity:
    if not lent:
        return identity
    return msgspec.structs.replace(identity, groups=tuple(dict.fromkeys([*identity.groups, *lent])))
