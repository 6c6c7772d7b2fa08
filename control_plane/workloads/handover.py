"""What a machine's former owner made for it, and so could have kept: keys, and what it signs in with itself."""

from __future__ import annotations

from collections.abc import Mapping

from sqlmodel import and_, col, select

from control_plane.identities import credential_rows
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork
from control_plane.workloads import sign_in_rows
from control_plane.workloads.tables import ActingTokenRow, ClientCredentialRow, WorkloadSignInRow


class MadeByFormerOwners:
    """The port Handover."""

    async def handed_over(
        self, uow: UnitOfWork, by: Actor, machine_id: str, former_owner_id: str, reason: str
    ) -> Mapping[str, Json]:
        keys = await credential_rows.revoke_keys_made_by(uow.session, [former_owner_id], uow.now, of=machine_id)
        credentials = await credential_rows.revoke_made_with(uow.session, keys, uow.now)
        with_any = col(ActingTokenRow.made_with).in_(
            credential_rows.ids_of_keys_made_by([former_owner_id], of=machine_id)
        )
        await sign_in_rows.end_acting_tokens(uow, by, with_any, reason)
        row = ClientCredentialRow
        theirs = and_(col(row.identity_id) == machine_id, col(row.created_by) == former_owner_id)
        made = await sign_in_rows.end_those(uow, theirs)
        with_theirs = col(WorkloadSignInRow.client_credential_id).in_(select(row.id).where(theirs))
        came = await sign_in_rows.end(uow, by, with_theirs, reason)
        told: dict[str, Json] = {"keys": keys, "credentials": credentials}
        return {**told, "client_credentials": made, "workload_sign_ins": came}
