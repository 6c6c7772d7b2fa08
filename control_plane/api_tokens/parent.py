"""What is made with an API token ends with it: the port `identities.parents.Parent`."""

from __future__ import annotations

from control_plane.api_tokens.tables import NOUN, ApiTokenRow
from control_plane.identities.parents import Bounds
from control_plane.kit.unit_of_work import UnitOfWork


class ApiTokenParent:
    noun = NOUN

    async def bounds(self, uow: UnitOfWork, credential_id: str) -> Bounds | None:
        row = await uow.session.get(ApiTokenRow, credential_id, populate_existing=True, with_for_update=uow.writes)
        if row is None:
            return None
        over = row.revoked_at is not None
        return Bounds("API token", row.expires_at, valid=not over and row.expires_at > uow.now, revoked=over)
