"""Whether whoever asks still stands, in the very transaction that gives them something.

A request is authenticated in a transaction of its own, so what ended since then would otherwise survive in what is made
here. An end takes hold of the identity it ends, and of what a credential was made with; so does this. Whichever comes
second sees what the other one did.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import col, select

from control_plane.identities import repository
from control_plane.identities.domain import Identity, bareness
from control_plane.identities.errors import BareMachineError, IdentityNotFoundError
from control_plane.identities.parents import Parents
from control_plane.identities.tables import IdentityRow, ServiceAccountKeyRow, SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import InvalidError, UnauthenticatedError
from control_plane.kit.unit_of_work import UnitOfWork


async def still_stands(uow: UnitOfWork, principal: Principal, parents: Parents | None = None) -> None:
    """First in the transaction that makes something. `parents`: where more than people's sign-ins and keys are taken.
    Raises UnauthenticatedError."""
    people = {str(principal.identity), *map(str, principal.chain)}
    if not await hold(uow, people) or not await _is_good(uow, principal, parents):
        raise UnauthenticatedError("what you came with ended at this moment; sign in again")


async def machine_given(uow: UnitOfWork, by: Principal, name: str, parents: Parents | None = None) -> Identity:
    """One that may be given what it proves itself by; first in the transaction that makes that. Who asks and it are
    held at once: no two who do so wait for each other. Raises BareMachineError, IdentityNotFoundError, InvalidError,
    UnauthenticatedError."""
    known = await repository.identity_by_name(uow.session, name)
    await hold(uow, {by.identity, *([known.id] if known else [])})
    await still_stands(uow, by, parents)
    identity = await repository.identity_by_name(uow.session, name)
    if identity is None:
        raise IdentityNotFoundError(name)
    if problem := bareness(identity):
        raise BareMachineError(name, problem)
    if not identity.able:
        raise InvalidError(f"{name!r} is disabled, or its owner is: enable it, or give it another owner, first")
    if identity.ends_at is not None and identity.ends_at <= uow.now:
        raise InvalidError(f"the end date of {name!r} has come: say another one first")
    return identity


async def hold(uow: UnitOfWork, identity_ids: Collection[str]) -> bool:
    """Until this transaction is over nobody ends them, nor their owners. Whether all of them are able to act."""
    owners = select(IdentityRow.owner_id).where(col(IdentityRow.id).in_(identity_ids))
    owned_by = {one for one in (await uow.session.exec(owners)).all() if one is not None}
    statement = select(IdentityRow).where(col(IdentityRow.id).in_({*identity_ids, *owned_by}))
    ordered = statement.order_by(col(IdentityRow.id)).with_for_update().execution_options(populate_existing=True)
    held = {row.id: row for row in (await uow.session.exec(ordered)).all()}
    return all(_able(held, one) for one in identity_ids)


def _able(held: dict[str, IdentityRow], identity_id: str) -> bool:
    """As `Identity.able`; an owner who is not held is one of just now."""
    row = held.get(identity_id)
    if row is None or row.disabled:
        return False
    owner = held.get(row.owner_id or "")
    return row.kind == "person" or (owner is not None and owner.kind == "person" and not owner.disabled)


async def _is_good(uow: UnitOfWork, principal: Principal, parents: Parents | None) -> bool:
    """What it came with: of this identity, not revoked, not expired."""
    whose, credential = principal.identity, principal.credential_id
    if principal.credential_kind in ("console", "cli"):
        row = await uow.session.get(SignInRow, credential, with_for_update=True, populate_existing=True)
        return row is not None and row.identity_id == whose and row.expires_at > uow.now
    if principal.credential_kind == "key":
        key = await uow.session.get(ServiceAccountKeyRow, credential, with_for_update=True, populate_existing=True)
        good = key is not None and key.identity_id == whose and key.revoked_at is None
        return good and key is not None and key.expires_at > uow.now
    bounds = await parents.bounds(uow, credential) if parents else None
    return bounds is not None and bounds.valid
