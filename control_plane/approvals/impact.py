"""What a held operation would do, as its agent looked it up, and the row guard that follows from it. Pure.

The agent's word is read strictly and within a size; what cannot be read is said to be so and counts for nothing.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from control_plane.approvals.domain import RowGuard

LARGEST: Final = 64 * 1024  # bytes of JSON
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 62))]


class Fact(msgspec.Struct, frozen=True):
    """Read off the operation itself."""

    name: str
    value: str


class Figure(msgspec.Struct, frozen=True):
    """A number of rows; None: there is none, and `missing` says why."""

    rows: _Count | None = None
    missing: str = ""


class TableRows(msgspec.Struct, frozen=True):
    table: str
    inserted: _Count = 0
    updated: _Count = 0
    deleted: _Count = 0


class Keys(msgspec.Struct, frozen=True):
    """Of a few of the rows; masked by the agent."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class DryRun(msgspec.Struct, frozen=True):
    """Executed and rolled back."""

    rows: _Count | None = None
    missing: str = ""
    tables: tuple[TableRows, ...] = ()
    keys: Keys | None = None
    milliseconds: _Count = 0
    kept: tuple[str, ...] = ()  # what does not roll back


class Impact(msgspec.Struct, frozen=True):
    """A part that is None was not asked for."""

    facts: tuple[Fact, ...] = ()
    estimate: Figure | None = None
    count: Figure | None = None
    dry_run: DryRun | None = None
    unguarded: str = ""  # why no row guard can bind the operation; empty: one can
    notes: tuple[str, ...] = ()


class Guarded(msgspec.Struct, frozen=True):
    """What the chain's row guard means for one operation. `most_rows` None: nothing binds it, and `why` says why."""

    most_rows: int | None = None
    why: str = ""


def read(text: str) -> Impact | None:
    """None: policy asks for no preview."""
    if not text:
        return None
    if len(text.encode()) > LARGEST:
        return Impact(notes=("the agent's preview is too large to be shown",), unguarded="its preview cannot be read")
    try:
        return msgspec.json.decode(text, type=Impact)
    except msgspec.MsgspecError:
        return Impact(notes=("the agent's preview cannot be read",), unguarded="its preview cannot be read")


def alike(impact: Impact | None) -> Impact | None:
    """Without what differs from one look to the next though nothing has changed: the time, and which keys came up."""
    if impact is None or impact.dry_run is None:
        return impact
    return msgspec.structs.replace(impact, dry_run=msgspec.structs.replace(impact.dry_run, keys=None, milliseconds=0))


def guarded(guard: RowGuard | None, impact: Impact | None) -> Guarded | None:
    """None: the chain has no row guard."""
    if guard is None:
        return None
    if impact is None:
        return Guarded(why="the rule that held it asks for no count of rows")
    if impact.unguarded:
        return Guarded(why=impact.unguarded)
    counted = [figure for figure in (impact.dry_run, impact.count) if figure is not None]
    rows = next((figure.rows for figure in counted if figure.rows is not None), None)
    if rows is None:
        missing = "; ".join(figure.missing for figure in counted if figure.missing)
        return Guarded(why=missing or "the rule that held it asks for no count of rows")
    margin = -(-rows * guard.margin_percent // 100) + guard.margin_rows
    return Guarded(rows + margin)
