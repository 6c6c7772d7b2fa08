"""Bearer tokens of SCIM clients: two at a time, so that one takes the place of the other without a gap.

A token reaches `/scim` and nothing else: its principal has the one permission that no role gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.identities.credential_rows import hash_of
from control_plane.kit.access import Permission, Principal
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.scim import repository
from control_plane.scim.domain import LIVING_TOKENS, PREFIX, source_of
from control_plane.scim.errors import ScimTokenNotFoundError, TooManyTokensError
from control_plane.scim.tables import ScimTokenRow
from data_plane.identifiers import CredentialId, IdentityId

_LENGTH: Final = 52  # 260 bits


class MintedToken(msgspec.Struct, frozen=True):
    row: ScimTokenRow
    token: Secret


class TokenService:
    """Also the BearerScheme of these tokens, and the Consequence of the end of who made one."""

    prefix: Final = PREFIX

    async def principal(self, uow: UnitOfWork, token: str) -> Principal | None:
        row = await repository.token_by_hash(uow.session, hash_of(token))
        if row is None or not is_living(row, uow.now):
            return None
        return Principal(
            identity=IdentityId(row.client),
            name=source_of(row.client),
            kind="machine",
            groups=(),
            permissions=frozenset({Permission.PROVISION}),
            credential_id=CredentialId(row.id),
            authenticated_at=uow.now,
            credential_kind="scim",
        )

    async def cause_of_refusal(self, uow: UnitOfWork, token: str) -> str:
        """For the audit log, of a token that is not taken."""
        row = await repository.token_by_hash(uow.session, hash_of(token)) if token else None
        if row is None:
            return "the token is unknown" if token else "there was no token"
        over = "revoked" if row.revoked_at is not None else "expired"
        return f"the token {row.id} of {row.client} is {over}"

    async def create(self, uow: UnitOfWork, by: Actor, client: str, lifetime: timedelta) -> MintedToken:
        """Raises TooManyTokensError."""
        living = [row for row in await repository.tokens(uow.session, [client]) if is_living(row, uow.now)]
        if len(living) >= LIVING_TOKENS:
            raise TooManyTokensError(client)
        token = PREFIX + random_text(_LENGTH)
        row = ScimTokenRow(
            id=new_id("sct"),
            client=client,
            token_hash=hash_of(token),
            created_at=uow.now,
            created_by=by.name,
            expires_at=uow.now + lifetime,
        )
        uow.session.add(row)
        await uow.session.flush()
        told = {"token": row.id, "expires_at": row.expires_at.isoformat()}
        uow.audit(AuditEvent("scim-client.token-created", by, client, told))
        return MintedToken(row, Secret(token))

    async def revoke(self, uow: UnitOfWork, by: Actor, client: str, token_id: str) -> None:
        row = await uow.session.get(ScimTokenRow, token_id, with_for_update=True)
        if row is None or row.client != client or not is_living(row, uow.now):
            raise ScimTokenNotFoundError(token_id)
        row.revoked_at = uow.now
        uow.session.add(row)
        uow.audit(AuditEvent("scim-client.token-revoked", by, client, {"token": token_id}))

    async def ended(
        self,
        uow: UnitOfWork,
        by: Actor,  # noqa: ARG002 - one event tells of the end, and by whom
        identity_ids: Sequence[str],
        reason: str,  # noqa: ARG002 - likewise
    ) -> Mapping[str, Json]:
        """Who has left could have kept those that they made."""
        rows = await repository.tokens_made_by(uow.session, identity_ids)
        good = [row for row in rows if is_living(row, uow.now)]
        for row in good:
            row.revoked_at = uow.now
            uow.session.add(row)
        return {"scim_tokens_made": [row.id for row in good]}

    async def used(self, uow: UnitOfWork, token_id: str) -> None:
        row = await uow.session.get(ScimTokenRow, token_id)
        if row is not None:
            row.last_used_at = uow.now
            uow.session.add(row)


def is_living(row: ScimTokenRow, now: datetime) -> bool:
    return row.revoked_at is None and row.expires_at > now
