"""Sessions of people with the control plane itself: opened by a sign-in, shown as a cookie or a bearer token.

A browser's session is a cookie that scripts cannot read, and every unsafe request must repeat a CSRF token
that follows from the cookie. The command line's is a bearer token. Only a hash of either is kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from starlette.requests import HTTPConnection

from control_plane.identities import credential_rows, repository
from control_plane.identities.domain import Identity
from control_plane.identities.ending import Ending
from control_plane.identities.errors import LocalSignInOffError
from control_plane.identities.passwords import Passwords, password_problem
from control_plane.identities.ports import BearerScheme, NotProven, Proven, Reason, SignIn
from control_plane.identities.tables import SignInRow
from control_plane.kit.access import CredentialKind, Principal
from control_plane.kit.errors import InvalidError, TooManyRequestsError, UnauthenticatedError, UnavailableError
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork, Units
from data_plane.identifiers import CredentialId

Channel = Literal["console", "cli"]

SESSION_PREFIX = "assentry_s_"
KEY_PREFIX = "assentry_k_"
_SECRET_LENGTH = 52  # 260 bits


class OpenedSignIn(msgspec.Struct, frozen=True):
    identity: Identity
    token: Secret
    csrf: str
    expires_at: datetime


class Proof(msgspec.Struct, frozen=True):
    """What is known of how somebody proved who they are. `provider` empty: this control plane asked them itself."""

    provider: str = ""
    provider_session: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ("pwd",)
    refresh: str = ""  # sealed


_HERE = Proof()


class SignInService:
    def __init__(
        self,
        units: Units,
        sign_in: SignIn,
        passwords: Passwords,
        lifetime: timedelta,
        ending: Ending,
        *,
        local: bool = True,
    ) -> None:
        """`local` False: nobody has a password here."""
        self._units = units
        self._sign_in = sign_in
        self._passwords = passwords
        self._lifetime = lifetime
        self._ending = ending
        self.local = local

    async def sign_in(self, name: str, password: Secret, channel: Channel, address: str) -> OpenedSignIn:
        """Its own transactions: the hashing in between is slow. Raises UnauthenticatedError, TooManyRequestsError."""
        match await self._sign_in.prove(name, password, address):
            case Proven(identity):
                async with self._units() as uow:
                    return await self.open(uow, identity, channel)
            case NotProven() as not_proven:
                raise refusal(not_proven)

    async def open(
        self,
        uow: UnitOfWork,
        identity: Identity,
        channel: Channel,
        authenticated_at: datetime | None = None,
        proof: Proof = _HERE,
        rests_on: SignInRow | None = None,
    ) -> OpenedSignIn:
        """For somebody who has proven who they are, now or at that time. It ends no later than what it rests on."""
        await credential_rows.forget_expired_sign_ins(uow.session, uow.now)
        token = SESSION_PREFIX + random_text(_SECRET_LENGTH)
        row = SignInRow(
            id=new_id("sin"),
            identity_id=identity.id,
            channel=channel,
            token_hash=credential_rows.hash_of(token),
            created_at=uow.now,
            authenticated_at=authenticated_at or uow.now,
            expires_at=_end(uow.now + self._lifetime, rests_on),
            parent_id=(rests_on.parent_id or rests_on.id) if rests_on else "",
            provider=proof.provider,
            provider_session=proof.provider_session,
            acr=proof.acr,
            amr=list(proof.amr),
            refresh=proof.refresh,
        )
        uow.session.add(row)
        told: dict[str, Json] = {"channel": channel, **({"provider": proof.provider} if proof.provider else {})}
        told.update({"rests_on": rests_on.id} if rests_on else {})
        uow.audit(AuditEvent("sign-in.opened", identity.actor, row.id, told))
        return OpenedSignIn(identity, Secret(token), csrf_token(token), row.expires_at)

    async def carry_over(
        self, uow: UnitOfWork, identity: Identity, channel: Channel, earlier: SignInRow
    ) -> OpenedSignIn:
        """For somebody who is signed in elsewhere: who proved it, how and when stay what they were there."""
        proof = Proof(earlier.provider, earlier.provider_session, earlier.acr, tuple(earlier.amr))
        return await self.open(
            uow, identity, channel, earlier.authenticated_at or earlier.created_at, proof, rests_on=earlier
        )

    async def sign_out(self, uow: UnitOfWork, principal: Principal) -> None:
        """With what rests on it. Where a provider stands behind it, all that was made with it ends too: nobody would
        ask that provider again whether it still may be."""
        row = await uow.session.get(SignInRow, principal.credential_id)
        if row is not None and row.provider:
            await self._ending.sign_out(uow, principal.actor, row.identity_id, "signed out here", {row.id})
        elif row is not None:
            over = [row.id, *await credential_rows.resting_on(uow.session, [row.id])]
            await credential_rows.delete_sign_ins(uow.session, over)
        uow.audit(AuditEvent("sign-in.ended", principal.actor, principal.credential_id))

    async def change_password(self, principal: Principal, old: Secret, new: Secret) -> None:
        """One's own. Ends every other sign-in of the same person, with all that was ever made with one. Raises
        LocalSignInOffError."""
        self._check_local()
        if problem := password_problem(new, principal.name):
            raise InvalidError(problem)
        proven = await self._sign_in.prove(principal.name, old)
        if isinstance(proven, NotProven):
            raise refusal(proven)
        await self._set(principal.actor, principal.name, new, but=principal.credential_id)

    async def reset_password(self, by: Actor, name: str, new: Secret | None = None) -> Secret:
        """By an admin: gives the person a new password, made up here when none is given, and signs them out. Raises
        LocalSignInOffError."""
        self._check_local()
        chosen = new or Secret(random_text(20))
        if problem := password_problem(chosen, name):
            raise InvalidError(problem)
        await self._set(by, name, chosen, but="")
        return chosen

    def _check_local(self) -> None:
        if not self.local:
            raise LocalSignInOffError

    async def _set(self, by: Actor, name: str, password: Secret, but: str) -> None:
        password_hash = await self._passwords.hash(password)
        async with self._units() as uow:
            row = await repository.row_by_name(uow.session, name)
            if row is None or row.kind != "person":
                raise InvalidError(f"{name!r} is no person; a machine has keys")
            row.password_hash = password_hash
            row.updated_at = uow.now
            await _stand_alone(uow, but)
            await self._ending.sign_out(uow, by, row.id, "the password was changed", keep=but)
            uow.audit(AuditEvent("identity.password-changed", by, name))


async def _stand_alone(uow: UnitOfWork, sign_in_id: str) -> None:
    """It outlives what it rests on, and is renewed in its place."""
    row = await uow.session.get(SignInRow, sign_in_id, with_for_update=True)
    below = await uow.session.get(SignInRow, row.parent_id, populate_existing=True) if row and row.parent_id else None
    if row is not None and below is not None:
        row.parent_id, row.refresh = "", below.refresh
        await uow.session.flush()


def _end(latest: datetime, rests_on: SignInRow | None) -> datetime:
    return latest if rests_on is None else min(latest, rests_on.expires_at)


def refusal(not_proven: NotProven) -> Exception:
    match not_proven.reason:
        case Reason.WRONG:
            return UnauthenticatedError("the name or the password is wrong")
        case Reason.LOCKED:
            seconds = not_proven.retry_after
            after = {"retry-after": str(seconds)}
            return TooManyRequestsError(f"too many failures; try again in {seconds} s", headers=after)
        case Reason.BUSY:
            return UnavailableError("too many people sign in at this moment; try again")
        case Reason.OFF:
            return LocalSignInOffError()


class RequestAuthenticator:
    """Finds the principal of a request by its cookie, its bearer token or its service-account key."""

    def __init__(self, units: Units, cookie_name: str, bearers: Sequence[BearerScheme] = ()) -> None:
        self._units = units
        self.cookie_name = cookie_name
        self._bearers = list(bearers)

    def accept(self, bearer: BearerScheme) -> None:
        """From now on, beside the sign-ins of people and the keys of service accounts."""
        self._bearers.append(bearer)

    async def authenticate(self, request: HTTPConnection) -> Principal | None:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if bearer and scheme.lower() == "bearer":
            return await self._by_bearer(bearer.strip())
        cookie = request.cookies.get(self.cookie_name, "")
        return await self._by_session(cookie, "console") if cookie else None

    def csrf_matches(self, principal: Principal, sent: str) -> bool:
        return hmac.compare_digest(principal.csrf.encode(), sent.encode(errors="replace"))

    async def _by_bearer(self, token: str) -> Principal | None:
        if token.startswith(SESSION_PREFIX):
            return await self._by_session(token, "cli")
        if token.startswith(KEY_PREFIX):
            return await self._by_key(token)
        scheme = next((one for one in self._bearers if token.startswith(one.prefix)), None)
        if scheme is None:
            return None
        async with self._units.reading() as uow:
            return await scheme.principal(uow, token)

    async def _by_session(self, token: str, channel: Channel) -> Principal | None:
        async with self._units.reading() as uow:
            found = await repository.signed_in(uow.session, credential_rows.hash_of(token), uow.now)
            if found is None:
                return None
            row, identity = found
            if row.channel != channel or not identity.able:
                return None
            csrf = csrf_token(token) if channel == "console" else ""
            at = row.authenticated_at or row.created_at
            principal = identity.principal(CredentialId(row.id), channel, at, csrf)
            told = {"provider": row.provider, "acr": row.acr, "amr": tuple(row.amr)}
            return msgspec.structs.replace(principal, **told, security_key_at=row.security_key_at)

    async def _by_key(self, key: str) -> Principal | None:
        async with self._units.reading() as uow:
            row = await credential_rows.service_account_key(uow.session, key, uow.now)
            if row is None:
                return None
            return await principal_of(uow, row.identity_id, row.id, "key", uow.now)


async def principal_of(
    uow: UnitOfWork, identity_id: str, credential: str, kind: CredentialKind, authenticated_at: datetime
) -> Principal | None:
    """None: the identity is gone, or not able to act."""
    found = await repository.identities_by_id(uow.session, [identity_id])
    if not found or not found[0].able:
        return None
    return found[0].principal(CredentialId(credential), kind, authenticated_at)


def csrf_token(session_token: str) -> str:
    """Follows from the cookie, which no other site can read."""
    digest = hmac.digest(session_token.encode(errors="surrogatepass"), b"assentry-csrf-v1", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
