"""The metadata of SAML providers, kept for as long as it may be. Never asked for in a transaction.

At an address it is asked for again when its time is over, and when an assertion is signed with a key that is not known;
the latter not more often than once in a while, because whoever sends assertions could make us ask. A provider whose
metadata cannot be had just now goes on with what it last said, at most for a day and never past its `validUntil`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from control_plane.kit.clock import Clock
from control_plane.kit.outside import OutsideError, fetch
from control_plane.sign_on.documents import Saml
from control_plane.sign_on.saml_metadata import ProviderMetadata, read
from control_plane.sign_on.saml_xml import XmlRefusedError

_KEPT: Final = timedelta(hours=1)
_SHORTEST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(hours=24)
_AGAIN: Final = timedelta(seconds=30)
_log = structlog.get_logger(__name__)


class NotDescribedError(Exception):
    """`args[0]` says why the provider's metadata cannot be used."""


class _Kept(msgspec.Struct, frozen=True):
    metadata: ProviderMetadata
    asked_at: datetime

    def fresh(self, now: datetime) -> bool:
        length = min(max(self.metadata.cache_for or _KEPT, _SHORTEST), _LONGEST)
        return now < self.asked_at + length and self.good(now)

    def good(self, now: datetime) -> bool:
        until = self.metadata.valid_until
        return now < self.asked_at + _LONGEST and (until is None or now < until)


def is_address(metadata: str) -> bool:
    return not metadata.lstrip().startswith("<")


class _Failed(msgspec.Struct, frozen=True):
    why: str
    at: datetime


class Described:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._failed: dict[tuple[str, str], _Failed] = {}
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)  # nobody waits for others

    async def of(self, saml: Saml) -> ProviderMetadata:
        """Raises NotDescribedError."""
        if not is_address(saml.metadata):
            return _read(saml.metadata.encode(), self._clock.now(), saml.signed_by)
        async with self._turns[_key(saml)]:
            kept, now = self._kept.get(_key(saml)), self._clock.now()
            return kept.metadata if kept is not None and kept.fresh(now) else await self._ask(saml, kept)

    async def anew(self, saml: Saml, than: ProviderMetadata) -> ProviderMetadata | None:
        """None: there is nothing newer, or it was asked for just now."""
        if not is_address(saml.metadata):
            return None
        async with self._turns[_key(saml)]:
            kept = self._kept.get(_key(saml))
            if kept is None or kept.asked_at + _AGAIN <= self._clock.now():
                newer = await self._ask(saml, kept)
            else:
                newer = kept.metadata
            return newer if newer != than else None

    async def _ask(self, saml: Saml, kept: _Kept | None) -> ProviderMetadata:
        """What was in vain just now is not tried again: whoever signs in would wait for it every time."""
        key, now = _key(saml), self._clock.now()
        failed = self._failed.get(key)
        if failed is None or failed.at + _AGAIN <= now:
            failed = await self._fetch(saml)
        if failed is None:
            return self._kept[key].metadata
        if kept is None or not kept.good(now):
            raise NotDescribedError(failed.why)
        return kept.metadata

    async def _fetch(self, saml: Saml) -> _Failed | None:
        key, accepted = _key(saml), {"accept": "application/samlmetadata+xml, application/xml, text/xml"}
        try:
            answer = await fetch(saml.metadata, accepted)
            metadata = _read(answer.content, self._clock.now(), saml.signed_by)
        except (OutsideError, NotDescribedError) as error:
            _log.warning("a provider's metadata cannot be had", address=saml.metadata, problem=str(error))
            failed = self._failed[key] = _Failed(str(error), self._clock.now())
            return failed
        self._failed.pop(key, None)
        self._kept[key] = _Kept(metadata, self._clock.now())
        return None


def _key(saml: Saml) -> tuple[str, str]:
    return saml.metadata, saml.signed_by


def _read(content: bytes, now: datetime, signer: str) -> ProviderMetadata:
    try:
        return read(content, now, signer)
    except XmlRefusedError as error:
        raise NotDescribedError(f"the provider's metadata cannot be used: {error}") from error
