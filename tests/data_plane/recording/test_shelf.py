"""Sealing: whole or not at all, whatever the disk does meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_plane.recording import reader
from data_plane.recording import shelf as shelf_module
from data_plane.recording.shelf import Shelf
from data_plane.recording.writer import Compressor, RecordingWriter
from tests.data_plane.recording.chains import OPENED, SESSION


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "spool", 1 << 20)


@pytest.fixture
def writer(shelf: Shelf) -> RecordingWriter:
    """Of a recording that has begun."""
    shelf.begin(SESSION)
    writer = RecordingWriter(SESSION)
    data = writer.chunk(Compressor().pack([OPENED]))
    shelf.append(writer, data)
    writer.written(data)
    return writer


def once_failing(call: Callable[..., Any]) -> Callable[..., Any]:
    failures = [OSError(5, "Input/output error")]

    def fails_once(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return call(*arguments)

    return fails_once


@pytest.mark.parametrize(("where", "name"), [(os, "fdatasync"), (Path, "rename"), (shelf_module, "_sync")])
def test_a_segment_that_could_not_be_sealed_at_first_is_whole_when_it_is(
    shelf: Shelf, writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    monkeypatch.setattr(where, name, once_failing(getattr(where, name)))
    with pytest.raises(OSError, match="Input/output error"):
        shelf.seal(writer)
    shelf.seal(writer)
    assert isinstance(reader.read(shelf.segment(SESSION, 0)), reader.Segment)


def test_a_sealed_segment_stays_sealed_over_a_loss_of_power(
    shelf: Shelf, writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Once uploaded it must not come back open, to be sealed with other bytes."""
    synced: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(shelf_module, "_sync", lambda path: synced.append((path, os.listdir(path))))
    shelf.seal(writer)
    assert synced == [(tmp_path / "spool" / SESSION, ["00000000.segment"])]
