"""Keeps the agent's certificates young: renewed at two thirds of their life, by whichever worker gets there first."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog

from data_plane.gate.ports import Clock
from data_plane.link import enrolment
from data_plane.link.identity import Identity, IdentityStore

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 60.0  # also how soon a worker sees what another has renewed


class Renewal:
    """`identity` is always the newest; the store's PEM files are replaced with it. `keys` are the signing keys that the
    snapshot in force names: they are pinned for the next start, so that a retired key is not needed then."""

    def __init__(
        self,
        store: IdentityStore,
        identity: Identity,
        address: str,
        clock: Clock,
        keys: Callable[[], Mapping[str, bytes]],
    ) -> None:
        self._store, self.identity, self._address, self._clock, self._keys = store, identity, address, clock, keys
        self._unkept = False  # the disk refused `identity`: it is written again at the next look

    async def run(self) -> None:
        """Until it is cancelled. No error ends it: a certificate that nobody renews takes the agent away."""
        while True:
            try:
                await self.once()
            except Exception:
                log.exception("the certificates could not be looked after; it is tried again")
            await asyncio.sleep(_LOOK_SECONDS)

    async def once(self) -> None:
        """Takes over what another worker has renewed, or renews when it is time. A failure is tried again later. Raises
        OSError when the disk refuses: what was renewed counts already, and is kept later."""
        self._take_over()
        if not (self._due or self._keys_changed or self._unkept):
            return
        with self._store.lock_file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._take_over()
            if self._unkept:
                self._keep()
            if self._keys_changed:
                self._pin()
            if self._due:
                await self._renew()

    @property
    def _due(self) -> bool:
        return self._clock.now() >= self.identity.renewal_at()

    @property
    def _keys_changed(self) -> bool:
        return dict(self._keys()) != dict(self.identity.signing_keys)

    def _pin(self) -> None:
        self.identity = msgspec.structs.replace(self.identity, signing_keys=dict(self._keys()))
        self._keep()
        log.info("other signing keys are pinned from now on", keys=sorted(self.identity.signing_keys))

    def _take_over(self) -> None:
        kept = self._store.load()
        if kept is not None and kept.expires_at() > self.identity.expires_at():
            self.identity, self._unkept = kept, False

    async def _renew(self) -> None:
        names = self.identity.listener_names()
        try:
            self.identity = await enrolment.renew(self.identity, address=self._address, listener_names=names)
        except enrolment.EnrolmentError as error:
            log.warning("the certificates could not be renewed yet", reason=str(error))
            return
        self._keep()
        log.info("the certificates were renewed")

    def _keep(self) -> None:
        self._unkept = True
        self._store.keep(self.identity)
        self._unkept = False
