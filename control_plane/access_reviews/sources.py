"""Everything by which people and machines have access, read from the features that keep it. What lasts can be ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar

from sqlmodel import col, func, select

from control_plane.access_reviews.domain import Kind, Thing
from control_plane.access_reviews.ports import Source
from control_plane.api_tokens.tables import ApiTokenRow
from control_plane.documents.tables import DocumentRow
from control_plane.identities import credential_rows
from control_plane.identities.ending import Ending
from control_plane.identities.tables import (
    CredentialRow,
    ExternalAccountRow,
    IdentityRow,
    ServiceAccountKeyRow,
    SignInRow,
)
from control_plane.kit.unit_of_work import Actor, AuditEvent, UnitOfWork
from control_plane.workloads import sign_in_rows, trust_writers
from control_plane.workloads.documents import KIND, parse
from control_plane.workloads.tables import ClientCredentialRow, WorkloadSignInRow

R = TypeVar("R", ServiceAccountKeyRow, ClientCredentialRow, ApiTokenRow)
_After = Callable[[UnitOfWork, Actor, str, str], Awaitable[object]]


class Machines:
    """The machine itself: without its owner's word it ends, with all that it has."""

    kind = Kind.IDENTITY

    def __init__(self, ending: Ending) -> None:
        self._ending = ending

    async def things(self, uow: UnitOfWork, identity_ids: Sequence[str] | None = None) -> Sequence[Thing]:
        able = col(IdentityRow.kind) == "machine", col(IdentityRow.disabled).is_(False)
        statement = select(IdentityRow).where(*able).order_by(col(IdentityRow.name))
        if identity_ids is not None:
            statement = statement.where(col(IdentityRow.id).in_(identity_ids))
        return [
            Thing(
                kind=self.kind,
                id=row.id,
                identity_id=row.id,
                description=row.purpose,
                created_at=row.created_at,
                expires_at=row.ends_at,
                last_used_at=row.last_seen_at,
            )
            for row in (await uow.session.exec(statement)).all()
        ]

    async def end(self, uow: UnitOfWork, by: Actor, thing_id: str, reason: str) -> bool:
        row = await uow.session.get(IdentityRow, thing_id, with_for_update=True)
        if row is None or row.disabled:
            return False
        await self._ending.end(uow, by, thing_id, reason)
        return True


class Lasting(Generic[R]):
    """Rows that can be revoked, with what was made with them."""

    def __init__(
        self,
        kind: Kind,
        row: type[R],
        describe: Callable[[R], str],
        after: _After,
        *,
        rotates: bool = True,
    ) -> None:
        self.kind = kind
        self._row: type[R] = row
        self._describe: Callable[[R], str] = describe
        self._after = after
        self._rotates = rotates

    async def things(self, uow: UnitOfWork, identity_ids: Sequence[str] | None = None) -> Sequence[Thing]:
        row = self._row
        good = col(row.revoked_at).is_(None), col(row.expires_at) > uow.now
        statement = select(row).where(*good).order_by(col(row.created_at), col(row.id))
        if identity_ids is not None:
            statement = statement.where(col(row.identity_id).in_(identity_ids))
        return [
            Thing(
                kind=self.kind,
                id=found.id,
                identity_id=found.identity_id,
                description=self._describe(found),
                created_at=found.created_at,
                expires_at=found.expires_at,
                last_used_at=found.last_used_at,
                rotates=self._rotates,
            )
            for found in (await uow.session.exec(statement)).all()
        ]

    async def end(self, uow: UnitOfWork, by: Actor, thing_id: str, reason: str) -> bool:
        row = await uow.session.get(self._row, thing_id, with_for_update=True)
        if row is None or row.revoked_at is not None or row.expires_at <= uow.now:
            return False
        row.revoked_at = uow.now
        uow.session.add(row)
        uow.audit(AuditEvent(f"{self.kind}.revoked", by, thing_id, {"reason": reason}))
        await self._after(uow, by, thing_id, reason)
        await uow.session.flush()
        await uow.snapshot_changed()
        return True


async def _revoke_children(uow: UnitOfWork, _by: Actor, thing_id: str, _reason: str) -> None:
    await credential_rows.revoke_children(uow.session, thing_id, uow.now)


