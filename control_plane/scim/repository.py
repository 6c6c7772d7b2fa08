"""Reads what SCIM clients have pushed. Every question names the client: one never sees what another pushed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, func
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.identities.tables import ExternalAccountRow, GroupRow, IdentityRow, MembershipRow
from control_plane.scim.domain import source_of
from control_plane.scim.tables import ScimClientRow, ScimGroupRow, ScimLinkRow, ScimTokenRow, ScimUserRow

_FEW = 500  # databases limit how many values a statement may carry

# ------------------------------------------------------------------ clients


async def clients(session: AsyncSession, after: str, limit: int) -> list[ScimClientRow]:
    statement = select(ScimClientRow).where(col(ScimClientRow.name) > after)
    return list((await session.exec(statement.order_by(col(ScimClientRow.name)).limit(limit))).all())


async def tokens(session: AsyncSession, names: Sequence[str]) -> list[ScimTokenRow]:
    """Also those that are over. Newest first."""
    statement = select(ScimTokenRow).where(col(ScimTokenRow.client).in_(names))
    newest = (col(ScimTokenRow.created_at).desc(), col(ScimTokenRow.id))
    return list((await session.exec(statement.order_by(*newest))).all())


async def tokens_made_by(session: AsyncSession, identity_ids: Iterable[str]) -> list[ScimTokenRow]:
    """A token bears the name of who made it."""
    names = select(IdentityRow.name).where(col(IdentityRow.id).in_(set(identity_ids)))
    statement = select(ScimTokenRow).where(col(ScimTokenRow.created_by).in_(names)).with_for_update()
    return list((await session.exec(statement.order_by(col(ScimTokenRow.id)))).all())


async def token_by_hash(session: AsyncSession, token_hash: str) -> ScimTokenRow | None:
    return (await session.exec(select(ScimTokenRow).where(col(ScimTokenRow.token_hash) == token_hash))).first()


async def links(session: AsyncSession, client: str) -> list[ScimLinkRow]:
    statement = select(ScimLinkRow).where(col(ScimLinkRow.client) == client)
    return list((await session.exec(statement.order_by(col(ScimLinkRow.kind), col(ScimLinkRow.subject)))).all())


async def link(
    session: AsyncSession, client: str, kind: str, subject: str | None, *, by_name: bool = False
) -> ScimLinkRow | None:
    """A link of an external id is none of a name that is spelt like it, nor the other way round."""
    found = await session.get(ScimLinkRow, (client, kind, subject)) if subject else None
    return found if found is not None and found.by_name == by_name else None


async def counts(session: AsyncSession, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """How many people and groups each has pushed."""
    people = await session.exec(
        select(ScimUserRow.client, func.count()).where(_pushed_by(names)).group_by(col(ScimUserRow.client))
    )
    groups = await session.exec(
        select(ScimGroupRow.client, func.count())
        .where(col(ScimGroupRow.client).in_(names))
        .group_by(col(ScimGroupRow.client))
    )
    found, teams = dict(people.all()), dict(groups.all())
    return {name: (found.get(name, 0), teams.get(name, 0)) for name in names}


def _pushed_by(names: Sequence[str]) -> ColumnElement[bool]:
    return col(ScimUserRow.client).in_(names) & col(ScimUserRow.user_name_key).is_not(None)


async def everybody_of(session: AsyncSession, client: str) -> list[ScimUserRow]:
    """Also those whom the client has deleted."""
    return list((await session.exec(select(ScimUserRow).where(col(ScimUserRow.client) == client))).all())


async def groups_of_source(session: AsyncSession, client: str) -> list[str]:
    statement = select(MembershipRow.group_name).where(col(MembershipRow.source) == source_of(client)).distinct()
    return list((await session.exec(statement)).all())


# ------------------------------------------------------------------ people


async def user(session: AsyncSession, client: str, user_id: str, *, lock: bool = False) -> ScimUserRow | None:
    row = await session.get(ScimUserRow, user_id, with_for_update=True if lock else None)
    return row if row is not None and row.client == client and row.user_name_key is not None else None


async def user_with(session: AsyncSession, client: str, **columns: str | None) -> ScimUserRow | None:
    """By a column that is unique within the client; also one that the client has deleted."""
    statement = select(ScimUserRow).where(col(ScimUserRow.client) == client)
    for name, value in columns.items():
        statement = statement.where(getattr(ScimUserRow, name) == value)
    return (await session.exec(statement)).first()


async def user_of_identity(session: AsyncSession, identity_id: str) -> ScimUserRow | None:
    return (await session.exec(select(ScimUserRow).where(col(ScimUserRow.identity_id) == identity_id))).first()


async def pushed_subject(session: AsyncSession, provider: str, subject: str) -> ScimUserRow | None:
    """By any client of this provider that has not deleted it."""
    statement = select(ScimUserRow).join(ScimClientRow, col(ScimClientRow.name) == col(ScimUserRow.client))
    theirs = (col(ScimClientRow.provider) == provider, col(ScimUserRow.external_id) == subject)
    pushed = col(ScimUserRow.user_name_key).is_not(None)
    return (await session.exec(statement.where(*theirs, pushed).order_by(col(ScimUserRow.id)))).first()


async def identities_of(session: AsyncSession, client: str, ids: Iterable[str]) -> dict[str, str]:
    """Ids of identities by ids of people whom this client has pushed; those that it has not are left out."""
    found: dict[str, str] = {}
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _FEW):
        some = col(ScimUserRow.id).in_(wanted[start : start + _FEW])
        mine = (col(ScimUserRow.client) == client, col(ScimUserRow.user_name_key).is_not(None))
        rows = await session.exec(select(ScimUserRow.id, ScimUserRow.identity_id).where(*mine, some))
        found.update(rows.all())
    return found


async def groups_of_people(
    session: AsyncSession, client: str, rows: Sequence[ScimUserRow]
) -> dict[str, list[ScimGroupRow]]:
    """Groups of this client by ids of identities."""
    statement = (
        select(MembershipRow.identity_id, ScimGroupRow)
        .join(ScimGroupRow, col(ScimGroupRow.group_name) == col(MembershipRow.group_name))
        .where(
            col(ScimGroupRow.client) == client,
            col(MembershipRow.source) == source_of(client),
            col(MembershipRow.identity_id).in_([row.identity_id for row in rows]),
        )
        .order_by(col(ScimGroupRow.id))
    )
    found: dict[str, list[ScimGroupRow]] = {}
    for identity_id, group in (await session.exec(statement)).all():
        found.setdefault(identity_id, []).append(group)
    return found


async def account(session: AsyncSession, provider: str, subject: str) -> ExternalAccountRow | None:
    return await session.get(ExternalAccountRow, (provider, subject), with_for_update=True)


async def account_of(session: AsyncSession, provider: str, identity_id: str) -> ExternalAccountRow | None:
    theirs = (col(ExternalAccountRow.provider) == provider, col(ExternalAccountRow.identity_id) == identity_id)
    return (await session.exec(select(ExternalAccountRow).where(*theirs))).first()


# ------------------------------------------------------------------ groups


async def group(session: AsyncSession, client: str, group_id: str, *, lock: bool = False) -> ScimGroupRow | None:
    row = await session.get(ScimGroupRow, group_id, with_for_update=True if lock else None)
    return row if row is not None and row.client == client else None


async def group_with_external_id(session: AsyncSession, client: str, external_id: str) -> ScimGroupRow | None:
    mine = (col(ScimGroupRow.client) == client, col(ScimGroupRow.external_id) == external_id)
    return (await session.exec(select(ScimGroupRow).where(*mine))).first()


async def group_with_name(session: AsyncSession, client: str, display_name: str) -> ScimGroupRow | None:
    """As the client calls it, in its spelling."""
    mine = (col(ScimGroupRow.client) == client, col(ScimGroupRow.display_name) == display_name)
    return (await session.exec(select(ScimGroupRow).where(*mine).order_by(col(ScimGroupRow.id)))).first()


async def holder_of_group(session: AsyncSession, name: str) -> ScimGroupRow | None:
    return (await session.exec(select(ScimGroupRow).where(col(ScimGroupRow.group_name) == name))).first()


async def group_row(session: AsyncSession, name: str) -> GroupRow | None:
    return await session.get(GroupRow, name)


async def members(session: AsyncSession, client: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Ids of people by names of groups, as far as this client says so."""
    statement = (
        select(MembershipRow.group_name, ScimUserRow.id)
        .join(ScimUserRow, col(ScimUserRow.identity_id) == col(MembershipRow.identity_id))
        .where(
            col(MembershipRow.source) == source_of(client),
            col(MembershipRow.group_name).in_(names),
            col(ScimUserRow.client) == client,
            col(ScimUserRow.user_name_key).is_not(None),
        )
        .order_by(col(ScimUserRow.id))
    )
    found: dict[str, list[str]] = {}
    for group_name, user_id in (await session.exec(statement)).all():
        found.setdefault(group_name, []).append(user_id)
    return found


async def forget_memberships(session: AsyncSession, client: str) -> None:
    await session.exec(delete(MembershipRow).where(col(MembershipRow.source) == source_of(client)))
