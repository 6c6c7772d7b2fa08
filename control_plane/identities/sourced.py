"""What providers say of people and groups, beside what is written here and never instead of it.

A source is told by a short word: `provider:NAME` for what a sign-in told, `scim:NAME` for what is pushed. What one
source says it alone takes back. Roles are given here only: a group that a provider makes gives none until an admin
gives it some. Nobody is called what a document names while nobody is called so: it was meant for somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from sqlmodel import col, select

from control_plane.identities import repository
from control_plane.identities.domain import Identity
from control_plane.identities.ports import NamedInDocuments
from control_plane.identities.service import IdentityService
from control_plane.identities.tables import GroupRow
from control_plane.kit.unit_of_work import Actor, AuditEvent, UnitOfWork

_OTHER: Final = re.compile(r"[^a-z0-9._@+-]+")
_LONGEST: Final = 56  # leaves room for a number
_TRIES: Final = 10_000


class SourcedIdentities:
    def __init__(self, identities: IdentityService, documents: NamedInDocuments) -> None:
        self._identities = identities
        self._documents = documents

    async def make_person(self, uow: UnitOfWork, by: Actor, source: str, called: str, email: str) -> Identity:
        """A new person, named after what the source calls them; a number behind it when that name is taken."""
        name = await self._free_name(uow, called)
        return await self._identities.create(uow, by, name=name, kind="person", email=email, source=source)

    async def set_groups(
        self, uow: UnitOfWork, by: Actor, source: str, identity: Identity, groups: Iterable[str]
    ) -> None:
        """Exactly these, of those that there are, as far as this source is concerned. The agents hear of it."""
        known = set((await uow.session.exec(select(GroupRow.name).where(col(GroupRow.name).in_(set(groups))))).all())
        wanted = {(group, str(identity.id)) for group in known}
        if await repository.set_memberships(uow.session, source, wanted, of=identity.id):
            await uow.session.flush()
            uow.audit(
                AuditEvent("identity.groups-told", by, identity.name, {"source": source, "groups": sorted(known)})
            )
            await uow.snapshot_changed()

    async def forget_memberships(self, uow: UnitOfWork, by: Actor, source: str) -> None:
        """Nothing that this source said of groups holds any longer. The agents hear of it."""
        groups = await repository.forget_memberships(uow.session, source)
        if groups:
            uow.audit(AuditEvent("group.memberships-forgotten", by, source, {"groups": sorted(groups)}))
            await uow.snapshot_changed()

    async def named_groups(self, uow: UnitOfWork) -> Collection[str]:
        """By documents: one that is not there must not come about under any of these names."""
        return await self._documents.named(uow, "group")

    async def make_group(self, uow: UnitOfWork, by: Actor, source: str, name: str, external_id: str) -> None:
        """A new group of this name, which must be free. It gives nothing until an admin says what."""
        uow.session.add(
            GroupRow(
                name=name,
                roles=[],
                source=source,
                external_id=external_id,
                created_at=uow.now,
                updated_at=uow.now,
            )
        )
        await uow.session.flush()
        uow.audit(AuditEvent("group.created", by, name, {"roles": [], "members": [], "source": source}))
        await uow.snapshot_changed()

    async def change_members(
        self,
        uow: UnitOfWork,
        by: Actor,
        source: str,
        group: str,
        *,
        joining: Iterable[str],
        leaving: Iterable[str] = (),
        whole: bool = False,
    ) -> bool:
        """Identities, all of them known, as far as this source is concerned; `whole`: only those who join are left.
        The agents hear of it. False: it was so already."""
        change = repository.MemberChange(frozenset(joining), frozenset(leaving), whole)
        joined, left = await repository.change_members(uow.session, source, group, change)
        if joined or left:
            await uow.session.flush()
            told = {"source": source, "joined": sorted(joined), "left": sorted(left)}
            uow.audit(AuditEvent("group.members-told", by, group, told))
            await uow.snapshot_changed()
        return bool(joined or left)

    async def _free_name(self, uow: UnitOfWork, called: str) -> str:
        named = await self._documents.named(uow, "identity")
        for name in names_like(called, "person"):
            if name not in named and await repository.row_by_name(uow.session, name) is None:
                return name
        raise RuntimeError(f"too many people are called {called!r}")


def names_like(called: str, otherwise: str) -> Iterator[str]:
    """Names that we may give to what others call so: the plainest first, then with numbers behind it."""
    base = _OTHER.sub("-", called.lower()).strip("-._@+")[:_LONGEST] or otherwise
    yield base
    yield from (f"{base}-{number}" for number in range(2, _TRIES))
