"""A browser is sent to a provider and comes back: a code with PKCE (RFC 7636), state, nonce, `iss` (RFC 9207).

What comes back counts once, within ten minutes, and only in the browser that was sent: state is a key to a row, the row
knows a hash of that browser's own cookie, and nonce and verifier follow from the cookie. A page elsewhere that leads
somebody's browser to the callback has none of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

import msgspec

from control_plane.identities import throttle
from control_plane.identities.credential_rows import hash_of
from control_plane.identities.sign_ins import OpenedSignIn
from control_plane.kit.access import Principal
from control_plane.kit.ids import random_text
from control_plane.kit.unit_of_work import NOBODY, Units
from control_plane.sign_on import admission, oidc_rows
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotKnownHereError, NotProvenAgainError, SignInRefusedError
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.oidc_errors import NoSuchProviderError
from control_plane.sign_on.oidc_tables import OidcStartRow
from control_plane.sign_on.oidc_telling import CAUSES, Known, OidcTelling
from control_plane.sign_on.oidc_tokens import TokenError
from control_plane.sign_on.reauthentication import prove_again
from control_plane.sign_on.refusals import Refusals

Purpose = Literal["sign-in", "again"]
LIFETIME: Final = timedelta(minutes=10)
_LENGTH: Final = 52
_STATE: Final = re.compile(r"[a-z2-7]{52}\Z")
_MOST_FROM_A_NETWORK: Final = 300
_MOST: Final = 20_000
_LONGEST_CODE: Final = 4096


class Begun(msgspec.Struct, frozen=True):
    url: str  # of the provider
    flow: str  # ends the name of the browser's cookie, so that two tabs do not disturb each other
    cookie: str


class Finished(msgspec.Struct, frozen=True):
    path: str  # of the console
    opened: OpenedSignIn | None  # None: the sign-in that there was is proven again


class OidcFlow:
    def __init__(self, units: Units, telling: OidcTelling, sign_on: SignOn, refusals: Refusals) -> None:
        self._units = units
        self._telling = telling
        self._sign_on = sign_on
        self._refusals = refusals

    async def begin(
        self, provider: str, path: str, address: str = "", purpose: Purpose = "sign-in", sign_in_id: str = ""
    ) -> Begun:
        """`path` is one of the console's. Raises NoSuchProviderError, SignInRefusedError, TooManyRequestsError."""
        if await self._telling.spec(provider) is None:
            raise NoSuchProviderError(provider)
        try:
            known = await self._telling.known(provider)
        except CAUSES as error:
            await self._refusals.audit(provider, str(error), address, free=True)
            raise SignInRefusedError(provider) from error
        state, cookie = random_text(_LENGTH), random_text(_LENGTH)
        await self._remember(provider, state, cookie, path, address, purpose, sign_in_id)
        url = known.client.authorization_url(
            state=state,
            nonce=_derived(cookie, state, "nonce"),
            verifier=_derived(cookie, state, "verifier"),
            max_age=self._max_age(purpose),
            again=purpose == "again",
        )
        return Begun(url, flow_of(state), cookie)

    def _max_age(self, purpose: str) -> timedelta:
        return timedelta(0) if purpose == "again" else self._telling.lifetime

    async def _remember(
        self, provider: str, state: str, cookie: str, path: str, address: str, purpose: Purpose, sign_in_id: str
    ) -> None:
        network = throttle.network(address)
        async with self._units() as uow:
            await oidc_rows.forget_starts(uow)
            await admission.make_room(uow, oidc_rows.STARTS, network, _MOST_FROM_A_NETWORK, _MOST)
            row = OidcStartRow(
                state_hash=hash_of(state),
                browser_hash=hash_of(cookie),
                provider=provider,
                purpose=purpose,
                sign_in_id=sign_in_id,
                path=path[:2000],
                address=network,
                created_at=uow.now,
                expires_at=uow.now + LIFETIME,
            )
            uow.session.add(row)

    # -------------------------------------------------------------- the way back

    async def finish(
        self, provider: str, answer: Mapping[str, str], cookie: str, address: str, principal: Principal | None
    ) -> Finished:
        """`answer`: the query that the provider sent the browser back with. `principal`: who is signed in here now.
        Raises SignInRefusedError, NotKnownHereError, NotProvenAgainError, NoSuchProviderError."""
        if await self._telling.spec(provider) is None:
            raise NoSuchProviderError(provider)
        subject = ""
        try:
            start = await self._start(provider, answer.get("state", ""), cookie)
            told = await self._told(provider, start, answer, cookie)
            subject = told.subject
            if start.purpose == "again":
                return await self._again(start, told, principal)
            return await self._opened(provider, start, told)
        except CAUSES as error:
            await self._refusals.audit(provider, str(error), address, subject, free=not subject)
            raise SignInRefusedError(provider) from error
        except NotKnownHereError as error:
            await self._refusals.audit(provider, error.cause, address, subject)
            raise
        except NotProvenAgainError as error:
            by = NOBODY if principal is None else principal.actor
            await self._refusals.audit(provider, error.cause, address, subject, by)
            raise

    async def _start(self, provider: str, state: str, cookie: str) -> OidcStartRow:
        if not _STATE.match(state):
            raise TokenError("the state is none that was made here")
        async with self._units() as uow:
            row = await oidc_rows.take_start(uow, state)
            now = uow.now
        if row is None:
            raise TokenError("the state is unknown: used already, too old, or of somebody else's making")
        if not hmac.compare_digest(row.browser_hash, hash_of(cookie)):
            raise TokenError("it came back in another browser than the one that was sent")
        if row.provider != provider:
            raise TokenError(f"it was sent to {row.provider!r} and came back from this one")
        if row.expires_at <= now:
            raise TokenError("it came back too late")
        return row

    async def _told(self, provider: str, start: OidcStartRow, answer: Mapping[str, str], cookie: str) -> Told:
        known = await self._telling.known(provider)
        _check_issuer(known, answer)
        if "error" in answer:
            described = f"{answer['error'][:64]!r} {answer.get('error_description', '')[:200]!r}"
            raise TokenError(f"the provider says {described}")
        code = answer.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE:
            raise TokenError("it came back without a code")
        state = answer["state"]
        tokens = await known.client.exchange(code, _derived(cookie, state, "verifier"))
        # What was proven before the browser was sent is not fresh, however long the person took there.
        asked = self._max_age(start.purpose)
        oldest = asked if start.purpose == "sign-in" else LIFETIME
        return await self._telling.tell(known, tokens, nonce=_derived(cookie, state, "nonce"), max_age=oldest)

    async def _opened(self, provider: str, start: OidcStartRow, told: Told) -> Finished:
        spec = await self._telling.spec(provider)
        if spec is None:
            raise TokenError("the provider was taken away meanwhile")
        async with self._units() as uow:
            opened = await self._sign_on.open(uow, spec, told, "console")
        return Finished(start.path, opened)

    async def _again(self, start: OidcStartRow, told: Told, principal: Principal | None) -> Finished:
        """In the browser that is signed in by the very sign-in that asked for it."""
        if principal is None or principal.credential_id != start.sign_in_id:
            raise NotProvenAgainError("it is not the sign-in that asked for it")
        async with self._units() as uow:
            await prove_again(uow, start, told)
        return Finished(start.path, None)


def flow_of(state: str) -> str:
    """What the browser's cookie of this flow is told by. Not secret."""
    return hash_of(state)[:12]


def _derived(cookie: str, state: str, what: str) -> str:
    """43 characters of base64url: fits a verifier (RFC 7636 §4.1)."""
    digest = hmac.digest(cookie.encode(), f"assentry-oidc-{what}-v1:{state}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _check_issuer(known: Known, answer: Mapping[str, str]) -> None:
    """RFC 9207: what one provider answers is never taken to another."""
    issuer = answer.get("iss")
    if issuer is None and known.announced.authorization_response_iss_parameter_supported:
        raise TokenError("the answer does not say which provider it is from, which this one always does")
    if issuer is not None and issuer != known.announced.issuer:
        raise TokenError("the answer is from another provider")
