"""Who wrote a trust. Whoever did could let in a workload of their own, so they answer for all that it lets in.

Those are all who wrote any version of it since it was made, not only the last one: what an earlier one wrote may still
stand in it. When one of them is disabled or gone, the trust lets nobody in until somebody living writes it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from sqlalchemy import func
from sqlmodel import col, select

from control_plane.documents.tables import DocumentVersionRow
from control_plane.identities import repository
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.workloads.documents import KIND


class Writer(msgspec.Struct, frozen=True):
    """Whoever is called so later is somebody else."""

    id: str
    name: str


Writers = Mapping[str, list[Writer]]  # by the name of a trust, in the order of their names


async def of_trusts(uow: UnitOfWork) -> Writers:
    """A deletion is a version without text: whoever makes a trust of that name after it makes another one."""
    row = DocumentVersionRow
    trusts, number = col(row.kind) == KIND, col(row.version)
    deleted = (
        select(col(row.name).label("name"), func.max(number).label("version"))
        .where(trusts, col(row.json_text) == "")
        .group_by(col(row.name))
        .subquery()
    )
    statement = select(row.name, row.by, row.by_id).outerjoin(deleted, col(row.name) == deleted.c.name).distinct()
    statement = statement.where(trusts, number > func.coalesce(deleted.c.version, 0))
    found: dict[str, list[Writer]] = {}
    ordered = statement.order_by(col(row.name), col(row.by), col(row.by_id))
    for trust, name, identity_id in (await uow.session.exec(ordered)).all():
        found.setdefault(trust, []).append(Writer(identity_id, name))
    return found


async def gone(uow: UnitOfWork, writers: Collection[Writer]) -> frozenset[Writer]:
    """Those who are disabled, or are not there any more."""
    found = await repository.identities_by_id(uow.session, {one.id for one in writers})
    able = {str(one.id) for one in found if one.able}
    return frozenset(one for one in writers if one.id not in able)


def names_of(writers: Collection[Writer]) -> list[str]:
    return sorted({one.name for one in writers})


async def left_by(uow: UnitOfWork, identity_ids: Collection[str]) -> list[str]:
    """Trusts that let nobody in because these wrote them."""
    trusts = await of_trusts(uow)
    lost = await gone(uow, {one for writers in trusts.values() for one in writers if one.id in identity_ids})
    return sorted(trust for trust, writers in trusts.items() if lost.intersection(writers))
