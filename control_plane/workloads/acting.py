"""Acting tokens: somebody says that one machine, which they name, may act on their behalf for a time (`may_act`).

It is no credential: that machine still proves itself, gets no right that it has not, and what it then does bears the
names of all who stand behind it, none of whom may approve it. It ends with any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from control_plane.identities import credential_rows
from control_plane.identities.domain import Identity
from control_plane.identities.parents import EVERY_TARGET, Bounds, Parents
from control_plane.identities.service import IdentityService
from control_plane.identities.standing import still_stands
from control_plane.identities.tables import ServiceAccountKeyRow, SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import InvalidError, NotFoundError
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import AuditEvent, UnitOfWork
from control_plane.workloads import chains, sign_in_rows
from control_plane.workloads.tables import ActingTokenRow

PREFIX: Final = "assentry_o_"
LONGEST: Final = timedelta(hours=8)
_LENGTH: Final = 52  # 260 bits


class MadeActingToken(msgspec.Struct, frozen=True):
    row: ActingTokenRow
    actor: str
    token: Secret


class ActingTokens:
    def __init__(self, identities: IdentityService, parents: Parents) -> None:
        self._identities = identities
        self._parents = parents

    async def make(self, uow: UnitOfWork, by: Principal, actor: str, lifetime: timedelta) -> MadeActingToken:
        """For a machine that acts on behalf of the caller. Never outlives what the caller came with, and reaches no
        further."""
        await still_stands(uow, by, self._parents)
        machine = await self._identities.named(uow, actor)
        if machine.kind != "machine" or machine.id == by.identity:
            raise InvalidError(f"{actor!r} cannot act for you: name another identity, a machine")
        bounds = await self._parents.bounds(uow, by.credential_id)
        before = [dict(one) for one in bounds.chain] if bounds else []
        chain = [*before, {"id": str(by.identity), "name": by.name, "kind": by.kind}]
        if len(chain) >= chains.MOST or machine.id in chains.ids(chain):
            raise InvalidError(f"a chain has at most {chains.MOST} identities, each of them once")
        token = PREFIX + random_text(_LENGTH)
        row = ActingTokenRow(
            id=new_id("act"),
            identity_id=by.identity,
            actor_id=machine.id,
            chain=chain,
            targets=list(bounds.targets) if bounds else [EVERY_TARGET],
            made_with=by.credential_id,
            token_hash=credential_rows.hash_of(token),
            created_at=uow.now,
            expires_at=min([uow.now + min(lifetime, LONGEST), *await _ends(uow, by, bounds)]),
        )
        uow.session.add(row)
        told = {"actor": actor, "chain": [one["name"] for one in chain], "expires_at": row.expires_at.isoformat()}
        uow.audit(AuditEvent("acting-token.created", by.actor, row.id, told))
        return MadeActingToken(row, actor, Secret(token))

    async def good_for(self, uow: UnitOfWork, token: str, actor: Identity) -> ActingTokenRow | str:
        """The row, if this machine may act with it now; else why not, for the audit log."""
        row = (await uow.session.exec(_shown(token).with_for_update())).first()
        if row is None or row.revoked_at is not None or row.expires_at <= uow.now:
            return "the acting token is not known, was revoked or has expired"
        if row.actor_id != actor.id:
            return f"the acting token {row.id} is for another machine than {actor.name!r}"
        behind = await self._identities.find_all(uow, chains.ids(row.chain))
        lost = [one["name"] for one in row.chain if one["id"] and not _able(behind.get(one["id"]))]
        return f"{', '.join(lost)} of the acting token {row.id} is disabled or gone" if lost else row

    async def behind(self, uow: UnitOfWork, token: str) -> list[str]:
        """Ids of those who take part, if there is such a token."""
        row = (await uow.session.exec(_shown(token))).first()
        return [row.actor_id, *chains.ids(row.chain)] if row is not None else []

    async def mine(self, uow: UnitOfWork, by: Principal) -> list[tuple[ActingTokenRow, str]]:
        """Those that are still good, with the names of the machines."""
        row = ActingTokenRow
        good = (col(row.identity_id) == by.identity, col(row.revoked_at).is_(None), col(row.expires_at) > uow.now)
        rows: Sequence[ActingTokenRow] = (await uow.session.exec(select(row).where(*good).order_by(col(row.id)))).all()
        names = await self._identities.find_all(uow, {one.actor_id for one in rows})
        return [(one, names[one.actor_id].name) for one in rows if one.actor_id in names]

    async def revoke(self, uow: UnitOfWork, by: Principal, token_id: str) -> None:
        """One's own, with all that was got with it; its sessions end at once."""
        row = await uow.session.get(ActingTokenRow, token_id)
        if row is None or row.identity_id != by.identity:
            raise NotFoundError(f"there is no acting token {token_id!r} of yours")
        if await sign_in_rows.end_acting_tokens(uow, by.actor, col(ActingTokenRow.id) == row.id, "it was taken back"):
            uow.audit(AuditEvent("acting-token.revoked", by.actor, row.id))


async def _ends(uow: UnitOfWork, by: Principal, bounds: Bounds | None) -> list[datetime]:
    """Of what the caller came with."""
    if bounds is not None:
        return [bounds.expires_at]
    sign_in = await uow.session.get(SignInRow, by.credential_id)
    key = await uow.session.get(ServiceAccountKeyRow, by.credential_id)
    return [*([sign_in.expires_at] if sign_in else []), *([key.expires_at] if key else [])]


def _shown(token: str) -> SelectOfScalar[ActingTokenRow]:
    """As it is now."""
    hashed = credential_rows.hash_of(token)
    statement = select(ActingTokenRow).where(col(ActingTokenRow.token_hash) == hashed)
    return statement.execution_options(populate_existing=True)


def _able(identity: Identity | None) -> bool:
    return identity is not None and identity.able
