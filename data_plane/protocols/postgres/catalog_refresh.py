"""Keeps catalogues loaded while sessions use them: at start, after a change, on an unknown name, and every 30 seconds.

One catalogue for each database of a target. It is kept when its last session closes, so that what was protected stays
so; after a minute without sessions it is no longer refreshed, and loaded again for the next one. A target that cannot
be asked leaves a catalogue as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import CatalogSource
from data_plane.protocols.postgres.interface import Classifier
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 30.0
_UNKNOWN_SECONDS: Final = 1.0
_CHANGED_SECONDS: Final = 0.02
_IDLE_SECONDS: Final = 60.0


class Catalogues:
    """The catalogues of one target. `source_of(database)` reads one."""

    def __init__(
        self,
        source_of: Callable[[str], CatalogSource],
        classifier: Classifier,
        *,
        poll_seconds: float = _POLL_SECONDS,
        unknown_seconds: float = _UNKNOWN_SECONDS,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._idle_seconds = idle_seconds
        self._source_of = source_of
        self._classifier = classifier
        self._poll_seconds = poll_seconds
        self._unknown_seconds = unknown_seconds
        self._kept: dict[str, KeptCatalogue] = {}

    @contextlib.asynccontextmanager
    async def use(self, database: str) -> AsyncIterator[Catalogue]:
        """The loaded catalogue, for the life of a session. Raises ConnectionError when it cannot be loaded."""
        kept = self._kept.get(database)
        if kept is None:
            kept = self._kept[database] = KeptCatalogue(
                self._source_of(database), self._classifier, self._poll_seconds, self._unknown_seconds
            )
        kept.enter()
        try:
            await kept.ready()
            yield kept.catalogue
        finally:
            if kept.leave(self._idle_seconds) and not kept.catalogue.data.fingerprint:
                del self._kept[database]  # there may be no such database


class KeptCatalogue:
    """One catalogue and the task that loads it."""

    def __init__(
        self, source: CatalogSource, classifier: Classifier, poll_seconds: float, unknown_seconds: float
    ) -> None:
        self.catalogue = Catalogue(classifier, self._wanted)
        self._source = source
        self._poll_seconds = poll_seconds
        self._unknown_seconds = unknown_seconds
        self._changed = asyncio.Event()
        self._asked = asyncio.Event()
        self._first = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._users = 0
        self._stopping: asyncio.TimerHandle | None = None

    @property
    def refreshed(self) -> bool:
        return self._task is not None

    def enter(self) -> None:
        self._users += 1
        if self._stopping is not None:
            self._stopping.cancel()

    def leave(self, idle_seconds: float) -> bool:
        """Whether nobody uses it any more; it is not refreshed when nobody has come back within `idle_seconds`."""
        self._users -= 1
        if self._users == 0:
            self._stopping = asyncio.get_running_loop().call_later(idle_seconds, self._stop)
        return self._users == 0

    async def ready(self) -> None:
        """Waits for the first load; a failed one is tried again by the next session."""
        async with self._first:
            if self._task is None:
                await self._load()
                self._task = spawn(self._keep(), "catalogue: refresh")

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _wanted(self, changed: bool) -> None:  # noqa: FBT001 - the catalogue's callback
        self._asked.set()
        if changed:
            self._changed.set()

    async def _load(self) -> None:
        changes, known = self.catalogue.changes, self.catalogue.data
        self.catalogue.loaded(await self._source.load(known.fingerprint if known.complete else ""), changes)
        self.catalogue.tell(changes)

    async def _keep(self) -> None:
        while True:
            await self._next()
            self._changed.clear()
            self._asked.clear()
            try:
                await self._load()
            except Exception as error:  # noqa: BLE001  # sessions wait for this: it goes on, whatever it is
                log.warning("the catalogue stays as it is", reason=str(error), error=type(error).__name__)
                self.catalogue.tell()
                self._asked.set()

    async def _next(self) -> None:
        """Returns when it is time for another look: right after a change (a burst of changes is one load), after a
        second at most once for what is not known, and else at the next poll."""
        if await _set_within(self._changed, self._unknown_seconds):
            await asyncio.sleep(_CHANGED_SECONDS)
        else:
            await _set_within(self._asked, self._poll_seconds)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
