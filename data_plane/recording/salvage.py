"""What an earlier run of the agent recorded and did not report any more: reported at the next start, exactly once.

A killed agent (kill -9) leaves decisions that are in its recordings and not in the journal, and sessions whose end
nobody was told. The journal keeps for each session how many decisions it has taken; decisions are reported in the
order in which they are recorded, so those beyond that number are the ones that are missing. A recording whose session
is not in the journal opened so late that its opening was lost: all of it is reported.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import structlog

from data_plane.recording import reader
from data_plane.recording.decisions import report_all
from data_plane.recording.interface import Reported, SalvageReports
from data_plane.recording.model import AGENT_CRASHED, AnyEvent, Closed, Decided, Input, Opened
from data_plane.recording.pieces import Batch, enter
from data_plane.recording.shelf import Shelf, Spooled
from data_plane.recording.writer import Compressor

log = structlog.get_logger(__name__)


class _Found(msgspec.Struct):
    opened: Opened | None = None
    closed: Closed | None = None
    last_operation: int = 0
    missing: list[Batch] = msgspec.field(default_factory=list)


def report_left(shelf: Shelf, reports: SalvageReports) -> None:
    """Called once, after `Shelf.recover` and before anything is recorded. Raises what reporting does."""
    left = [item for item in shelf.listing() if item.end is not None]
    compressor = Compressor()
    for item in left:
        known = reports.reported(item.session_id)
        if known is None or not known.closed:
            _report(shelf, item, known, reports, compressor)
    reports.forget_reported({item.session_id for item in left})


def _report(
    shelf: Shelf, item: Spooled, known: Reported | None, reports: SalvageReports, compressor: Compressor
) -> None:
    found = _found(_events(shelf, item), known.decisions if known is not None else 0)
    if known is None:
        if found.opened is None:
            if not item.segments:  # nothing of it was written: it never opened
                shelf.forget(item.session_id)
            return
        reports.opened_before(found.opened)
    log.warning(
        "a session of the last run was not reported to its end",
        session=item.session_id,
        missing=sum(batch.count for batch in found.missing),
    )
    report_all(item.session_id, found.missing, reports, compressor)
    reason, operations = AGENT_CRASHED, found.last_operation
    if found.closed is not None:
        reason, operations = found.closed.reason, found.closed.operations
    chain_hash = item.end.chain_hash if item.end is not None and item.segments else b""
    reports.closed(item.session_id, reason, operations, chain_hash)


def _found(events: Iterator[AnyEvent], reported: int) -> _Found:
    """`reported`: how many decisions are not missing, from the first on."""
    found, zero = _Found(), 0
    for event in events:
        match event:
            case Opened():
                found.opened, zero = event, event.started_at_ms
            case Input():
                found.last_operation = event.operation
            case Decided():
                found.last_operation = event.operation
                reported -= 1
                if reported < 0:
                    decided = (event.effect, event.action, event.rules, event.code)
                    enter(found.missing, event.operation, zero + event.at_ms, *decided)
            case Closed():
                found.closed = event
            case _:
                pass
    return found


def _events(shelf: Shelf, item: Spooled) -> Iterator[AnyEvent]:
    for index in range(item.segments):
        yield from reader.sealed_events(shelf.segment(item.session_id, index))
