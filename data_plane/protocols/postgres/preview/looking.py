"""One preview: facts from the text, and what the preview role finds out at the target. Never raises, and is bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.gate.impact import DryRun, Figure, Impact
from data_plane.gate.interface import Preview
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.protocols.postgres.preview import dry_running, judging, probing
from data_plane.protocols.postgres.preview.conversation import AskError, Conversation
from data_plane.protocols.postgres.preview.deriving import query_of, rows_of, takes_defaults
from data_plane.protocols.postgres.preview.dry_running import MaskRows
from data_plane.protocols.postgres.preview.facts import facts_of
from data_plane.protocols.postgres.preview.probing import Table
from data_plane.protocols.postgres.preview.question import Question
from data_plane.protocols.postgres.preview.transaction import MissingError, become, limits_of, transaction
from data_plane.protocols.postgres.target_connection import Opened, open_target

log = structlog.get_logger(__name__)

AT_ONCE: Final = 4  # previews of one target in one process; more wait, within their time
_SLACK_SECONDS: Final = 3.0  # for the network, over the target's own limit
_STATEMENTS: Final = 4  # of the statement's own weight, over all parts
_LONGEST_SECONDS: Final = 60.0
_SETTINGS: Final = {"application_name": "assentry preview", "search_path": "pg_catalog"}
_AT_TARGET: Final = ("estimate", "count", "dry-run")
NO_ROLE: Final = "this agent has no preview role for the target (preview_username in its configuration)"


class Access(msgspec.Struct, frozen=True, eq=False):
    """How the previews of one session reach its target. `credential` gives None where none is configured."""

    spec: TargetSpec
    database: str
    credential: Callable[[], Awaitable[PasswordCredential | None]]
    turns: asyncio.Semaphore


class _Found(msgspec.Struct):
    """What the target says, part by part, so that what came before a failure is kept."""

    estimate: Figure | None = None
    count: Figure | None = None
    dry_run: DryRun | None = None
    notes: tuple[str, ...] = ()


class Previewer:
    """Implements `question.Previews` for one session."""

    def __init__(self, access: Access, tables: judging.Tables, mask: MaskRows) -> None:
        self._access = access
        self._tables = tables
        self._mask = mask

    def __call__(self, question: Question) -> Preview:
        return partial(self._look, question)

    async def _look(self, question: Question) -> Impact:
        found, wanted = _Found(), set(question.wanted)
        why = ""
        if not wanted.isdisjoint(_AT_TARGET):
            why = judging.objection(question, self._tables) or await self._at_target(question, found)
        if question.in_transaction:
            found.notes += ("what the client's open transaction has changed is not seen",)
        return Impact(
            facts=facts_of(question) if "facts" in wanted else (),
            estimate=(found.estimate or Figure(missing=why)) if "estimate" in wanted else None,
            count=(found.count or Figure(missing=why)) if "count" in wanted else None,
            dry_run=(found.dry_run or DryRun(missing=why)) if "dry-run" in wanted else None,
            unguarded=question.unguarded,
            notes=found.notes,
        )

    async def _at_target(self, question: Question, found: _Found) -> str:
        """Fills `found`; why the rest of it is missing."""
        seconds = limits_of(self._access.spec.preview).seconds
        try:
            async with asyncio.timeout(min(_LONGEST_SECONDS, _STATEMENTS * seconds + 2 * _SLACK_SECONDS)):
                async with self._access.turns, self._connected() as target:
                    await self._ask(target, question, found)
        except MissingError as missing:
            return str(missing)
        except TimeoutError:
            return "the target did not answer in time"
        except AskError as refused:
            return limits_of(self._access.spec.preview).why(refused.args[0])
        except (OSError, RemoteProtocolError, CredentialError) as error:
            log.warning("no preview", address=self._access.spec.address, error=type(error).__name__)
            return "the target could not be asked with the preview role"
        return ""

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Conversation]:
        access = self._access
        credential = await access.credential()
        if credential is None:
            raise MissingError(NO_ROLE)
        opened = await open_target(access.spec, credential, access.database, _SETTINGS)
        if not isinstance(opened, Opened):
            log.warning("no preview", address=access.spec.address, sqlstate=opened.sqlstate, why=opened.message)
            raise MissingError(f"the preview role could not sign in at the target (SQLSTATE {opened.sqlstate})")
        try:
            if opened.ready.parameters.get("is_superuser") != "off":
                raise MissingError("the preview role is a superuser at the target: give it rights of its own")
            seconds = limits_of(access.spec.preview).seconds + _SLACK_SECONDS
            yield Conversation(opened.connection, opened.ready.rest, seconds)
        finally:
            opened.connection.abort()  # whatever was begun there is rolled back

    async def _ask(self, target: Conversation, question: Question, found: _Found) -> None:
        limits, wanted = limits_of(self._access.spec.preview), question.wanted
        rows = rows_of(question.text)
        async with transaction(target, limits, read_only=True):
            tables = await self._known(target, question)
            found.notes += tuple(
                f"{table.name} has about {table.rows:,} rows by its statistics" for table in tables if table.rows >= 0
            )
            if "estimate" in wanted:
                found.estimate = await probing.estimate(target, rows or query_of(question.text), question.bound, limits)
            if "count" in wanted:
                found.count = await probing.count(target, rows, question.bound, limits)
        if "dry-run" in wanted:
            found.dry_run = await self._dry_run(target, question, tables)

    async def _known(self, target: Conversation, question: Question) -> list[Table]:
        """The tables, and the state of the session from then on. Raises MissingError."""
        relations = judging.relations_of(question.subjects[0], self._tables)
        names = [f"{relation.schema}.{relation.name}" for relation in relations]
        tables = await probing.tables(target, names, may_write=self._access.spec.preview.dry_run)
        await become(target, question.path, question.state)
        await probing.compare(target, _as_written(question, names), tables)
        return tables

    async def _dry_run(self, target: Conversation, question: Question, tables: Sequence[Table]) -> DryRun:
        preview = self._access.spec.preview
        if why := dry_running.objection(question, consents=preview.dry_run):
            return DryRun(missing=why)
        changed = [table for table in tables if table.name in set(judging.written(question.subjects[0]))]
        limits = limits_of(preview)
        try:
            async with transaction(target, limits, read_only=False):
                await dry_running.judge(target, changed, takes_defaults=takes_defaults(question.text))
                key = await dry_running.key_of(target, changed)
                await become(target, question.path, question.state)
                return await dry_running.run(target, question, key, limits, self._mask)
        except MissingError as missing:
            return DryRun(missing=str(missing))


def _as_written(question: Question, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each with the schema where the statement writes it, without where it does not."""
    bare = {name.removeprefix("?.") for name in _written(question) if name.startswith("?.")}
    return [
        (table,) if table in bare else (schema, table) for schema, _, table in (name.partition(".") for name in names)
    ]


def _written(question: Question) -> Sequence[str]:
    written = question.statement.subject.facts.get("tables", ()) if question.statement else ()
    return written if isinstance(written, tuple) else ()
