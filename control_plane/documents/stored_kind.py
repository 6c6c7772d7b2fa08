"""Documents that are kept as they are (policies, chains, masks, targets): a versioned row each."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import bindparam, func
from sqlmodel import col, select

from control_plane.documents.domain import Stored
from control_plane.documents.tables import DocumentRow, DocumentVersionRow
from control_plane.kit.access import Permission
from control_plane.kit.errors import NotFoundError
from control_plane.kit.unit_of_work import Actor, AuditEvent, UnitOfWork
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem

_ROWS = (
    select(DocumentRow)
    .where(col(DocumentRow.kind) == bindparam("kind"), col(DocumentRow.name) > bindparam("after"))
    .order_by(col(DocumentRow.name))
)
_ROWS_AND_ONE = (
    select(DocumentRow)
    .where(
        (col(DocumentRow.kind) == bindparam("kind"))
        | ((col(DocumentRow.kind) == bindparam("other")) & (col(DocumentRow.name) == bindparam("name")))
    )
    .order_by(col(DocumentRow.name))
)


class StoredKind:
    """The DocumentKind of one of the kinds of `data_plane.policy.model`. `noun` begins its audit events."""

    def __init__(self, shape: type[model.Document], noun: str, permission: Permission) -> None:
        self.kind = shape.__name__
        self.permission = permission
        self._shape = shape
        self._noun = noun

    def decode(self, value: object) -> model.Document | Problem:
        return documents.convert(value)

    def order(self, _document: model.Document) -> int:
        return 0

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]:
        return {row.name: Stored(self._document(row), row.managed) for row in await self.rows(uow)}

    async def rows(self, uow: UnitOfWork, after: str = "", limit: int | None = None) -> list[DocumentRow]:
        statement = _ROWS if limit is None else _ROWS.limit(limit)
        return list((await uow.session.exec(statement, params={"kind": self.kind, "after": after})).all())

    async def rows_and_one(
        self, uow: UnitOfWork, other: StoredKind, name: str
    ) -> tuple[list[DocumentRow], DocumentRow | None]:
        """As `rows`, and as `row` of another kind, in one question."""
        told = {"kind": self.kind, "other": other.kind, "name": name}
        found = (await uow.session.exec(_ROWS_AND_ONE, params=told)).all()
        one = next((row for row in found if row.kind == other.kind), None)
        return [row for row in found if row.kind == self.kind], one

    async def row(self, uow: UnitOfWork, name: str) -> DocumentRow | None:
        return await uow.session.get(DocumentRow, (self.kind, name))

    async def versions(self, uow: UnitOfWork, name: str, below: int, limit: int) -> list[DocumentVersionRow]:
        """Newest first."""
        number = col(DocumentVersionRow.version)
        mine = (col(DocumentVersionRow.kind) == self.kind, col(DocumentVersionRow.name) == name, number < below)
        found = await uow.session.exec(select(DocumentVersionRow).where(*mine).order_by(number.desc()).limit(limit))
        return list(found.all())

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None:
        name = _name(document)
        row = await self.row(uow, name)
        version = await self._next_version(uow, name)
        text = documents.encode(document)
        event = "created" if row is None else "updated"
        if row is None:
            row = DocumentRow(
                kind=self.kind, name=name, version=version, json_text=text, updated_at=uow.now, updated_by=by.name
            )
        row.version, row.json_text, row.updated_at, row.updated_by = version, text, uow.now, by.name
        row.managed = managed or row.managed
        uow.session.add(row)
        await self._happened(uow, by, event, name, version, text)

    async def manage(self, uow: UnitOfWork, name: str) -> None:
        row = await self.row(uow, name)
        if row is not None:
            row.managed = True

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        row = await self.row(uow, name)
        if row is None:
            raise NotFoundError(f"there is no {self.kind} named {name!r}")
        version = await self._next_version(uow, name)
        await uow.session.delete(row)
        await self._happened(uow, by, "deleted", name, version, "")

    async def _next_version(self, uow: UnitOfWork, name: str) -> int:
        """Goes on after a deletion: one version number never means two texts."""
        mine = (col(DocumentVersionRow.kind) == self.kind, col(DocumentVersionRow.name) == name)
        newest = (await uow.session.exec(select(func.max(DocumentVersionRow.version)).where(*mine))).one()
        return (newest or 0) + 1

    async def _happened(self, uow: UnitOfWork, by: Actor, event: str, name: str, version: int, text: str) -> None:
        row = DocumentVersionRow(kind=self.kind, name=name, version=version, json_text=text, at=uow.now, by=by.name)
        row.by_id = by.id
        uow.session.add(row)
        uow.audit(AuditEvent(f"{self._noun}.{event}", by, name, {"version": version, "document": text}))
        await uow.session.flush()
        await uow.snapshot_changed()

    def _document(self, row: DocumentRow) -> model.Document:
        return msgspec.json.decode(row.json_text, type=self._shape)


def _name(document: model.Document) -> str:
    metadata: model.Metadata = document.metadata  # type: ignore[attr-defined]
    return metadata.name
