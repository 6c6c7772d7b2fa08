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
from control_plane.cli.output import Format, OutputOption, console, errors, print_json, visible
from control_plane.cli.yaml_documents import LoadedDocument, dump_documents, load_documents

Files = Annotated[Path, typer.Option("--file", "-f", help="a YAML file, or a folder with any number of them")]
Prune = Annotated[bool, typer.Option(help="also delete what was applied before and stands in no file now")]
Detailed = Annotated[bool, typer.Option("--detailed-exitcode", help="exit with 3 when something would change")]

DIFFERENT = 3
MARKS = {"create": "[green]+[/green]", "update": "[yellow]~[/yellow]", "delete": "[red]-[/red]"}
INDEXED = re.compile(r"^\$\.documents\[(\d+)\](.*)$")


def plan(files: Files, prune: Prune = False, detailed: Detailed = False, output: OutputOption = Format.TABLE) -> None:
    """Show what applying the files would change; changes nothing."""
    changes = _send("plan", files, prune)
    _print_changes(changes, output)
    if detailed and any(change["change"] != "unchanged" for change in changes):
        raise typer.Exit(DIFFERENT)


def apply(files: Files, prune: Prune = False, output: OutputOption = Format.TABLE) -> None:
    """Make the control plane be as the files say: all of it or nothing."""
    _print_changes(_send("apply", files, prune), output)


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
        console.print(f"{len(documents)} documents written to {files}")


def _send(verb: str, files: Path, prune: bool) -> list[Json]:
    loaded = load_documents(files)
    body = {"documents": [document.content for document in loaded], "prune": prune}
    try:
        changes: list[Json] = Api(load_profile()).post(f"/v1/documents/{verb}", body)["changes"]
    except ApiError as error:
        if not error.problem.get("errors"):
            raise
        for problem in error.problem["errors"]:
            errors.print(f"[red]error[/red] {_place(problem, loaded)}", soft_wrap=True)
        raise typer.Exit(1) from error
    return changes


def _place(problem: Json, loaded: Sequence[LoadedDocument]) -> str:
    """file:line:column and field of a problem, or the path when it is about something that no file holds."""
    message = visible(str(problem["message"]))
    match = INDEXED.match(problem["path"])
    if match is None or int(match[1]) >= len(loaded):
        return f"{visible(problem['path'])}: {message}"
    field = match[2].lstrip(".")
    return f"{loaded[int(match[1])].place('$' + match[2])}: {field + ': ' if field else ''}{message}"


def _print_changes(changes: Sequence[Json], output: Format) -> None:
    if output is Format.JSON:
        print_json(changes)
        return
    for change in changes:
        if change["change"] == "unchanged":
            continue
        console.print(f"{MARKS[change['change']]} {change['kind']} [bold]{change['name']}[/bold]")
        for difference in change["diff"]:
            path = difference["path"].removeprefix("$.")
            console.print(f"    {path}: {_value(difference['before'])} → {_value(difference['after'])}", markup=False)
    counts = {kind: sum(change["change"] == kind for change in changes) for kind in (*MARKS, "unchanged")}
    console.print(
        ", ".join(f"{count} to {kind}" for kind, count in counts.items() if kind in MARKS and count) or "No changes."
    )


def _value(value: Any) -> str:
    return "(nothing)" if value is None else visible(json.dumps(value, ensure_ascii=False))
