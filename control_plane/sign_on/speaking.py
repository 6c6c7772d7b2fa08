"""Which providers may speak for a mail address: those whose document lists its domain; and which make people. A
disabled one's people stay whom they were, so its document counts too."""

from __future__ import annotations

from sqlmodel import col, select

from control_plane.documents.tables import DocumentRow
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sign_on.documents import KIND, Linking, parse
from control_plane.sign_on.domain import domain_of


def lists(rules: Linking, email: str) -> bool:
    return domain_of(email) in {one.lower() for one in rules.by_email}


async def may_speak(uow: UnitOfWork, provider: str, email: str) -> bool:
    """No such provider: False."""
    row = await uow.session.get(DocumentRow, (KIND, provider)) if provider else None
    return row is not None and lists(parse(row.json_text).spec.linking, email)


async def others_make_people(uow: UnitOfWork, provider: str) -> bool:
    others = select(DocumentRow).where(col(DocumentRow.kind) == KIND, col(DocumentRow.name) != provider)
    return any(parse(row.json_text).spec.linking.create for row in (await uow.session.exec(others)).all())
