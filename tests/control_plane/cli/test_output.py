"""What reaches a terminal: nothing that it would obey, and JSON that says the same all the same."""

from __future__ import annotations

import json
import re

import pytest

from control_plane.cli.output import Format, cell, print_fields, print_json, print_list, visible
from control_plane.cli.replay import joined, print_event

HOSTILE = "a\x1b[2Jb\u202ec\x7f\U000e0041"


def test_characters_that_a_terminal_obeys_are_written_out() -> None:
    assert visible(HOSTILE) == "a\\u001b[2Jb\\u202ec\\u007f\\udb40\\udc41"
    assert visible("gr\u00fc\u00df \U0001f600\n") == "gr\u00fc\u00df \U0001f600\n"


def test_markup_from_outside_is_text() -> None:
    assert cell("[red]x[/red]") == "\\[red]x\\[/red]"


def test_json_is_safe_to_print_and_reads_back_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": HOSTILE})
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed) == {"text": HOSTILE}


def test_a_table_in_a_pipe_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "x" * 300, "requested_at": "2026-01-02T03:04:05.678Z", "open": True}]
    print_list(rows, ("id", "requested_at", "open"), Format.TABLE)
    (heading, row) = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "requested", "at", "open"]
    assert row.split() == ["x" * 300, "2026-01-02", "03:04:05Z", "yes"]


def test_an_empty_table_says_so_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_list([], ("id",), Format.TABLE)
    assert capsys.readouterr().err == "(none)\n"


def test_fields_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"name": "ada", "groups": ["a", "b"]}, ("name", "groups", "email"), Format.TABLE)
    assert capsys.readouterr().out == "name    ada\ngroups  a, b\nemail\n"


def result(at_ms: int, **fields: object) -> dict[str, object]:
    empty = {"columns": None, "rows": [], "messages": [], "text": "", "tags": [], "unreadable": ""}
    return {"kind": "result", "operation": 1, "at_ms": at_ms, **empty, **fields}


PIECES = [
    {"kind": "input", "at_ms": 0},
    result(1, columns=[{"name": "a"}]),
    result(1, rows=[["1"]]),
    result(5, rows=[["2"]], tags=["SELECT 2"]),
    result(5, columns=[{"name": "b"}], tags=["SELECT 0"]),
    {"kind": "completed", "at_ms": 6},
]


def test_the_pieces_of_a_result_are_one_table() -> None:
    told = list(joined(PIECES, whole=True))
    assert [event["kind"] for event in told] == ["input", "result", "result", "completed"]
    assert told[1]["rows"] == [["1"], ["2"]]
    assert told[2]["columns"] == [{"name": "b"}]


def test_what_stands_under_a_line_of_a_replay_begins_beside_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    parameter = {"name": "$1", "type": "text", "value": "two\nlines"}
    text = "SELECT 1\nWHERE $1"
    print_event({"kind": "input", "at_ms": 1500, "operation": 3, "text": text, "parameters": [parameter]})
    for event in joined(PIECES[1:-1], whole=True):
        print_event(event)
    first, *under = capsys.readouterr().out.splitlines()
    at = first.index("SELECT 1")
    assert {line[:at].strip() for line in under if not re.match(r" *\d+\.\d+ s", line)} == {""}
    assert all(len(line) < 80 for line in under), "a table is no wider in a pipe than what is in it"
    assert [line[at:] for line in under[:3]] == ["WHERE $1", "$1 = two", "lines"]


def test_with_real_timing_only_what_came_together_is_put_together() -> None:
    told = list(joined(PIECES, whole=False))
    assert [(event["at_ms"], event.get("rows")) for event in told] == [
        (0, None), (1, [["1"]]), (5, [["2"]]), (5, []), (6, None),
    ]  # fmt: skip
