"""Cursor pagination: an opaque cursor holds the sort key of the last item, so pages stay true while rows come."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from control_plane.kit.errors import FieldProblem, InvalidError

T = TypeVar("T")
Key = tuple[str | int, ...]

MAXIMUM = 200
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(default=None, description="give it as `cursor` to go on; null: this is the end")


class Paging(msgspec.Struct, frozen=True):
    """Where to go on, and how much is wanted. `after` is the key of the last item seen."""

    limit: int = 50
    after: Key | None = None

    def page(self, rows: Sequence[T], key: Callable[[T], Key]) -> tuple[list[T], str | None]:
        """`rows` were selected with `limit + 1`: one more than wanted tells that there is more."""
        kept = list(rows[: self.limit])
        return kept, encode_cursor(key(kept[-1])) if len(rows) > self.limit else None


def encode_cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> Key:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        return tuple(msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=list[str | _Integer]))
    except (binascii.Error, msgspec.DecodeError, ValueError, UnicodeError) as error:
        problem = FieldProblem(path="query.cursor", message="use the next_cursor of an earlier page as it is")
        raise InvalidError("the cursor is not one of ours", [problem]) from error


async def _paging(
    limit: Annotated[int, Query(ge=1, le=MAXIMUM, description="items of one page")] = 50,
    cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before")] = None,
) -> Paging:
    return Paging(limit, None if cursor is None else decode_cursor(cursor))


# The parameter of an endpoint: `async def show(paging: PagingQuery)`.
PagingQuery = Annotated[Paging, Depends(_paging)]


def newest_key(paging: Paging) -> tuple[int, str] | None:
    """The cursor of a list that is sorted by an instant and an id; another shape is refused."""
    match paging.after:
        case None:
            return None
        case (int(at_ms), str(last)):
            return at_ms, last
    raise InvalidError("the cursor belongs to another list")


def single_key(paging: Paging, kind: type[Any]) -> Any:
    """The cursor of a list that is sorted by one column; another shape is refused."""
    if paging.after is None:
        return None
    if len(paging.after) != 1 or not isinstance(paging.after[0], kind):
        raise InvalidError("the cursor belongs to another list")
    return paging.after[0]
