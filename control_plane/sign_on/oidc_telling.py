"""From a provider's tokens to what is told of somebody: everything is verified here, and groups are never lost.

What a sign-in is renewed with, and the ID token that a logout at the provider names, are kept sealed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from joserfc.jwk import KeySet

from control_plane.kit.clock import Clock
from control_plane.kit.outside import OutsideError
from control_plane.kit.unit_of_work import Units
from control_plane.secrets.envelope import Sealed
from control_plane.secrets.own import OwnSecretError, OwnSecrets
from control_plane.sign_on.documents import IdentityProviderSpec, Oidc, ProviderKind, parse
from control_plane.sign_on.domain import Told
from control_plane.sign_on.oidc_claims import Groups, groups_at, maps_groups, told, too_old
from control_plane.sign_on.oidc_client import OidcClient, ProviderSaysNoError, Tokens
from control_plane.sign_on.oidc_metadata import Announced, Providers
from control_plane.sign_on.oidc_tokens import SKEW, Expected, IdToken, TokenError, UnknownKeyError, id_token

# Whatever of these ends a sign-in: the audit log gets the exact cause, whoever is outside one sentence.
CAUSES: Final = (TokenError, OutsideError, ProviderSaysNoError, OwnSecretError)


class Kept(msgspec.Struct, frozen=True):
    """Sealed with a sign-in."""

    subject: str = ""
    refresh_token: str = ""
    id_token: str = ""
    issuer: str = ""


class HalfRenewedError(Exception):
    """The provider has given new tokens, and could not be asked for the rest: what is kept must be these."""

    def __init__(self, cause: str, refresh: str) -> None:
        super().__init__(cause)
        self.refresh = refresh


class Known(msgspec.Struct, frozen=True):
    """A provider as it is configured and as it announces itself now."""

    name: str
    spec: IdentityProviderSpec
    oidc: Oidc
    announced: Announced
    client: OidcClient


class OidcTelling:
    def __init__(
        self, units: Units, clock: Clock, kind: ProviderKind, secrets: OwnSecrets, public_url: str, lifetime: timedelta
    ) -> None:
        """`lifetime`: of our sign-ins; one at a provider may be as old as that."""
        self._units = units
        self._clock = clock
        self._kind = kind
        self._secrets = secrets
        self._url = public_url
        self.lifetime = lifetime
        self.providers = Providers(clock)

    def callback(self, provider: str) -> str:
        return f"{self._url}/sign-in/oidc/{provider}/callback"

    async def spec(self, name: str) -> IdentityProviderSpec | None:
        """None: there is no such provider, or it is disabled, or it is none of OpenID Connect."""
        spec = await self.listed(name)
        return spec if spec is not None and spec.oidc is not None else None

    async def listed(self, name: str) -> IdentityProviderSpec | None:
        """Of whatever protocol. None: there is no such provider, or it is disabled."""
        async with self._units.reading() as uow:
            row = await self._kind.row(uow, name)
        spec = None if row is None else parse(row.json_text).spec
        return spec if spec is not None and not spec.disabled else None

    async def known(self, name: str) -> Known:
        """Asks the provider when it was not asked lately. Raises what is in CAUSES."""
        spec = await self.spec(name)
        if spec is None or spec.oidc is None:
            raise OutsideError("no provider of that name is configured for OpenID Connect")
        secret = await self._secrets.value(spec.oidc.client_secret) if spec.oidc.client_secret else None
        announced = await self.providers.announced(spec.oidc.issuer)
        return Known(name, spec, spec.oidc, announced, OidcClient(spec.oidc, announced, secret, self.callback(name)))

    def expected(self, known: Known) -> Expected:
        return Expected(known.oidc.issuer, known.oidc.client_id, known.announced.algorithms, self._clock.now())

    # -------------------------------------------------------------- somebody signs in

    async def tell(self, known: Known, tokens: Tokens, *, nonce: str | None, max_age: timedelta) -> Told:
        """Who does not say when they were asked last is taken to have been asked as long ago as may be. Raises what is
        in CAUSES."""
        token = await self._verified(known, tokens, nonce)
        now = self._clock.now()
        if too_old(token, now, max_age, SKEW):
            raise TokenError("the person proved who they are longer ago than was asked for")
        if known.oidc.acr_values and token.claims.acr not in known.oidc.acr_values:
            raise TokenError(f"its acr is {token.claims.acr[:64]!r}, none of those that were asked for")
        profile, groups = await self._profile(known, tokens, token)
        found = told(known.name, token, profile, groups, now - self.lifetime)
        kept = Kept(token.claims.sub, tokens.refresh_token, tokens.id_token, known.oidc.issuer)
        sealed = await self._sealed(known.name, kept) if tokens.refresh_token else ""
        at = min(found.authenticated_at or now, now)
        return msgspec.structs.replace(found, issuer=known.oidc.issuer, refresh=sealed, authenticated_at=at)

    async def _verified(self, known: Known, tokens: Tokens, nonce: str | None) -> IdToken:
        if not tokens.id_token:
            raise TokenError("the provider gave no ID token; is openid among the scopes?")
        expected = self.expected(known)

        def verify(keys: KeySet) -> IdToken:
            return id_token(tokens.id_token, keys, expected, nonce=nonce, access_token=tokens.access_token)

        return await self.providers.verified(known.oidc.issuer, verify)

    async def _profile(
        self, known: Known, tokens: Tokens, token: IdToken
    ) -> tuple[Mapping[str, Any], Sequence[str] | None]:
        """What the userinfo endpoint adds, asked only when something is missing, and the groups."""
        rules = known.spec.groups
        wanted = maps_groups(rules)
        groups = groups_at(rules.claim, token.everything) if wanted else None
        complete = not isinstance(groups, Groups) and token.everything.keys() >= {"email", "preferred_username"}
        profile = {} if complete else await known.client.userinfo(tokens.access_token)
        if profile and profile.get("sub") != token.claims.sub:
            raise TokenError("the userinfo endpoint tells of somebody else")
        if isinstance(groups, Groups):
            groups = _from_profile(rules.claim, groups, profile)
        return profile, groups

    # -------------------------------------------------------------- a sign-in is renewed

    async def renewed(self, known: Known, kept: Kept) -> Told:
        """By the refresh token, which only who gave it hears of. Raises HalfRenewedError, and what is in CAUSES; a
        ProviderSaysNoError is what the provider says."""
        if kept.issuer != known.oidc.issuer:
            raise TokenError(f"it was made by {kept.issuer!r}, and the document names {known.oidc.issuer!r} now")
        tokens = await known.client.refresh(kept.refresh_token)
        following = Kept(
            kept.subject, tokens.refresh_token or kept.refresh_token, tokens.id_token or kept.id_token, kept.issuer
        )
        refresh = await self._sealed(known.name, following)
        try:
            groups = await self._groups_anew(known, tokens, kept.subject)
        except (OutsideError, UnknownKeyError) as error:
            raise HalfRenewedError(str(error), refresh) from error
        return Told(known.name, kept.subject, kept.issuer, groups=groups, refresh=refresh)

    async def _groups_anew(self, known: Known, tokens: Tokens, subject: str) -> Sequence[str] | None:
        """None: nothing is said of groups, so what was told before stays."""
        if tokens.id_token:
            token = await self._verified(known, tokens, None)
            if token.claims.sub != subject:
                raise TokenError("the renewed ID token is of somebody else")
            return (await self._profile(known, tokens, token))[1]
        if not maps_groups(known.spec.groups):
            return None
        profile = await known.client.userinfo(tokens.access_token)
        if profile and profile.get("sub") != subject:
            raise TokenError("the userinfo endpoint tells of somebody else")
        groups = groups_at(known.spec.groups.claim, profile)
        return None if isinstance(groups, Groups) else groups

    # -------------------------------------------------------------- what is kept

    async def _sealed(self, provider: str, kept: Kept) -> str:
        sealed = await self._secrets.seal(_what(provider), msgspec.json.encode(kept))
        return base64.b64encode(msgspec.msgpack.encode(sealed)).decode()

    async def kept(self, provider: str, sealed: str) -> Kept:
        """Raises OwnSecretError."""
        if not sealed:
            return Kept()
        try:
            parts = msgspec.msgpack.decode(base64.b64decode(sealed), type=Sealed)
        except (ValueError, msgspec.DecodeError) as error:
            raise OwnSecretError("what a sign-in is renewed with is no sealed value") from error
        return msgspec.json.decode(await self._secrets.open(_what(provider), parts), type=Kept)


def _what(provider: str) -> str:
    return f"what a sign-in is renewed with:{provider}"


def _from_profile(claim: str, before: Groups, profile: Mapping[str, Any]) -> Sequence[str]:
    """A claim that is nowhere means: in no group. One that is said to be elsewhere, and is not, must not."""
    found = groups_at(claim, profile)
    if not isinstance(found, Groups):
        return found
    if Groups.ELSEWHERE in {before, found}:
        raise TokenError(
            f"the provider has more groups than its token holds, and its userinfo endpoint does not tell {claim}; "
            "let it tell only the groups that are assigned to this application"
        )
    return []
