"""What a session's driver asks of the account that the session has at its target."""

from __future__ import annotations

from collections.abc import Iterable

from data_plane.credentials.ports import CredentialSource
from data_plane.identifiers import SessionId


class SessionAccount:
    """A `CredentialSource` as one session sees it; see there for what is raised."""

    def __init__(self, source: CredentialSource, session: SessionId) -> None:
        self._source = source
        self._session = session

    def lacks(self, actions: Iterable[str]) -> bool:
        return self._source.lacks(self._session, actions)

    async def widen(self, actions: Iterable[str]) -> None:
        await self._source.widen(self._session, actions)

    async def narrow(self) -> None:
        await self._source.narrow(self._session)
