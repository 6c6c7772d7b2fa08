"""What the command prints: tables and coloured text for people, JSON for scripts. Text from outside is escaped."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class Format(enum.StrEnum):
    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="table for people, json for scripts")]


def visible(text: str) -> str:
    """Text that cannot move the cursor, colour the terminal or reorder itself: such characters are written out."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in text)


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(part) for part in value)
    return escape(visible(str(value)))


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_list(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], output: Format) -> None:
    """The rows, whole as JSON or these columns as a table."""
    listed = list(rows)
    if output is Format.JSON:
        print_json(listed)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in listed:
        table.add_row(*(cell(row.get(column)) for column in columns))
    console.print(table)


def print_fields(value: Mapping[str, Any], fields: Sequence[str], output: Format) -> None:
    """One object: whole as JSON, or these fields a line each."""
    if output is Format.JSON:
        print_json(value)
        return
    width = max(len(field) for field in fields)
    for field in fields:
        console.print(f"[bold]{field.replace('_', ' '):<{width}}[/bold]  {cell(value.get(field))}")
