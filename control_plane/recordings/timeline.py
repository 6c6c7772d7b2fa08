"""Turns the events of a recording into what is replayed. Pure: bytes of segments in, events out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from control_plane.kit.clock import from_milliseconds
from control_plane.kit.display import displayed, visible
from control_plane.recordings import schemas
from control_plane.recordings.postgres_binds import read_bind
from control_plane.recordings.postgres_results import (
    Columns,
    Copied,
    Message,
    Piece,
    ResultReader,
    Row,
    Tag,
    Unreadable,
)
from control_plane.recordings.postgres_values import read_value
from data_plane.recording import model
from data_plane.recording.reader import Broken, ChainReader, events

Shown = schemas.EventOut


class Timeline:
    """Follows one recording from its first segment; every segment is verified before it is shown."""

    def __init__(self, session_id: str) -> None:
        self._chain = ChainReader(session_id)
        self._protocol = ""
        self._at_ms = 0
        self._readers: dict[int, ResultReader] = {}
        self.broken = False

    def segment(self, data: bytes) -> list[Shown]:
        found = self._chain.add(data)
        if isinstance(found, Broken):
            return [self._break(found.reason)]
        shown: list[Shown] = []
        try:
            for event in events(found):
                self._at_ms = event.at_ms
                shown += self._show(event)
        except ValueError as error:
            shown.append(self._break(f"its events cannot be read: {error}"))
        return shown

    def missing(self, reason: str) -> Shown:
        """The store does not give the next segment."""
        return self._break(reason)

    def _break(self, reason: str) -> Shown:
        self.broken = True
        return schemas.BrokenOut(at_ms=self._at_ms, reason=f"segment {self._chain.next_index}: {reason}")

    def _show(self, event: model.AnyEvent) -> Iterator[Shown]:
        if isinstance(event, model.Output):
            yield from self._output(event)
            return
        if isinstance(event, model.Opened):
            self._protocol = event.protocol
        elif isinstance(event, model.Completed):
            self._readers.pop(event.operation, None)
        yield _SHOWN[type(event)](event)

    def _output(self, event: model.Output) -> Iterator[Shown]:
        if self._protocol != "postgres":
            text = displayed(read_value(0, event.data, binary=False)).text
            yield schemas.ResultOut(at_ms=event.at_ms, operation=event.operation, text=text)
            return
        reader = self._readers.setdefault(event.operation, ResultReader())
        yield from _results(event, reader.feed(event.data))


def _results(event: model.Output, pieces: Iterator[Piece]) -> Iterator[schemas.ResultOut]:
    """A new result begins with its columns and ends with its tag."""
    result: schemas.ResultOut | None = None
    for piece in pieces:
        if isinstance(piece, Columns) and result is not None:
            yield result
            result = None
        if result is None:
            result = schemas.ResultOut(at_ms=event.at_ms, operation=event.operation)
        _put(result, piece)
        if isinstance(piece, Tag):
            yield result
            result = None
    if result is not None:
        yield result


def _put(result: schemas.ResultOut, piece: Piece) -> None:
    match piece:
        case Columns(columns):
            result.columns = [schemas.ColumnOut(name=visible(column.name), type=column.type) for column in columns]
        case Row(values):
            result.rows.append([None if value is None else displayed(value).text for value in values])
        case Message():
            result.messages.append(_message(piece))
        case Tag(text):
            result.tags.append(visible(text))
        case Copied(text):
            result.text += displayed(text).text
        case Unreadable(reason):
            result.unreadable = reason


def _message(message: Message) -> schemas.MessageOut:
    return schemas.MessageOut(
        kind=message.kind,
        severity=visible(message.severity),
        code=visible(message.code),
        message=displayed(message.message).text,
        detail=displayed(message.detail).text,
        hint=displayed(message.hint).text,
    )


def _opened(event: model.Opened) -> Shown:
    return schemas.OpenedOut(
        at_ms=event.at_ms,
        protocol=event.protocol,
        target=event.target,
        requester=visible(event.requester),
        client_address=visible(event.client_address),
        application_name=visible(event.application_name),
        started_at=from_milliseconds(event.started_at_ms),
        details={visible(name): visible(value) for name, value in event.details.items()},
    )


def _input(event: model.Input) -> Shown:
    text = displayed(event.text)
    bound = [(one.name, one.type, one.value) for one in read_bind(event.bind, event.types)] if event.bind else ()
    parameters = [
        schemas.InputParameterOut(name=visible(name), type=visible(kind), value=displayed(value).text)
        for name, kind, value in (*event.parameters, *bound)
    ]
    return schemas.InputOut(
        at_ms=event.at_ms,
        operation=event.operation,
        text=text.text,
        hidden_characters=text.hidden,
        parameters=parameters,
    )


def _decided(event: model.Decided) -> Shown:
    return schemas.DecidedOut(
        at_ms=event.at_ms,
        operation=event.operation,
        effect=event.effect,
        action=event.action,
        rules=list(event.rules),
        code=event.code,
        message=displayed(event.message).text,
    )


def _held(event: model.HeldForApproval) -> Shown:
    return schemas.HeldOut(
        at_ms=event.at_ms,
        operation=event.operation,
        approval_id=event.approval_id,
        short_code=event.short_code,
        reviewers=event.reviewers,
        digest=event.digest.hex(),
    )


def _hold_ended(event: model.HoldEnded) -> Shown:
    return schemas.HoldEndedOut(
        at_ms=event.at_ms,
        operation=event.operation,
        approval_id=event.approval_id,
        outcome=event.outcome,
        reason=displayed(event.reason).text,
        approvers=list(event.approvers),
    )


def _completed(event: model.Completed) -> Shown:
    return schemas.CompletedOut(
        at_ms=event.at_ms,
        operation=event.operation,
        status=visible(event.status),
        rows=event.rows,
        rows_kept=event.rows_kept,
        bytes=event.bytes,
    )


def _closed(event: model.Closed) -> Shown:
    return schemas.ClosedOut(at_ms=event.at_ms, reason=event.reason, operations=event.operations)


_SHOWN: Final[Mapping[type[model.Event], Callable[[Any], Shown]]] = {
    model.Opened: _opened,
    model.Input: _input,
    model.Decided: _decided,
    model.HeldForApproval: _held,
    model.HoldEnded: _hold_ended,
    model.Completed: _completed,
    model.Closed: _closed,
}