def lasting(ending: Ending) -> Sequence[Source]:
    """What campaigns ask about. Machines come last: what they have is asked about by itself first."""
    return (
        Lasting(Kind.KEY, ServiceAccountKeyRow, lambda row: row.description, _revoke_children),
        Lasting(
            Kind.CLIENT_CREDENTIAL,
            ClientCredentialRow,
            lambda row: f"{row.kind}: {row.description}",
            sign_in_rows.end_of_client_credential,
        ),
        Lasting(Kind.API_TOKEN, ApiTokenRow, lambda row: row.name, _revoke_children, rotates=False),
        Machines(ending),
    )


# ------------------------------------------------------------------ what ends by itself, or is no secret: shown only


async def passing(uow: UnitOfWork, identity_ids: Sequence[str]) -> list[Thing]:
    return [
        *await _credentials(uow, identity_ids),
        *await _sign_ins(uow, identity_ids),
        *await _accounts(uow, identity_ids),
        *await _trusts(uow, identity_ids),
    ]


async def _credentials(uow: UnitOfWork, identity_ids: Sequence[str]) -> list[Thing]:
    row = CredentialRow
    good = col(row.revoked_at).is_(None), col(row.expires_at) > uow.now, col(row.identity_id).in_(identity_ids)
    found = (await uow.session.exec(select(row).where(*good).order_by(col(row.issued_at), col(row.id)))).all()
    return [
        Thing(
            kind=Kind.CREDENTIAL,
            id=one.id,
            identity_id=one.identity_id,
            description=f"{one.kind} for {', '.join(one.targets)}",
            created_at=one.issued_at,
            expires_at=one.expires_at,
            last_used_at=one.last_used_at,
            lasts=False,
        )
        for one in found
    ]


_CHANNELS: Final[Mapping[str, str]] = {"console": "browser", "cli": "command line"}


async def _sign_ins(uow: UnitOfWork, identity_ids: Sequence[str]) -> list[Thing]:
    row = SignInRow
    good = col(row.expires_at) > uow.now, col(row.identity_id).in_(identity_ids), col(row.channel).in_(_CHANNELS)
    found = (await uow.session.exec(select(row).where(*good).order_by(col(row.created_at), col(row.id)))).all()
    return [
        Thing(
            kind=Kind.SIGN_IN,
            id=one.id,
            identity_id=one.identity_id,
            description=f"{_CHANNELS[one.channel]}, by {one.provider or 'password'}",
            created_at=one.created_at,
            expires_at=one.expires_at,
            last_used_at=one.authenticated_at or one.created_at,
            lasts=False,
        )
        for one in found
    ]


async def _accounts(uow: UnitOfWork, identity_ids: Sequence[str]) -> list[Thing]:
    row = ExternalAccountRow
    theirs = select(row).where(col(row.identity_id).in_(identity_ids))
    found = (await uow.session.exec(theirs.order_by(col(row.provider), col(row.subject)))).all()
    return [
        Thing(
            kind=Kind.ACCOUNT,
            id=f"{one.provider}:{one.subject}",
            identity_id=one.identity_id,
            description=one.email,
            created_at=one.created_at,
            last_used_at=one.last_used_at,
            lasts=False,
        )
        for one in found
    ]


async def _trusts(uow: UnitOfWork, identity_ids: Sequence[str]) -> list[Thing]:
    """By which workloads are let in as one of these machines."""
    named = select(IdentityRow.name, IdentityRow.id).where(col(IdentityRow.id).in_(identity_ids))
    machines = dict((await uow.session.exec(named)).all())
    rows = (await uow.session.exec(select(DocumentRow).where(col(DocumentRow.kind) == KIND))).all()
    found = {row.name: (row, parse(row.json_text).spec) for row in rows}
    used = await _last_let_in(uow)
    writers = await trust_writers.of_trusts(uow)
    lost = await trust_writers.gone(uow, {one for some in writers.values() for one in some})
    return [
        Thing(
            kind=Kind.WORKLOAD_TRUST,
            id=name,
            identity_id=machines[spec.identity],
            description=f"{spec.platform}, written by {', '.join(trust_writers.names_of(writers[name]))}",
            created_at=row.updated_at,
            last_used_at=used.get(name),
            lasts=False,
            writer_gone=not lost.isdisjoint(writers[name]),
        )
        for name, (row, spec) in sorted(found.items())
        if spec.identity in machines
    ]


async def _last_let_in(uow: UnitOfWork) -> dict[str, datetime]:
    row = WorkloadSignInRow
    return dict((await uow.session.exec(select(row.trust, func.max(row.created_at)).group_by(row.trust))).all())
