"""What the command prints: tables and coloured text for people, JSON for scripts. Text from outside is escaped.

On a terminal tables fit its width; in a pipe they are as wide as they need, so that `grep` sees whole lines.
"""

from __future__ import annotations

import enum
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_IN_A_PIPE: Final = 4000
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
_WHOLE: Final = ("id", "short_code", "key", "token")  # columns that are copied: never folded


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if stream.isatty() else _IN_A_PIPE)


console = _console(stderr=False)
errors = _console(stderr=True)


class Format(enum.StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="table for people, json for scripts")]


def visible(text: str) -> str:
    """Text that cannot move the cursor, colour the terminal or reorder itself: such characters are written out."""
    return "".join(char if char.isprintable() or char in "\n\t" else _written_out(char) for char in text)


def _written_out(char: str) -> str:
    """As JSON escapes it, above U+FFFF in two halves."""
    return json.dumps(char)[1:-1] if ord(char) != 0x7F else "\\u007f"


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(part) for part in value)
    text = str(value)
    if instant := _INSTANT.fullmatch(text):
        return f"{instant[1]} {instant[2]}Z"
    return escape(visible(text))


def say(text: str) -> None:
    """One line of markup, never wrapped."""
    console.print(text, soft_wrap=True)


def warn(text: str) -> None:
    """One line of markup for people, beside the output."""
    errors.print(text, soft_wrap=True)


def print_json(value: Any) -> None:
    """Indented. Escapes in strings keep what a terminal would obey from being printed; the value stays the same."""
    sys.stdout.write(visible(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def print_json_line(value: Any) -> None:
    """One line, at once: what reads it may wait for the next."""
    sys.stdout.write(visible(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def print_list(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], output: Format) -> None:
    """The rows, whole as JSON or these columns as a table."""
    listed = list(rows)
    if output is Format.JSON:
        print_json(listed)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column in _WHOLE)
    for row in listed:
        table.add_row(*(cell(row.get(column)) for column in columns))
    console.print(table)
    if not listed:
        warn("[dim](none)[/dim]")


def print_fields(value: Mapping[str, Any], fields: Sequence[str], output: Format) -> None:
    """One object: whole as JSON, or these fields a line each."""
    if output is Format.JSON:
        print_json(value)
        return
    width = max(len(field) for field in fields)
    for field in fields:
        label = field.replace("_", " ")
        say(f"[bold]{label}[/bold]{' ' * (width - len(label) + 2)}{cell(value.get(field))}".rstrip())


def end_of_output() -> None:
    """The reader of the pipe has gone: what is left to write goes nowhere, without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
