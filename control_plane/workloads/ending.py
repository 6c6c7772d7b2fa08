"""What the end of an identity means for workloads: nothing it signs in with, and nothing on its behalf, is left. Where
a sign-in of a person is ended, nobody acts any more by what was made with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import col

from control_plane.identities import credential_rows
from control_plane.identities.ports import SignedOut
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork
from control_plane.workloads import sign_in_rows
from control_plane.workloads.tables import ActingTokenRow


class EndedWorkloads:
    """The ports Consequence and Dependents."""

    async def ended(self, uow: UnitOfWork, by: Actor, identity_ids: Sequence[str], reason: str) -> Mapping[str, Json]:
        return {
            "workload_sign_ins": await sign_in_rows.end_of_identities(uow, by, identity_ids, reason),
            "acting_tokens": await sign_in_rows.end_acting_tokens_of(uow, by, identity_ids, reason),
            "client_credentials": await sign_in_rows.end_client_credentials(uow, identity_ids),
        }

    async def signed_out(self, uow: UnitOfWork, by: Actor, which: SignedOut, reason: str) -> Mapping[str, Json]:
        theirs = credential_rows.made_with(which, col(ActingTokenRow.identity_id), col(ActingTokenRow.made_with))
        return {"acting_tokens": await sign_in_rows.end_acting_tokens(uow, by, theirs, reason)}
