"""`assentry plan`, `apply` and `export`: targets, policies, chains, masks, groups and identities as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.client import Api, ApiError, Json
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, print_json, say, visible, warn
from control_plane.cli.yaml_documents import LoadedDocument, dump_documents, load_documents

Files = Annotated[
    list[Path],
    typer.Option("--file", "-f", help="a YAML file, or a folder with any number of them; as often as needed"),
]
Prune = Annotated[bool, typer.Option(help="also delete what was applied before and stands in no file now")]
Detailed = Annotated[bool, typer.Option("--detailed-exitcode", help="exit with 3 when something would change")]

DIFFERENT = 3
MARKS = {"create": "[green]+[/green]", "update": "[yellow]~[/yellow]", "delete": "[red]-[/red]"}
INDEXED = re.compile(r"^\$\.documents\[(\d+)\](.*)$")
OTHER = re.compile(r"^\$\.documents\[(\d+)\] has it too$")


def plan(files: Files, prune: Prune = False, detailed: Detailed = False, output: OutputOption = Format.TABLE) -> None:
    """Show what applying the files would change; changes nothing."""
    changes = _send("plan", files, prune)
    _print_changes(changes, output, "to {}")
    if detailed and any(change["change"] != "unchanged" for change in changes):
        raise typer.Exit(DIFFERENT)


def apply(files: Files, prune: Prune = False, output: OutputOption = Format.TABLE) -> None:
    """Make the control plane be as the files say: all of it or nothing."""
    _print_changes(_send("apply", files, prune), output, "{}d")


def export(
    files: Annotated[Path | None, typer.Option("--file", "-f", help="write here instead of to the terminal")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write everything that there is as YAML that `apply` reads back."""
    documents = Api(load_profile()).get("/v1/documents/export")["documents"]
    if output is Format.JSON:
        print_json(documents)
    elif files is None:
        typer.echo(dump_documents(documents), nl=False)
    else:
        files.write_text(dump_documents(documents), encoding="utf-8")
        say(f"{len(documents)} documents written to {cell(files)}")


def _send(verb: str, files: Sequence[Path], prune: bool) -> list[Json]:
    loaded = [document for file in files for document in load_documents(file)]
    body = {"documents": [document.content for document in loaded], "prune": prune}
    try:
        changes: list[Json] = Api(load_profile()).post(f"/v1/documents/{verb}", body)["changes"]
    except ApiError as error:
        if not error.problem.get("errors"):
            raise
        for problem in error.problem["errors"]:
            warn(f"[red]error[/red] {cell(_place(problem, loaded))}")
        raise typer.Exit(1) from error
    return changes


def _place(problem: Json, loaded: Sequence[LoadedDocument]) -> str:
    """file:line:column and field of a problem, or the path when it is about something that no file holds."""
    message, path = str(problem["message"]), str(problem["path"])
    match = INDEXED.match(path)
    if match is None or int(match[1]) >= len(loaded):
        return f"{path}: {message}"
    if (other := OTHER.match(message)) and int(other[1]) < len(loaded):
        message = f"{loaded[int(other[1])].place('$.metadata.name')} has it too"
    field = match[2].lstrip(".")
    return f"{loaded[int(match[1])].place('$' + match[2])}: {field + ': ' if field else ''}{message}"


def _print_changes(changes: Sequence[Json], output: Format, done: str) -> None:
    """`done` says of `create` what happens to it or happened."""
    if output is Format.JSON:
        print_json(changes)
        return
    for change in changes:
        if change["change"] == "unchanged":
            continue
        say(f"{MARKS[change['change']]} {cell(change['kind'])} [bold]{cell(change['name'])}[/bold]")
        for difference in change["diff"]:
            path = visible(difference["path"].removeprefix("$."))
            say(cell(f"    {path}: {_value(difference['before'])} → {_value(difference['after'])}"))
    counts = {kind: sum(change["change"] == kind for change in changes) for kind in MARKS}
    say(", ".join(f"{count} {done.format(kind)}" for kind, count in counts.items() if count) or "No changes.")


def _value(value: Any) -> str:
    return "(nothing)" if value is None else json.dumps(value, ensure_ascii=False)
