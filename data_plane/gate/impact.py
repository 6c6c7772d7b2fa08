"""What reviewers are told an operation would do before they decide: the value behind ApprovalRequested.impact_json.

A protocol looks it up (`interface.Preview`) once policy holds an operation that asks for it, and before people are
asked. It informs people and decides nothing, so it may be incomplete: each part that policy asks for is there or says
why it is not. Here it is kept within a time and a size; a preview that fails or hangs never stops the hold.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from data_plane.gate.interface import Preview

log = structlog.get_logger(__name__)

LONGEST_SECONDS: Final = 65.0  # over all limits that a target may set for its own statements
LARGEST: Final = 48 * 1024  # bytes of JSON


class Fact(msgspec.Struct, frozen=True):
    """Read off the operation itself: certain, and no statement about data."""

    name: str
    value: str


class Figure(msgspec.Struct, frozen=True):
    """A number of rows; None: there is none, and `missing` says why."""

    rows: int | None = None
    missing: str = ""


class TableRows(msgspec.Struct, frozen=True):
    """What a dry run did to one table, by itself and through cascades."""

    table: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


class Keys(msgspec.Struct, frozen=True):
    """Primary keys of a few of the rows, masked as policy masks their columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class DryRun(msgspec.Struct, frozen=True):
    """Executed and rolled back."""

    rows: int | None = None
    missing: str = ""
    tables: tuple[TableRows, ...] = ()
    keys: Keys | None = None
    milliseconds: int = 0
    kept: tuple[str, ...] = ()  # what does not roll back


class Impact(msgspec.Struct, frozen=True):
    """A part that is None was not asked for."""

    facts: tuple[Fact, ...] = ()
    estimate: Figure | None = None
    count: Figure | None = None
    dry_run: DryRun | None = None
    unguarded: str = ""  # why a row guard cannot bind the operation; empty: it can
    notes: tuple[str, ...] = ()


def encode(impact: Impact) -> str:
    """What is too large is left out and said, never cut."""
    text = msgspec.json.encode(impact)
    if len(text) > LARGEST:
        note = "the preview's facts and keys are left out: they are too large"
        run = msgspec.structs.replace(impact.dry_run, keys=None, tables=()) if impact.dry_run else None
        smaller = msgspec.structs.replace(impact, facts=(), dry_run=run, notes=(note,))
        text = msgspec.json.encode(smaller)
    return text.decode()


async def looked_up(preview: Preview | None) -> str:
    """JSON; empty when nothing is asked for. Never raises but CancelledError."""
    if preview is None:
        return ""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return encode(await preview())
    except Exception as error:
        log.exception("an impact preview failed")
        return encode(Impact(notes=(f"there is no preview: it failed ({type(error).__name__})",)))
