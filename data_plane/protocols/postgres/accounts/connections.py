"""The agent's own connections to a target, on which session roles are made and removed.

One is kept for each address; tasks on it take turns. It is given up, not repaired, when an answer is lost or the
agent's own account has changed. Connections to other databases live for one cleaning.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.protocols.postgres.accounts import problems, tasks
from data_plane.protocols.postgres.catalog_source import tls_context
from data_plane.protocols.postgres.own_sign_in import sign_in
from data_plane.protocols.postgres.target_connection import read_address
from data_plane.runtime.tasks import spawn

CONNECT_SECONDS: Final = 8.0
ANSWER_SECONDS: Final = 10.0
CLEANING_SECONDS: Final = 45.0
PROBE_SECONDS: Final = 3.0
_BELIEVED_SECONDS: Final = 1.0
_ANY: Final = "postgres"  # the database where no other is named
_ITS_OWN: Final = {
    "search_path": "pg_catalog",  # nothing that a session made may be called here
    "application_name": "assentry",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "20s",
    "jit": "off",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "client_min_messages": "error",
    "synchronous_commit": "off",  # what a crash of the target loses, it loses with the session; removals wait
}
# A backend of a session ends soon when nobody is there any more: the agent's process, or its whole machine.
_ENDS_SOON: Final = {
    "client_connection_check_interval": "10s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
_NO_SUCH_PLACE: Final = (asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError)
_KNOWN: Final = "select name from pg_settings where name = any($1::text[])"
_TRIED: Final = "select set_config($1, $2, true)"

T = TypeVar("T")
Own = Callable[[], Awaitable[PasswordCredential]]


class Version(msgspec.Struct, frozen=True):
    """What depends on the target's version."""

    number: int
    settings: Mapping[str, str]  # for session roles, as far as this target takes them

    @property
    def membership(self) -> str:
        """Rights, but no SET ROLE: what the session does, it does as itself."""
        return " with inherit true, set false" if self.number >= 16 else ""

    @property
    def full(self) -> str:
        return " with inherit true, set true" if self.number >= 16 else ""

    @property
    def privilege(self) -> str:
        """Besides USAGE, what giving something to a role needs, for pg_has_role."""
        return "SET" if self.number >= 16 else "MEMBER"


class Kept:
    """One connection, one task at a time."""

    def __init__(
        self, connection: asyncpg.Connection[Any], credential: PasswordCredential, version: Version, seconds: float
    ) -> None:
        self.connection = connection
        self.version = version
        self._seconds = seconds
        self._credential = credential
        self._turn = asyncio.Lock()
        self._used_at = asyncio.get_running_loop().time()
        self.lost = False

    async def serves(self, credential: PasswordCredential) -> bool:
        """A connection that was not used for a while may have died without a word."""
        if self.lost or self.connection.is_closed() or self._credential != credential:
            return False
        if self._turn.locked() or asyncio.get_running_loop().time() - self._used_at < _BELIEVED_SECONDS:
            return True
        try:
            await self._ask(self.connection.execute("select"), PROBE_SECONDS)
        except (LostError, asyncpg.PostgresError):
            return False
        return True

    async def retire(self) -> None:
        """When what is under way is done."""
        async with self._turn:
            self.abandon()

    async def run(self, task: str, given: Mapping[str, object]) -> None:
        """Raises asyncpg.PostgresError for what the target refused, LostError when the answer did not come."""
        await self._ask(self._run(task, given))

    async def rows(self, question: str, *given: object) -> list[Any]:
        return await self._ask(self.connection.fetch(question, *given))

    async def command(self, text: str) -> None:
        await self._ask(self.connection.execute(text))

    async def _run(self, task: str, given: Mapping[str, object]) -> None:
        await self.connection.execute(tasks.GIVE, msgspec.json.encode(given).decode())
        await self.connection.execute(task)

    async def _ask(self, work: Coroutine[Any, Any, T], seconds: float = 0.0) -> T:
        try:
            async with self._turn, asyncio.timeout(seconds or self._seconds):
                return await self._answered(work)
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:  # TimeoutError is an OSError
            raise LostError(f"the target did not answer: {type(error).__name__}") from error
        finally:
            work.close()

    async def _answered(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            result = await work
        except asyncpg.PostgresError as refused:
            if problems.ends_connection(refused):
                self.abandon()
            raise
        except BaseException:
            self.abandon()
            raise
        self._used_at = asyncio.get_running_loop().time()
        return result

    def abandon(self) -> None:
        """What was asked may or may not have been done; nothing more is asked on it."""
        self.lost = True
        self.connection.terminate()


class LostError(Exception):
    """Whether a task was done is not known."""


class Connections:
    def __init__(self, target: str, own: Own) -> None:
        self._target = target
        self._own = own
        self._kept: dict[tuple[str, TargetTls], Kept] = {}
        self._opening = asyncio.Lock()

    async def kept(self, spec: TargetSpec, database: str = "") -> Kept:
        """Any database will do: roles belong to the server. Raises CredentialError."""
        credential = await self._own()
        place = (spec.address, spec.tls)
        async with self._opening:
            kept = self._kept.get(place)
            if kept is None or not await kept.serves(credential):
                if kept is not None:
                    spawn(kept.retire(), "end of a connection to a target")
                kept = self._kept[place] = await self._open_any(spec, database, credential)
            return kept

    async def _open_any(self, spec: TargetSpec, database: str, credential: PasswordCredential) -> Kept:
        """The database of a session may be gone by the time its role goes, or never have been there."""
        wanted = [name for name in dict.fromkeys((database, spec.database, _ANY)) if name]
        for name in wanted[:-1]:
            try:
                return await self._open(spec, name, credential)
            except CredentialError as error:
                if not isinstance(error.__cause__, _NO_SUCH_PLACE):
                    raise
        return await self._open(spec, wanted[-1], credential)

    @contextlib.asynccontextmanager
    async def to(self, spec: TargetSpec, database: str, seconds: float = ANSWER_SECONDS) -> AsyncIterator[Kept]:
        """For one cleaning, each step of which takes so long at most. Raises CredentialError."""
        opened = await self._open(spec, database, await self._own(), seconds)
        try:
            yield opened
        finally:
            opened.abandon()

    async def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].abandon()

    async def _open(
        self, spec: TargetSpec, database: str, credential: PasswordCredential, seconds: float = ANSWER_SECONDS
    ) -> Kept:
        try:
            address = read_address(spec.address)
            connection = await sign_in(
                credential,
                host=address.host,
                port=address.port,
                database=database,
                ssl=tls_context(spec.tls),
                timeout=CONNECT_SECONDS,
                server_settings={**_ITS_OWN, "statement_timeout": f"{round(seconds * 900)}ms"},
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise CredentialError(problems.cannot_connect(self._target, database, error)) from error
        try:
            return Kept(connection, credential, await _version(connection), seconds)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            connection.terminate()
            raise CredentialError(problems.cannot_connect(self._target, database, error)) from error
        except BaseException:  # nobody waits for it any more
            connection.terminate()
            raise


async def _version(connection: asyncpg.Connection[Any]) -> Version:
    """Not every version and system knows each setting."""
    known = {row["name"] for row in await connection.fetch(_KNOWN, list(_ENDS_SOON))}
    taken = {}
    for name in sorted(known):
        with contextlib.suppress(asyncpg.DataError, asyncpg.FeatureNotSupportedError):
            await connection.fetchval(_TRIED, name, _ENDS_SOON[name])
            taken[name] = _ENDS_SOON[name]
    return Version(connection.get_server_version().major, taken)
