"""`assentry audit`: export the log, and verify an export offline with nothing but public keys."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from control_plane.audit.chain import Checkpoint
from control_plane.audit.verification import ENOUGH, Problem, Verification, verify
from control_plane.cli.client import Api, Json
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, cell, print_json, print_list, say, warn

app = typer.Typer(no_args_is_help=True, help="The audit log.")
_ENTRY: Final = '{"type":"entry"'  # beside them: the head, and signatures
_MOST_TOLD: Final = 10  # problems of one kind
_OF_DECISIONS: Final = ("effect", "action", "rules", "code")


class PublicKey(msgspec.Struct, frozen=True):
    key_id: str
    public_key: str  # base64 of the raw Ed25519 key


@app.command("list")
def list_entries(
    kind: Annotated[str, typer.Option(help="`policy.updated`, or `policy.` for all of them")] = "",
    actor: Annotated[str, typer.Option(help="name or id")] = "",
    subject: str = "",
    since: Annotated[str, typer.Option(help="2026-01-31T12:00:00Z")] = "",
    until: Annotated[str, typer.Option(help="2026-01-31T12:00:00Z")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    output: OutputOption = Format.TABLE,
) -> None:
    """Search the log, newest first."""
    wanted = {"kind": kind, "actor": actor, "subject": subject, "since": since or None, "until": until or None}
    entries = Api(load_profile()).pages("/v1/audit", limit, **wanted)
    shown = entries if output is Format.JSON else ({**one, "actor": one["actor"]["name"]} for one in entries)
    print_list(shown, ("sequence", "at", "kind", "actor", "subject"), output)


@app.command()
def decisions(
    session: Annotated[str, typer.Argument(help="of this session only; else of all")] = "",
    since: Annotated[str, typer.Option(help="2026-01-31T12:00:00Z")] = "",
    until: Annotated[str, typer.Option(help="2026-01-31T12:00:00Z")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 200,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what policy said of each operation, newest first."""
    wanted = {"kind": "operation.decided", "subject": session, "since": since or None, "until": until or None}
    entries = Api(load_profile()).pages("/v1/audit", limit, **wanted)
    print_list(islice(_decided(entries), limit), ("at", "session", "operation", *_OF_DECISIONS), output)


def _decided(entries: Iterable[Json]) -> Iterator[Json]:
    for entry in entries:
        if entry["unreadable"]:
            warn(f"[red]entry {entry['sequence']} cannot be read[/red]: {cell(entry['unreadable'])}")
        yield from ({"session": entry["subject"], **decision} for decision in reversed(entry["decisions"]))


@app.command()
def export(
    to: Annotated[Path, typer.Option("--file", "-f", help="- is standard output")] = Path("audit.ndjson"),
    keys: Annotated[Path | None, typer.Option(help="also write the public keys here, for `verify`")] = None,
) -> None:
    """Write the whole log, signed at its end, as NDJSON."""
    api = Api(load_profile())
    entries = 0
    written = nullcontext(sys.stdout) if str(to) == "-" else to.open("w", encoding="utf-8")
    with written as file, api.stream("/v1/audit/export") as stream:
        for line in stream:
            file.write(line + "\n")
            entries += line.startswith(_ENTRY)
    if keys is not None:
        keys.write_bytes(msgspec.json.encode(api.get("/v1/audit/public-keys")))
    if str(to) != "-":
        say(f"{entries} entries written to {cell(to)}")


@app.command()
def checkpoint(to: Annotated[Path | None, typer.Option("--file", "-f", help="write it here")] = None) -> None:
    """Sign the end of the log. Kept somewhere else, it shows later that an export was cut: `verify --checkpoint`."""
    signed = Api(load_profile()).get("/v1/audit/checkpoint")
    if to is None:
        print_json(signed)
    else:
        to.write_bytes(msgspec.json.encode(signed))
        say(f"entry {signed['sequence']} is signed in {cell(to)}")


@app.command("verify")
def verify_export(
    export_file: Annotated[Path, typer.Argument(help="what `audit export` wrote")],
    keys: Annotated[
        Path | None, typer.Option(help="public keys, kept from before; else the control plane is asked")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="a checkpoint (JSON) seen earlier: the export must contain it")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Check that no entry was changed, removed, added or moved. Exit code 1 when one was."""
    trusted = _kept_keys(keys) if keys else public_keys(Api(load_profile()))
    seen = _kept_checkpoint(checkpoint) if checkpoint else None
    with export_file.open("rb") as lines:
        result = verify(lines, trusted, seen)
    if output is Format.JSON:
        print_json({**msgspec.to_builtins(result), "intact": result.intact})
    else:
        _print_result(result)
    if not result.intact:
        raise typer.Exit(1)


def public_keys(api: Api) -> dict[str, bytes]:
    """The control plane's keys by key id. An auditor who trusts nobody keeps them from before."""
    return _parsed_keys(msgspec.json.encode(api.get("/v1/audit/public-keys")))


def _kept_keys(file: Path) -> dict[str, bytes]:
    try:
        return _parsed_keys(file.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise CommandError(f"{file}: not the public keys that `audit export --keys` writes: {error}") from error


def _kept_checkpoint(file: Path) -> Checkpoint:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Checkpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: not a checkpoint that `audit checkpoint` writes: {error}") from error


def _parsed_keys(raw: bytes) -> dict[str, bytes]:
    return {key.key_id: base64.b64decode(key.public_key) for key in msgspec.json.decode(raw, type=list[PublicKey])}


def _print_result(result: Verification) -> None:
    _print_first(result.problems, "red")
    _print_first(result.unreadable, "yellow", "as its agent sent it, and unreadable: ")
    signed = f"; {result.signed} decisions signed with security keys" if result.signed else ""
    span = f"{result.entries} entries ({result.events} events), {result.first_sequence} to {result.last_sequence}"
    span += signed
    say(f"[green]intact[/green]: {span}" if result.intact else f"[red]NOT intact[/red]: {span}")


def _print_first(problems: Sequence[Problem], colour: str, before: str = "") -> None:
    for problem in problems[:_MOST_TOLD]:
        where = f"line {problem.line}" if problem.line else "the export"
        say(f"[{colour}]{where}[/{colour}]: {before}{cell(problem.message)}")
    if (more := len(problems) - _MOST_TOLD) > 0:
        least = "at least " if len(problems) == ENOUGH else ""
        say(f"… and {least}{more} more; --output json names them")
