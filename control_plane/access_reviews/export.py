"""The report and a campaign as files: CSV for spreadsheets, JSON lines for programs. Written as they are read.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@` for a formula; names and descriptions are other people's
words, so such a cell begins with an apostrophe here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from control_plane.access_reviews.schemas import AccessOut, ItemOut

Format = Literal["csv", "json"]
Body = AsyncIterator[bytes] | Iterator[bytes]
MEDIA_TYPES: Final[Mapping[Format, str]] = {"csv": "text/csv; charset=utf-8", "json": "application/x-ndjson"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_REPORT: Final = (
    *("identity", "identity_kind", "owner", "able", "groups", "permissions", "unused_permissions", "last_seen_at"),
    *("kind", "id", "description", "created_at", "expires_at", "last_used_at", "findings"),
)
_ITEMS: Final = (
    *("number", "kind", "thing", "identity", "owner", "description", "findings", "last_used_at"),
    *("state", "decided_by", "decided_at", "comment"),
)


async def report(accesses: AsyncIterator[AccessOut], form: Format) -> AsyncIterator[bytes]:
    """CSV: one line for each identity, and one for each thing of it. JSON: one line for each identity."""
    if form == "csv":
        yield _line(_REPORT)
    async for access in accesses:
        if form == "json":
            yield access.model_dump_json().encode() + b"\n"
        else:
            yield b"".join(_line(row) for row in _rows(access))


def items(found: Iterable[ItemOut], form: Format) -> Iterator[bytes]:
    if form == "csv":
        yield _line(_ITEMS)
    for item in found:
        told = item.model_dump(mode="json")
        yield msgspec.json.encode(told) + b"\n" if form == "json" else _line([told[name] for name in _ITEMS])


def _rows(access: AccessOut) -> Iterator[Sequence[Any]]:
    told = access.model_dump(mode="json")
    names = ("name", "kind", "owner", "able", "groups", "permissions", "unused", "last_seen_at")
    whose = [told[name] for name in names]
    made, ends = told["created_at"], told["ends_at"]
    yield [*whose, "identity", "", told["purpose"], made, ends, told["last_seen_at"], told["findings"]]
    for thing in told["things"]:
        yield [*whose, *(thing[name] for name in _REPORT[len(whose) :])]


def _line(cells: Iterable[Any]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerow([_cell(one) for one in cells])
    return written.getvalue().encode()


def _cell(value: Any) -> str:
    text = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
