"""One-time links that carry a person's sign-in from the command line to the browser.

A link is made by the person for themselves, lives ten minutes, and is used up by its first use; only its hash is kept.
What it opens rests on the sign-in that made it: proven as that one was, good for no longer. Its code travels in the
URL's fragment, which browsers send to no server and no log.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlmodel import col, delete, select

from control_plane.identities import credential_rows, repository
from control_plane.identities.sign_ins import OpenedSignIn, SignInService
from control_plane.identities.tables import SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import ForbiddenError, UnauthenticatedError
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import AuditEvent, UnitOfWork

LIFETIME: Final = timedelta(minutes=10)
_CHANNEL: Final = "link"  # no authenticator accepts it: a link is good for nothing but being redeemed
_PREFIX: Final = "assentry_l_"


class SignInLink(msgspec.Struct, frozen=True):
    code: Secret
    expires_at: datetime


class SignInLinkService:
    def __init__(self, sign_ins: SignInService) -> None:
        self._sign_ins = sign_ins

    async def make(self, uow: UnitOfWork, principal: Principal) -> SignInLink:
        """Raises ForbiddenError: it is made with a sign-in, by a person, never with an API token or a key."""
        if await uow.session.get(SignInRow, principal.credential_id) is None:
            raise ForbiddenError("sign in yourself: `assentry login`; an API token or a key opens no console")
        code = Secret(_PREFIX + random_text(52))
        row = SignInRow(
            id=new_id("sin"),
            identity_id=principal.identity,
            channel=_CHANNEL,
            token_hash=credential_rows.hash_of(code.reveal()),
            created_at=uow.now,
            authenticated_at=principal.authenticated_at,  # a link proves nothing anew
            expires_at=uow.now + LIFETIME,
            parent_id=principal.credential_id,
        )
        uow.session.add(row)
        uow.audit(AuditEvent("sign-in.link-made", principal.actor, row.id, {"sign_in": principal.credential_id}))
        return SignInLink(code, row.expires_at)

    async def redeem(self, uow: UnitOfWork, code: str) -> OpenedSignIn:
        """Opens a console session. Raises UnauthenticatedError: unknown, used or too old, told alike."""
        statement = select(SignInRow).where(
            col(SignInRow.token_hash) == credential_rows.hash_of(code), col(SignInRow.channel) == _CHANNEL
        )
        row = (await uow.session.exec(statement.with_for_update())).first()
        if row is None or row.expires_at <= uow.now:
            raise UnauthenticatedError("this link was used already or is too old; make another one")
        used = await uow.session.exec(delete(SignInRow).where(col(SignInRow.id) == row.id))
        found = await repository.identities_by_id(uow.session, [row.identity_id])
        if used.rowcount != 1 or not found or not found[0].able:
            raise UnauthenticatedError("this link was used already or is too old; make another one")
        made_in = await uow.session.get(SignInRow, row.parent_id)
        if made_in is None or made_in.expires_at <= uow.now:
            raise UnauthenticatedError("the sign-in that made this link has ended; sign in")
        return await self._sign_ins.carry_over(uow, found[0], "console", made_in)
