"""API tokens of people: made by somebody who is signed in, for themselves, at most as good as they are.

A token never approves, breaks glass, writes policy, or makes or changes anything of anybody (`domain.GIVABLE`). What it
may is looked up at every use: it loses what its person loses, and ends with its person for good. It outlives the
sign-in that it was made with when that ends by itself, and is ended when that is ended. What is made with it (a token
for a target) ends with it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlmodel import col

from control_plane.api_tokens import rows
from control_plane.api_tokens.domain import GIVABLE, LONGEST, LONGEST_BY_PROVIDER, MOST, PREFIX, effective
from control_plane.api_tokens.tables import NOUN, ApiTokenRow
from control_plane.identities import credential_rows, repository
from control_plane.identities.ports import SignedOut
from control_plane.identities.sign_ins import principal_of
from control_plane.identities.standing import still_stands
from control_plane.kit.access import Permission, Principal
from control_plane.kit.errors import ConflictError, FieldProblem, ForbiddenError, InvalidError, NotFoundError
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork, Units

_LENGTH: Final = 52  # 260 bits
_WRITTEN_EVERY: Final = 60.0  # seconds: a use is not worth a write of its own


class MintedApiToken(msgspec.Struct, frozen=True):
    row: ApiTokenRow
    owner: str
    token: Secret


class ApiTokens:
    """Also the BearerScheme of its tokens, the Consequence of a person's end, and the Dependents of sign-ins."""

    prefix = PREFIX

    def __init__(self, units: Units) -> None:
        self._units = units
        self._used: dict[str, datetime] = {}  # not written yet

    # -------------------------------------------------------------- by people

    async def make(
        self, uow: UnitOfWork, person: Principal, name: str, permissions: Sequence[str], lifetime: timedelta
    ) -> MintedApiToken:
        await still_stands(uow, person)
        _must_be_signed_in(person)
        _check(person, permissions)
        _check_lifetime(person, lifetime)
        if await rows.count_of(uow, person.identity) >= MOST:
            raise ConflictError(f"you have {MOST} API tokens that are still good; revoke one first")
        token = Secret(PREFIX + random_text(_LENGTH))
        row = ApiTokenRow(
            id=new_id(NOUN),
            identity_id=person.identity,
            name=name,
            permissions=sorted(set(permissions)),
            token_hash=rows.hash_of(token.reveal()),
            parent_id=person.credential_id,
            authenticated_at=person.authenticated_at,
            created_at=uow.now,
            expires_at=(uow.now + min(lifetime, LONGEST)).replace(microsecond=0),
        )
        uow.session.add(row)
        told: dict[str, Json] = {"name": name, "permissions": row.permissions, "expires_at": row.expires_at.isoformat()}
        uow.audit(AuditEvent("api-token.created", person.actor, row.id, told))
        return MintedApiToken(row, person.name, token)

    async def page(
        self, uow: UnitOfWork, person: Principal, paging: Paging
    ) -> tuple[list[tuple[ApiTokenRow, str]], str | None]:
        """One's own that are still good, with whose they are; an admin sees everybody's."""
        whose = None if person.may(Permission.ADMIN) else person.identity
        found = await rows.page(uow, whose, single_key(paging, str), paging.limit + 1)
        kept, cursor = paging.page(found, lambda row: (row.id,))
        people = await repository.identities_by_id(uow.session, {row.identity_id for row in kept})
        names = {str(one.id): one.name for one in people}
        return [(row, names.get(row.identity_id, "")) for row in kept], cursor

    async def revoke(self, uow: UnitOfWork, person: Principal, token_id: str) -> None:
        """One's own, or anybody's for an admin, with all that was made with it. Again: nothing changes."""
        row = await uow.session.get(ApiTokenRow, token_id, with_for_update=True)
        if row is None or not (row.identity_id == person.identity or person.may(Permission.ADMIN)):
            raise NotFoundError(f"there is no API token {token_id!r}")
        if row.revoked_at is None:
            row.revoked_at = uow.now
            await credential_rows.revoke_children(uow.session, row.id, uow.now)
            uow.audit(AuditEvent("api-token.revoked", person.actor, row.id, {"name": row.name}))
            await uow.session.flush()
            await uow.snapshot_changed()

    # -------------------------------------------------------------- at every use

    async def principal(self, uow: UnitOfWork, token: str) -> Principal | None:
        row = await rows.good(uow, token)
        if row is None:
            return None
        person = await principal_of(uow, row.identity_id, row.id, "api-token", row.authenticated_at)
        if person is None or person.kind != "person":
            return None
        self._used[row.id] = uow.now
        return msgspec.structs.replace(person, permissions=effective(row.permissions, person.permissions))

    async def ended(
        self,
        uow: UnitOfWork,
        by: Actor,  # noqa: ARG002 - one event tells of the end, and by whom
        identity_ids: Sequence[str],
        reason: str,  # noqa: ARG002
    ) -> Mapping[str, Json]:
        return {"api_tokens": await rows.revoke_all_of(uow, identity_ids)}

    async def signed_out(
        self,
        uow: UnitOfWork,
        by: Actor,  # noqa: ARG002
        which: SignedOut,
        reason: str,  # noqa: ARG002
    ) -> Mapping[str, Json]:
        theirs = credential_rows.made_with(which, col(ApiTokenRow.identity_id), col(ApiTokenRow.parent_id))
        ended = await rows.revoke(uow, theirs)
        made = await credential_rows.revoke_made_with(uow.session, ended, uow.now)
        return {"api_tokens": ended, "credentials_of_api_tokens": made}

    # -------------------------------------------------------------- when they were used

    async def write_uses(self) -> None:
        """What a crash loses of it is a minute's."""
        seen, self._used = self._used, {}
        if seen:
            async with self._units() as uow:
                for token_id, at in sorted(seen.items()):
                    await rows.used(uow, token_id, at)

    async def write_uses_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(_WRITTEN_EVERY)
            await self.write_uses()


def _must_be_signed_in(person: Principal) -> None:
    """A token makes no tokens: it would outlive itself."""
    if person.credential_kind not in ("console", "cli"):
        raise ForbiddenError("sign in yourself: `assentry login`; an API token or a key makes no API tokens")


def _check_lifetime(person: Principal, lifetime: timedelta) -> None:
    if person.provider and lifetime > LONGEST_BY_PROVIDER:
        hours = int(LONGEST_BY_PROVIDER.total_seconds() // 3600)
        problem = f"at most {hours} hours, because {person.provider} signed you in; let a machine do what takes longer"
        raise InvalidError(
            "an API token cannot be good for so long", [FieldProblem(path="$.ttl_seconds", message=problem)]
        )


def _check(person: Principal, permissions: Sequence[str]) -> None:
    mine = {one.value for one in GIVABLE if person.may(one)}
    wrong = [
        FieldProblem(path=f"$.permissions[{i}]", message=f"you may give: {', '.join(sorted(mine)) or 'nothing'}")
        for i, one in enumerate(permissions)
        if one not in mine
    ]
    if wrong:
        raise InvalidError("an API token is at most as good as you are", wrong)
