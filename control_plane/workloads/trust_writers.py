"""Who wrote a trust. Whoever did could let in a workload of their own, so they answer for all that it lets in.

Those are all who wrote any version of it since it was made, not only the last one: what an earlier one wrote may still
stand in it. When one of them is disabled or gone, the trust lets nobody in until somebody living writes it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import func
from sqlmodel import col, select

from control_plane.documents.tables import DocumentVersionRow
from control_plane.identities import repository
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.workloads.documents import KIND

Writers = Mapping[str, list[str]]  # by the name of a trust, names of identities in order


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
    statement = select(row.name, row.by).outerjoin(deleted, col(row.name) == deleted.c.name).distinct()
    statement = statement.where(trusts, number > func.coalesce(deleted.c.version, 0))
    found: dict[str, list[str]] = {}
    for trust, writer in (await uow.session.exec(statement.order_by(col(row.name), col(row.by)))).all():
        found.setdefault(trust, []).append(writer)
    return found


async def gone(uow: UnitOfWork, names: Collection[str]) -> list[str]:
    """Those who are disabled, or are not there any more."""
    found = await repository.identities_by_name(uow.session, names)
    return sorted(set(names) - {one.name for one in found if one.able})


async def left_by(uow: UnitOfWork, identity_ids: Collection[str]) -> list[str]:
    """Trusts that let nobody in because these wrote them."""
    names = {one.name for one in await repository.identities_by_id(uow.session, identity_ids)}
    lost = set(await gone(uow, names))
    return sorted(trust for trust, writers in (await of_trusts(uow)).items() if lost.intersection(writers))
