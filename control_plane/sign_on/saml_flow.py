"""A sign-in at a SAML provider, from the first step to the last: SAML 2.0 Web Browser SSO, begun here only.

The browser that begins gets a secret; the one answer that counts is the one that this browser brings, to this very
request, within ten minutes. A request goes with the first answer, good or bad, before anything in it is read, so nobody
tries twice, and what nobody asked for is refused unread. Outside, no cause is told; the audit log has the exact one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.identities import credential_rows, throttle
from control_plane.identities.sign_ins import OpenedSignIn
from control_plane.kit.clock import Clock
from control_plane.kit.errors import NotFoundError, UnavailableError
from control_plane.kit.ids import random_text
from control_plane.kit.unit_of_work import UnitOfWork, Units
from control_plane.sign_on import admission, saml_rows
from control_plane.sign_on.documents import IdentityProviderSpec, ProviderKind, Saml, parse
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotKnownHereError, NotProvenAgainError, SignInRefusedError
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.reauthentication import prove_again
from control_plane.sign_on.refusals import Refusals
from control_plane.sign_on.saml_assertion import Assertion, Expected
from control_plane.sign_on.saml_described import Described, NotDescribedError
from control_plane.sign_on.saml_keys import KeyPair, ServiceKeys
from control_plane.sign_on.saml_metadata import ProviderMetadata
from control_plane.sign_on.saml_redirects import redirect
from control_plane.sign_on.saml_requests import Place, authn_request, place, service_metadata
from control_plane.sign_on.saml_responses import SamlRefusedError, WrongSignatureError, verified
from control_plane.sign_on.saml_tables import SamlRequestRow
from control_plane.sign_on.saml_told import told
from control_plane.sign_on.saml_xml import XmlRefusedError

PATIENCE: Final = timedelta(minutes=10)
_SPACE: Final = re.compile(rb"\s+")
_MOST_FROM_A_NETWORK: Final = 300
_MOST: Final = 20_000


class Begun(msgspec.Struct, frozen=True):
    url: str  # of the provider
    flow: str  # comes back with the answer and ends the name of the browser's cookie, so that two tabs do not collide
    browser: str  # what that cookie holds


class Finished(msgspec.Struct, frozen=True):
    opened: OpenedSignIn | None  # None: the sign-in that there was is proven again
    path: str  # of the console


class SamlFlow:
    def __init__(
        self,
        units: Units,
        clock: Clock,
        providers: ProviderKind,
        described: Described,
        keys: ServiceKeys,
        sign_on: SignOn,
        refusals: Refusals,
        public_url: str,
    ) -> None:
        self._units = units
        self._clock = clock
        self._providers = providers
        self._described = described
        self._keys = keys
        self._sign_on = sign_on
        self._refusals = refusals
        self._public_url = public_url
        self._turn = asyncio.Lock()  # libxmlsec is used by one thread at a time

    async def metadata(self, provider: str) -> bytes:
        """Ours, for this provider. Raises NotFoundError."""
        await self._known(provider)
        return service_metadata(self.place(provider), await self._keys.pairs())

    async def begin(self, provider: str, path: str, address: str = "", sign_in_id: str = "") -> Begun:
        """`path` is one of the console's. `sign_in_id`: the sign-in that is to be proven again; empty: a new one.
        Raises NotFoundError, UnavailableError, TooManyRequestsError."""
        saml, metadata = await self.described(provider, address)
        pair = await self.pair()
        browser, request_id = random_text(52), f"_{random_text(52)}"
        now = await self._remember(provider, browser, request_id, path, address, sign_in_id)
        where, again = self.place(provider), bool(sign_in_id)
        message = authn_request(request_id, where, metadata.ask_at, now, again=again, contexts=saml.acr)
        return Begun(redirect(metadata.ask_at, message, pair, relay=flow_of(browser)), flow_of(browser), browser)

    async def _remember(
        self, provider: str, browser: str, request_id: str, path: str, address: str, sign_in_id: str
    ) -> datetime:
        network = throttle.network(address)
        async with self._units() as uow:
            await saml_rows.forget_expired(uow.session, uow.now)
            await admission.make_room(uow, saml_rows.REQUESTS, network, _MOST_FROM_A_NETWORK, _MOST)
            row = SamlRequestRow(
                browser_hash=credential_rows.hash_of(browser),
                request_id=request_id,
                provider=provider,
                path=path,
                address=network,
                sign_in_id=sign_in_id,
                created_at=uow.now,
                expires_at=uow.now + PATIENCE,
            )
            uow.session.add(row)
            return uow.now

    async def finish(self, provider: str, browser: str, response: str, address: str = "") -> Finished:
        """`response`: the field SAMLResponse. Raises NotFoundError, UnavailableError, SignInRefusedError,
        NotKnownHereError, NotProvenAgainError."""
        spec, saml = await self._known(provider)
        try:
            row = await self._taken(provider, browser)
            assertion, entity = await self._verified(row, saml, response, address)
            person = told(provider, entity, spec, saml, assertion)
        except (SamlRefusedError, XmlRefusedError) as error:
            await self._refusals.audit(provider, str(error), address, free=True)
            raise SignInRefusedError(provider) from error
        try:
            async with self._units() as uow:
                return Finished(await self._settle(uow, spec, row, assertion, person), row.path)
        except (NotKnownHereError, NotProvenAgainError) as error:
            await self._refusals.audit(provider, error.cause, address, person.subject)
            raise
        except SamlRefusedError as error:
            await self._refusals.audit(provider, str(error), address, person.subject)
            raise SignInRefusedError(provider) from error

    async def _settle(
        self, uow: UnitOfWork, spec: IdentityProviderSpec, row: SamlRequestRow, assertion: Assertion, person: Told
    ) -> OpenedSignIn | None:
        if not await saml_rows.use(uow.session, row.provider, assertion.id, assertion.ends_at):
            raise SamlRefusedError("this assertion has been used before")
        if row.sign_in_id:
            # That it is their browser the request's own cookie says; the console's does not come from another site.
            await prove_again(uow, row, person)
            return None
        opened = await self._sign_on.open(uow, spec, person, "console")
        if assertion.session_ends_at is not None:
            await _end_with_provider(uow, opened, assertion)
        return opened

    async def _verified(self, row: SamlRequestRow, saml: Saml, response: str, address: str) -> tuple[Assertion, str]:
        """With the provider's entity id. Once more with newer metadata when the signature is by an unknown key."""
        try:
            content = base64.b64decode(_SPACE.sub(b"", response.encode()), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise SamlRefusedError("the response is not base64") from error
        where = self.place(row.provider)
        expected = Expected(where.entity, where.consumer, row.request_id, saml.encrypted, PATIENCE)
        metadata = await self._metadata(row.provider, saml, address)
        try:
            return await self._read(content, metadata, expected), metadata.entity
        except WrongSignatureError:
            newer = await self._newer(saml, metadata)
            if newer is None:
                raise
            return await self._read(content, newer, expected), newer.entity

    async def _read(self, content: bytes, metadata: ProviderMetadata, expected: Expected) -> Assertion:
        keys = [pair.private_pem() for pair in await self._keys.pairs()]
        async with self._turn:
            return await asyncio.to_thread(verified, content, metadata, expected, keys, self._clock.now())

    async def _known(self, provider: str) -> tuple[IdentityProviderSpec, Saml]:
        async with self._units.reading() as uow:
            row = await self._providers.row(uow, provider)
        spec = None if row is None else parse(row.json_text).spec
        if spec is None or spec.saml is None or spec.disabled:
            raise NotFoundError(f"nobody signs in by SAML at {provider!r} here")
        return spec, spec.saml

    async def _metadata(self, provider: str, saml: Saml, address: str) -> ProviderMetadata:
        try:
            return await self._described.of(saml)
        except NotDescribedError as error:
            await self._refusals.audit(provider, str(error), address, free=True)
            raise UnavailableError(f"{provider!r} cannot be asked now; try again later, or ask an admin") from error

    async def _newer(self, saml: Saml, than: ProviderMetadata) -> ProviderMetadata | None:
        try:
            return await self._described.anew(saml, than)
        except NotDescribedError:
            return None  # the signature stays unknown

    async def _taken(self, provider: str, browser: str) -> SamlRequestRow:
        async with self._units() as uow:
            row = await saml_rows.take(uow.session, browser) if browser else None
            now = uow.now
        if row is None or row.provider != provider or row.expires_at <= now:
            raise SamlRefusedError("no sign-in at this provider waits in this browser: nobody asked, or too long ago")
        return row

    def place(self, provider: str) -> Place:
        return place(self._public_url, provider)

    async def pair(self) -> KeyPair:
        """What we sign with."""
        return (await self._keys.pairs())[0]

    async def described(self, provider: str, address: str) -> tuple[Saml, ProviderMetadata]:
        """Raises NotFoundError, UnavailableError."""
        _, saml = await self._known(provider)
        return saml, await self._metadata(provider, saml, address)


def flow_of(browser: str) -> str:
    """Not secret."""
    return credential_rows.hash_of(browser)[:12]


async def _end_with_provider(uow: UnitOfWork, opened: OpenedSignIn, assertion: Assertion) -> None:
    """The provider's session bounds ours (SAML 2.0 Core §2.7.2)."""
    row = await credential_rows.sign_in(uow.session, opened.token.reveal(), uow.now)
    if row is not None and assertion.session_ends_at is not None:
        row.expires_at = min(row.expires_at, assertion.session_ends_at)
        uow.session.add(row)
