"""Proving again who one is, at the provider that the sign-in is by: the same person there, asked anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol

from control_plane.identities.tables import ExternalAccountRow, IdentityRow, SignInRow
from control_plane.kit.unit_of_work import Actor, AuditEvent, UnitOfWork
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotProvenAgainError
from control_plane.sign_on.linking import is_linked

_SKEW: Final = timedelta(seconds=60)  # between a provider's clock and ours


class Asked(Protocol):
    """What was kept when the browser was sent there."""

    sign_in_id: str
    created_at: datetime


async def prove_again(uow: UnitOfWork, asked: Asked, told: Told) -> None:
    """A provider may answer from a session that it has: what was proven before it was asked proves nothing. Raises
    NotProvenAgainError."""
    at = told.authenticated_at
    if at is None or at < asked.created_at - _SKEW:
        raise NotProvenAgainError("the provider did not ask the person anew, or does not say when it did")
    row = await uow.session.get(SignInRow, asked.sign_in_id, with_for_update=True, populate_existing=True)
    account = await uow.session.get(ExternalAccountRow, (told.provider, told.subject))
    if row is None or row.expires_at <= uow.now or not is_linked(account, told, row.identity_id):
        raise NotProvenAgainError("it is somebody else there, or the sign-in is over")
    if row.provider != told.provider:  # nobody makes one provider's proof of another's
        raise NotProvenAgainError("the sign-in is not by this provider")
    # However old and strong the proof before was: what is fresh is this one.
    row.authenticated_at, row.acr, row.amr = min(at, uow.now), told.acr, list(told.amr)
    row.provider_session = told.session  # there it is another session now, with other tokens
    row.refresh = told.refresh or row.refresh
    by = await uow.session.get_one(IdentityRow, row.identity_id)
    proof = {"method": "provider", "provider": told.provider}
    uow.audit(AuditEvent("sign-in.reauthenticated", Actor(by.id, by.name, by.kind), row.id, proof))
