"""What a workload that has proven itself calls this API with: `assentry_w_…`, for an hour at the longest."""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.identities.parents import Bounds
from control_plane.identities.sign_ins import principal_of
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.workloads import chains, sign_in_rows
from control_plane.workloads.tables import SIGN_IN, WorkloadSignInRow
from data_plane.identifiers import IdentityId

PREFIX: Final = "assentry_w_"


class WorkloadBearer:
    """The port BearerScheme, and the Parent of what is made with a workload's sign-in."""

    prefix = PREFIX
    noun = SIGN_IN

    async def principal(self, uow: UnitOfWork, token: str) -> Principal | None:
        row = await sign_in_rows.by_token(uow.session, token)
        if row is None or not _good(uow, row):
            return None
        found = await principal_of(uow, row.identity_id, row.id, "workload", row.created_at)
        if found is None:
            return None
        chain = tuple(IdentityId(one) for one in chains.ids(row.chain))
        return msgspec.structs.replace(found, provider=row.trust, chain=chain)

    async def bounds(self, uow: UnitOfWork, credential_id: str) -> Bounds | None:
        row = await uow.session.get(
            WorkloadSignInRow, credential_id, populate_existing=True, with_for_update=uow.writes
        )
        if row is None:
            return None
        return Bounds(
            kind=f"workload sign-in by {row.trust or row.method}",
            expires_at=row.expires_at,
            valid=_good(uow, row),
            revoked=row.revoked_at is not None,
            targets=tuple(row.targets),
            chain=tuple(row.chain),
            made_by=row.made_by,
        )


def _good(uow: UnitOfWork, row: WorkloadSignInRow) -> bool:
    return row.revoked_at is None and row.expires_at > uow.now
