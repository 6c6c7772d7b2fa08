"""Who has left could have kept what they made for others' machines: keys, what these sign in with themselves, and the
keys of issuers that they trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import col, select

from control_plane.identities import credential_rows
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork
from control_plane.workloads import sign_in_rows, trust_writers
from control_plane.workloads.tables import ActingTokenRow, ClientCredentialRow, WorkloadSignInRow


class MadeByTheDeparted:
    """The port Consequence."""

    async def ended(self, uow: UnitOfWork, by: Actor, identity_ids: Sequence[str], reason: str) -> Mapping[str, Json]:
        keys = await credential_rows.revoke_keys_made_by(uow.session, identity_ids, uow.now)
        credentials = await credential_rows.revoke_made_with(uow.session, keys, uow.now)
        with_any = col(ActingTokenRow.made_with).in_(credential_rows.ids_of_keys_made_by(identity_ids))
        await sign_in_rows.end_acting_tokens(uow, by, with_any, reason)
        theirs = col(ClientCredentialRow.created_by).in_(identity_ids)
        made = await sign_in_rows.end_those(uow, theirs)
        with_theirs = col(WorkloadSignInRow.client_credential_id).in_(select(ClientCredentialRow.id).where(theirs))
        await sign_in_rows.end(uow, by, with_theirs, reason)
        trusts = await trust_writers.left_by(uow, identity_ids)
        await sign_in_rows.end(uow, by, col(WorkloadSignInRow.trust).in_(trusts), reason)
        told: dict[str, Json] = {"keys_made": keys, "credentials_of_keys_made": credentials}
        return {**told, "client_credentials_made": made, "workload_trusts_stopped": trusts}
