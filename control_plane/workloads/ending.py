"""What the end of an identity means for workloads: nothing it signs in with, and nothing on its behalf, is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork
from control_plane.workloads import sign_in_rows


class EndedWorkloads:
    """The port Consequence."""

    async def ended(self, uow: UnitOfWork, by: Actor, identity_ids: Sequence[str], reason: str) -> Mapping[str, Json]:
        return {
            "workload_sign_ins": await sign_in_rows.end_of_identities(uow, by, identity_ids, reason),
            "acting_tokens": await sign_in_rows.end_acting_tokens_of(uow, by, identity_ids, reason),
            "client_credentials": await sign_in_rows.end_client_credentials(uow, identity_ids),
        }
