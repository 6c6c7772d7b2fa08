"""Trusts as they are kept. One that is changed or gone ends what was let in by it as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from control_plane.documents.domain import Stored
from control_plane.documents.stored_kind import StoredKind
from control_plane.documents.tables import DocumentRow
from control_plane.identities import repository
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import Actor, UnitOfWork
from control_plane.workloads import sign_in_rows, trust_writers
from control_plane.workloads.documents import KIND, WorkloadTrust, parse
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem


class TrustKind(StoredKind):
    """The DocumentKind, and the port Makers."""

    def __init__(self) -> None:
        super().__init__(WorkloadTrust, "workload-trust", Permission.ADMIN)

    def decode(self, value: object) -> model.Document | Problem:
        return documents.into(WorkloadTrust, value, KIND, _name_of(value))

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]:
        """Applying one whose writer is gone writes it again, also as it stands."""
        writers, found = await trust_writers.of_trusts(uow), await super().stored(uow)
        lost = await trust_writers.gone(uow, {one for some in writers.values() for one in some})
        left = {name: trust_writers.names_of(lost.intersection(some)) for name, some in writers.items()}
        return {name: replace(one, left_by=tuple(left[name])) for name, one in found.items()}

    async def held(self, uow: UnitOfWork, name: str) -> DocumentRow | None:
        """As it is now, and until this transaction is over."""
        key = (self.kind, name)
        return await uow.session.get(DocumentRow, key, with_for_update=True, populate_existing=True)

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None:
        name = document.metadata.name  # type: ignore[attr-defined]
        before = (await self.stored(uow)).get(name)
        if before is not None and before.left_by:  # made anew, so that nothing in it is theirs any more
            managed = managed or before.managed
            await super().delete(uow, by, name)
        await super().put(uow, by, document, managed=managed)
        await sign_in_rows.end_of_trust(uow, by, name, "its trust was changed")

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        await super().delete(uow, by, name)
        await sign_in_rows.end_of_trust(uow, by, name, "its trust was deleted")

    async def makers(self, uow: UnitOfWork, identity_id: str) -> Sequence[str]:
        """Ids of those who wrote what lets a workload in as this machine."""
        rows = await self.rows(uow)
        machine = {one.name for one in await repository.identities_by_id(uow.session, [identity_id])} if rows else set()
        trusts = [row.name for row in rows if parse(row.json_text).spec.identity in machine]
        writers = await trust_writers.of_trusts(uow) if trusts else {}
        return sorted({one.id for trust in trusts for one in writers[trust]})


def _name_of(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
