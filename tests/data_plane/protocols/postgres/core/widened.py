"""Sessions whose account is made wider, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from data_plane.protocols.postgres.core.widening import FORGET, question
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSED,
    COMPLETE,
    DESCRIBE,
    EXECUTE,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    Conversation,
    error,
    ready,
)

Pieces = Callable[[bytes], Iterator[bytes]]
DELETE = "delete from t where id > 5"
BATCH = (PARSE("", DELETE), BIND("", ""), DESCRIBE(b"P", ""), EXECUTE(""), SYNC)
SELECT, OTHER = "select 1", "select 2"


def looks(it: Conversation, role: str = "app") -> bool:
    """Whether what was sent makes the target forget its plans, then asks the question of our own, and nothing else."""
    sent = it.take_target()
    if not sent:
        return False
    first = sent[0].removeprefix("Close P")
    assert first.startswith("assentry_account_")
    assert sent == [*_own(first, FORGET), *_own(first.removesuffix("_"), question(role))]
    return True


def _own(name: str, text: str) -> list[str]:
    asked = [f"Close P{name}", f"Parse {name}:{text}", f"Bind {name}:{name}", f"Execute {name}"]
    return [*asked, f"Close S{name}", "Sync"]


def forgotten(status: str = "I") -> bytes:
    return CLOSED + PARSED + BOUND + COMPLETE(FORGET) + CLOSED + ready(status)


def seen(status: str = "I") -> bytes:
    return forgotten(status) + CLOSED + PARSED + BOUND + COMPLETE("SELECT 0") + CLOSED + ready(status)


def unseen(status: str, sqlstate: str = "22023") -> bytes:
    failed = CLOSED + PARSED + BOUND + error(sqlstate, "name list length must be exactly 1") + ready(status)
    return forgotten("T" if status == "E" else status) + failed


def held(pieces: Pieces | None = None, *messages: bytes, inside: bool = False, **options: object) -> Conversation:
    """An operation that the account may not do is approved; what it needs is asked for."""
    it = Conversation(pieces=pieces, **options)  # type: ignore[arg-type]
    it.lacking = frozenset({"write"})
    if inside:
        it.client(QUERY("begin"))
        it.target(COMPLETE("BEGIN"), ready("T"))
    it.client(*(messages or (QUERY(DELETE),)))
    assert len(it.operations) == 1
    it.take_client(), it.take_target()
    it.approve()
    return it


def widened(pieces: Pieces | None = None, *messages: bytes, inside: bool = False, **options: object) -> Conversation:
    it = held(pieces, *messages, inside=inside, **options)
    assert (it.take_target(), it.account[0].split()[0]) == ([], "widen")
    it.core.account_changed("")
    if inside:
        assert looks(it)
        it.target(seen("T"))
    return it
