"""Reads identities and groups as the domain knows them, and changes their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy import bindparam, func
from sqlalchemy.orm import aliased
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from control_plane.identities.domain import Group, Identity, Kind, ReviewScope
from control_plane.identities.tables import GroupRow, IdentityRow, MembershipRow, SignInRow
from control_plane.kit.access import Permission, permissions_of
from data_plane.identifiers import IdentityId

S = TypeVar("S", bound="Select[*tuple[Any, ...]]")

# ------------------------------------------------------------------ identities

_OWNER = aliased(IdentityRow)


def _with_owner_and_groups(statement: S) -> S:
    """Of identities; in order of names, a row for each group."""
    owned = statement.join(_OWNER, col(_OWNER.id) == col(IdentityRow.owner_id), isouter=True)
    members = owned.join(MembershipRow, col(MembershipRow.identity_id) == col(IdentityRow.id), isouter=True)
    grouped = members.join(GroupRow, col(GroupRow.name) == col(MembershipRow.group_name), isouter=True)
    return grouped.order_by(col(IdentityRow.name), col(GroupRow.name))


_BY_ID = _with_owner_and_groups(select(IdentityRow, _OWNER, GroupRow)).where(
    col(IdentityRow.id).in_(bindparam("ids", expanding=True))
)
_SIGNED_IN = _with_owner_and_groups(
    select(IdentityRow, _OWNER, GroupRow, SignInRow).join(SignInRow, col(SignInRow.identity_id) == col(IdentityRow.id))
).where(col(SignInRow.token_hash) == bindparam("token_hash"))


async def all_identities(session: AsyncSession) -> list[Identity]:
    rows = (await session.exec(select(IdentityRow).order_by(col(IdentityRow.name)))).all()
    return await _complete(session, rows)


async def page_of_identities(session: AsyncSession, after: str | None, limit: int) -> list[Identity]:
    statement = select(IdentityRow).order_by(col(IdentityRow.name)).limit(limit)
    if after is not None:
        statement = statement.where(col(IdentityRow.name) > after)
    return await _complete(session, (await session.exec(statement)).all())


async def identities_by_id(session: AsyncSession, ids: Iterable[str]) -> list[Identity]:
    """By name. One question: nearly everything that happens begins with who asks, and who decides."""
    return _grouped((await session.exec(_BY_ID, params={"ids": list(set(ids))})).all())


async def signed_in(session: AsyncSession, token_hash: str, now: datetime) -> tuple[SignInRow, Identity] | None:
    """The sign-in and whose it is, in one question as well. None: unknown or over, as `credential_rows.sign_in`."""
    rows = (await session.exec(_SIGNED_IN, params={"token_hash": token_hash})).all()
    if not rows or rows[0][3].expires_at <= now:
        return None
    return rows[0][3], _grouped([row[:3] for row in rows])[0]


def _grouped(rows: Iterable[tuple[IdentityRow, IdentityRow | None, GroupRow | None]]) -> list[Identity]:
    found: dict[str, tuple[IdentityRow, IdentityRow | None, dict[str, GroupRow]]] = {}
    for row, owned_by, group in rows:
        groups = found.setdefault(row.id, (row, owned_by, {}))[2]
        if group is not None:
            groups[group.name] = group
    return [_identity(row, owned_by, list(groups.values())) for row, owned_by, groups in found.values()]


async def identities_by_name(session: AsyncSession, names: Iterable[str]) -> list[Identity]:
    statement = select(IdentityRow).where(col(IdentityRow.name).in_(set(names))).order_by(col(IdentityRow.name))
    return await _complete(session, (await session.exec(statement)).all())


async def identity_by_name(session: AsyncSession, name: str) -> Identity | None:
    row = await row_by_name(session, name)
    return None if row is None else (await _complete(session, [row]))[0]


async def row_by_name(session: AsyncSession, name: str) -> IdentityRow | None:
    return (await session.exec(select(IdentityRow).where(col(IdentityRow.name) == name))).first()


async def identity_by_slack_user(session: AsyncSession, slack_user_id: str) -> Identity | None:
    statement = select(IdentityRow).where(col(IdentityRow.slack_user_id) == slack_user_id)
    return next(iter(await _complete(session, (await session.exec(statement)).all())), None)


async def identity_by_external_id(session: AsyncSession, external_id: str) -> Identity | None:
    statement = select(IdentityRow).where(col(IdentityRow.external_id) == external_id)
    return next(iter(await _complete(session, (await session.exec(statement)).all())), None)


async def identities_by_email(session: AsyncSession, email: str) -> list[Identity]:
    """Whatever the case of their letters."""
    statement = select(IdentityRow).where(func.lower(col(IdentityRow.email)) == email.lower())
    return await _complete(session, (await session.exec(statement)).all())


async def members_of(session: AsyncSession, groups: Iterable[str]) -> list[Identity]:
    """Everybody who is in one of the groups, each once."""
    ids = select(MembershipRow.identity_id).where(col(MembershipRow.group_name).in_(set(groups)))
    statement = select(IdentityRow).where(col(IdentityRow.id).in_(ids)).order_by(col(IdentityRow.name))
    return await _complete(session, (await session.exec(statement)).all())


async def machines_of(session: AsyncSession, owner_id: str) -> list[str]:
    return list((await session.exec(select(IdentityRow.name).where(col(IdentityRow.owner_id) == owner_id))).all())


async def ids_of_machines(session: AsyncSession, owner_id: str) -> dict[str, str]:
    """Their names by id."""
    found = await session.exec(select(IdentityRow.id, IdentityRow.name).where(col(IdentityRow.owner_id) == owner_id))
    return dict(found.all())


async def _complete(session: AsyncSession, rows: Sequence[IdentityRow]) -> list[Identity]:
    owners = await _owners(session, rows)
    groups = await _groups(session, [row.id for row in rows])
    return [_identity(row, owners.get(row.owner_id or ""), groups.get(row.id, [])) for row in rows]


async def _owners(session: AsyncSession, rows: Sequence[IdentityRow]) -> dict[str, IdentityRow]:
    wanted = {row.owner_id for row in rows if row.owner_id}
    if not wanted:
        return {}
    found = await session.exec(select(IdentityRow).where(col(IdentityRow.id).in_(wanted)))
    return {row.id: row for row in found.all()}


async def _groups(session: AsyncSession, ids: Sequence[str]) -> dict[str, list[GroupRow]]:
    """Whichever source says so, each group once."""
    statement = (
        select(MembershipRow.identity_id, GroupRow)
        .join(GroupRow, col(GroupRow.name) == col(MembershipRow.group_name))
        .order_by(col(GroupRow.name))
    )
    if len(ids) <= _FEW:
        statement = statement.where(col(MembershipRow.identity_id).in_(ids))
    groups: dict[str, dict[str, GroupRow]] = {}
    for identity_id, group in (await session.exec(statement)).all():
        groups.setdefault(identity_id, {})[group.name] = group
    return {identity_id: list(found.values()) for identity_id, found in groups.items()}


_FEW = 500  # beyond it all memberships are read: databases limit how many values a statement may carry


def _identity(row: IdentityRow, owner: IdentityRow | None, groups: Sequence[GroupRow]) -> Identity:
    owned_well = row.kind == "person" or (owner is not None and owner.kind == "person" and not owner.disabled)
    return Identity(
        id=IdentityId(row.id),
        name=row.name,
        kind=cast("Kind", row.kind),
        email=row.email,
        slack_user_id=row.slack_user_id or "",
        external_id=row.external_id or "",
        owner_id=IdentityId(row.owner_id) if row.owner_id else None,
        owner=owner.name if owner else "",
        disabled=row.disabled,
        able=owned_well and not row.disabled,
        groups=tuple(group.name for group in groups),
        roles=frozenset(role for group in groups for role in group.roles),
        version=row.version,
        reviews=_reviews(groups),
        purpose=row.purpose,
        ends_at=row.ends_at,
        source=row.source,
    )


def _reviews(groups: Sequence[GroupRow]) -> tuple[ReviewScope, ...]:
    """Those of the groups that make a reviewer; one that says nothing of where is for everywhere."""
    giving = [group for group in groups if Permission.REVIEW in permissions_of(set(group.roles))]
    return tuple(scope for group in giving for scope in (_scopes(group) or (ReviewScope(),)))


def _scopes(group: GroupRow) -> tuple[ReviewScope, ...]:
    return msgspec.convert(group.reviews, type=tuple[ReviewScope, ...])


# ------------------------------------------------------------------ groups


async def all_groups(session: AsyncSession) -> list[Group]:
    rows = (await session.exec(select(GroupRow).order_by(col(GroupRow.name)))).all()
    return await _with_members(session, rows)


async def group_by_name(session: AsyncSession, name: str) -> Group | None:
    row = await session.get(GroupRow, name)
    return None if row is None else (await _with_members(session, [row]))[0]


async def _with_members(session: AsyncSession, rows: Sequence[GroupRow]) -> list[Group]:
    statement = (
        select(MembershipRow.group_name, MembershipRow.source, IdentityRow.name)
        .join(IdentityRow, col(IdentityRow.id) == col(MembershipRow.identity_id))
        .where(col(MembershipRow.group_name).in_([row.name for row in rows]))
        .order_by(col(IdentityRow.name))
    )
    written: dict[str, list[str]] = {}
    pushed: dict[str, dict[str, None]] = {}
    for group, source, member in (await session.exec(statement)).all():
        if source:
            pushed.setdefault(group, {})[member] = None
        else:
            written.setdefault(group, []).append(member)
    return [_group(row, written.get(row.name, ()), pushed.get(row.name, ())) for row in rows]


def _group(row: GroupRow, written: Iterable[str], pushed: Iterable[str]) -> Group:
    return Group(row.name, tuple(sorted(row.roles)), tuple(written), row.version, _scopes(row), tuple(pushed))


async def set_members(session: AsyncSession, group: str, names: Sequence[str]) -> None:
    """As they are written here. Every name must be known."""
    found = await session.exec(select(IdentityRow.id).where(col(IdentityRow.name).in_(names)))
    await set_memberships(session, "", {(group, one) for one in found.all()}, group=group)


async def set_memberships(
    session: AsyncSession, source: str, wanted: set[tuple[str, str]], *, group: str | None = None, of: str | None = None
) -> bool:
    """What this source says of one group, or of one identity: exactly these (group, identity id). True: that is new."""
    mine = [col(MembershipRow.source) == source]
    mine += [] if group is None else [col(MembershipRow.group_name) == group]
    mine += [] if of is None else [col(MembershipRow.identity_id) == of]
    rows = (await session.exec(select(MembershipRow).where(*mine))).all()
    present = {(row.group_name, row.identity_id) for row in rows}
    for row in rows:
        if (row.group_name, row.identity_id) not in wanted:
            await session.delete(row)
    new = sorted(wanted - present)
    session.add_all(MembershipRow(group_name=name, identity_id=member, source=source) for name, member in new)
    return present != wanted


async def forget_memberships(session: AsyncSession, source: str) -> set[str]:
    """The groups of which this source said something."""
    mine = col(MembershipRow.source) == source
    groups = set((await session.exec(select(MembershipRow.group_name).where(mine).distinct())).all())
    await session.exec(delete(MembershipRow).where(mine))
    return groups


class MemberChange(msgspec.Struct, frozen=True):
    joining: frozenset[str]  # ids of identities
    leaving: frozenset[str]
    whole: bool  # whoever does not join leaves


async def change_members(
    session: AsyncSession, source: str, group: str, change: MemberChange
) -> tuple[set[str], set[str]]:
    """What this source says of a group: who joined and who left by it. Reads no more rows than it must."""
    mine = [col(MembershipRow.group_name) == group, col(MembershipRow.source) == source]
    named = change.joining | change.leaving
    if not change.whole and len(named) <= _FEW:
        mine.append(col(MembershipRow.identity_id).in_(named))
    present = set((await session.exec(select(MembershipRow.identity_id).where(*mine))).all())
    joined = set(change.joining) - present
    left = present - change.joining if change.whole else present & change.leaving
    session.add_all(MembershipRow(group_name=group, identity_id=one, source=source) for one in sorted(joined))
    gone = sorted(left)
    for start in range(0, len(gone), _FEW):
        some = col(MembershipRow.identity_id).in_(gone[start : start + _FEW])
        await session.exec(delete(MembershipRow).where(*mine[:2], some))
    return joined, left


async def known_names(session: AsyncSession, names: Iterable[str]) -> set[str]:
    found = await session.exec(select(IdentityRow.name).where(col(IdentityRow.name).in_(set(names))))
    return set(found.all())


async def able_admins(session: AsyncSession) -> set[str]:
    """Names of the people who can still administer."""
    everybody = await all_identities(session)
    return {one.name for one in everybody if one.able and one.kind == "person" and "admin" in one.roles}


async def managed_identities(session: AsyncSession) -> set[str]:
    return set((await session.exec(select(IdentityRow.name).where(col(IdentityRow.managed)))).all())


async def managed_groups(session: AsyncSession) -> set[str]:
    return set((await session.exec(select(GroupRow.name).where(col(GroupRow.managed)))).all())
