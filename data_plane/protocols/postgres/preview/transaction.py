"""The transaction of a preview: its limits, and the session's state as far as it decides what a statement means.

It is begun with the search path at pg_catalog alone, so that what is asked of the catalogue means what it says; the
session's own state is set up after that (`become`), or the preview is given up. What limits or marks a transaction of
the session, and who the session's user is, is not taken over: the role is the preview's, whatever the session's was.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec

from data_plane.policy import durations
from data_plane.policy.model import TargetPreview
from data_plane.protocols.postgres.interface import REASON, SearchPath
from data_plane.protocols.postgres.preview.conversation import AskError, Conversation
from data_plane.protocols.postgres.preview.judging import quoted

_SET: Final = "SELECT pg_catalog.set_config($1, $2, true)"
_OF_ITS_OWN: Final = frozenset(
    {
        REASON, "client_encoding", "standard_conforming_strings", "database", "user", "role", "session_authorization",
        "temporary", "search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
        "idle_session_timeout", "transaction_timeout", "application_name",
    }
)  # fmt: skip
_OF_TRANSACTIONS: Final = ("transaction_", "default_transaction_")
CANCELLED: Final = "57014"  # by statement_timeout
LOCKED: Final = "55P03"
FORBIDDEN: Final = "42501"


class MissingError(Exception):
    """A part of a preview cannot be had; `args[0]` says why, for reviewers."""


class Limits(msgspec.Struct, frozen=True):
    statement_timeout: str
    lock_timeout: str

    @property
    def seconds(self) -> float:
        return durations.seconds(self.statement_timeout)

    def settings(self) -> Iterable[tuple[str, str]]:
        for name, text in (("statement_timeout", self.statement_timeout), ("lock_timeout", self.lock_timeout)):
            yield name, f"{round(durations.seconds(text) * 1000)}ms"
        yield "idle_in_transaction_session_timeout", f"{round(self.seconds * 1000) + 5000}ms"

    def why(self, sqlstate: str) -> str:
        """What a reviewer is told of a refusal."""
        if sqlstate == CANCELLED:
            return f"it took longer than {self.statement_timeout}, the limit of previews on this target"
        if sqlstate == LOCKED:
            return f"a lock was not free within {self.lock_timeout}"
        if sqlstate == FORBIDDEN:
            return "the preview role may not do this; its grants are listed in deploy/README.md"
        return f"the target refused it (SQLSTATE {sqlstate})"


def limits_of(spec: TargetPreview) -> Limits:
    return Limits(spec.statement_timeout, spec.lock_timeout)


@contextlib.asynccontextmanager
async def transaction(target: Conversation, limits: Limits, *, read_only: bool) -> AsyncIterator[None]:
    """Always rolled back, if not by us then by the end of the connection. Raises MissingError when it cannot begin."""
    try:
        await target.ask("BEGIN READ ONLY" if read_only else "BEGIN READ WRITE")
        for name, value in limits.settings():
            await target.call(_SET, name, value)
    except AskError as refused:
        raise MissingError(f"no transaction could be begun for it: {limits.why(refused.args[0])}") from None
    try:
        yield
    except (AskError, MissingError):
        await target.ask("ROLLBACK")
        raise
    await target.ask("ROLLBACK")


async def become(target: Conversation, path: SearchPath, state: Iterable[tuple[str, str]]) -> None:
    """Texts mean from here on what they mean in the session. Raises MissingError."""
    wanted = [(name, value) for name, value in state if name not in _OF_ITS_OWN]
    wanted = [(name, value) for name, value in wanted if not name.startswith(_OF_TRANSACTIONS)]
    wanted.append(("search_path", ", ".join(quoted([schema]) for schema in path.schemas)))
    for name, value in wanted:
        try:
            await target.call(_SET, name, value)
        except AskError as refused:
            told = f"the session's setting {name} cannot be set up for it (SQLSTATE {refused.args[0]})"
            raise MissingError(told) from None
