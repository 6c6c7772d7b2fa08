"""`assentry secrets`: what the control plane keeps sealed. A value comes by file, pipe or prompt, and never out again.

Never by an argument: arguments are seen by every user of the machine and kept in the shell's history.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, ApiError, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_list, say, warn

app = typer.Typer(no_args_is_help=True, help="Secrets that the control plane keeps sealed for agents.")
COLUMNS: Final = ("name", "version", "changed", "changed_by", "targets", "delivered_to", "known_to", "wrapping_key")
FIELDS: Final = (*COLUMNS[:3], "changed_by", "created", *COLUMNS[4:])
KEYS: Final = ("wrapping_key", "configured", "wraps", "secrets", "files")
_MOST_BYTES: Final = 1 << 16
_NOT_FOUND: Final = 404
Name = Annotated[str, typer.Argument(help="name of the secret; targets name it in `credential: {secret: …}`")]


@app.callback()
def group() -> None:
    """Secrets that the control plane keeps sealed for agents."""


@app.command("list")
def list_secrets(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """What is known about every secret; never a value."""
    found = Api(load_profile()).pages("/v1/secrets", limit)
    print_list(found if output is Format.JSON else map(_row, found), COLUMNS, output)


@app.command("show")
def show(name: Name, output: OutputOption = Format.TABLE) -> None:
    """What is known about one; never its value."""
    found = Api(load_profile()).get(f"/v1/secrets/{part(name)}")
    print_fields(found if output is Format.JSON else _row(found), FIELDS, output)


@app.command("set")
def set_secret(
    name: Name,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", "-f", help="read it from this file, without the last line end")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Write a secret: from a file, from a pipe, or asked for on the terminal without showing it."""
    value = _value(from_file)
    api = Api(load_profile())
    path = f"/v1/secrets/{part(name)}"
    made = api.put(path, {"value": value}, _seen(api, path))
    print_fields(made if output is Format.JSON else _row(made), ("name", "version", "targets"), output)


@app.command()
def delete(name: Name) -> None:
    """Delete a secret, unless a target uses it."""
    api = Api(load_profile())
    path = f"/v1/secrets/{part(name)}"
    api.delete(path, if_match=f'"{api.get(path)["version"]}"')
    say(f"{cell(name)} is deleted")


@app.command()
def rewrap(output: OutputOption = Format.TABLE) -> None:
    """Wrap every data key with the first wrapping key, in the background: then the others can be removed."""
    found = Api(load_profile()).post("/v1/secrets/rewrap")
    if output is Format.JSON:
        print_list([found], (), output)
        return
    say("begun; `assentry secrets status` shows how much is left under which key")


@app.command()
def status(output: OutputOption = Format.TABLE) -> None:
    """How much is sealed with which wrapping key; the exit code is 1 when something cannot be opened."""
    found = Api(load_profile()).get("/v1/sealing")
    if output is Format.JSON:
        print_fields(found, (), output)
    else:
        print_list(found["keys"], KEYS, output)
        _tell(found["rewrap"])
    if any(key["beside"] and key["wraps"] for key in found["keys"]):
        warn("[yellow]the wrapping key lies beside what it seals: set ASSENTRY_WRAPPING_KEYS, then rewrap[/yellow]")
    if any(not key["configured"] for key in found["keys"]):
        warn("[red]what is sealed with a key that is not configured cannot be opened: add it again[/red]")
        raise typer.Exit(1)


def _tell(asked: Json | None) -> None:
    if asked is None:
        return
    if asked["done_at"]:
        say(f"everything was wrapped with {cell(asked['wrapping_key'])} at {cell(asked['done_at'])}")
    else:
        say(f"being wrapped with {cell(asked['wrapping_key'])}, asked for by {cell(asked['asked_by'])}")
    if asked["problem"]:
        warn(f"[yellow]{cell(asked['problem'])}[/yellow]")


def _seen(api: Api, path: str) -> str | None:
    """The ETag of what is there; None: nothing is."""
    try:
        return f'"{api.get(path)["version"]}"'
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return None
        raise


def _value(from_file: Path | None) -> str:
    if from_file is not None:
        text = _text(from_file.read_bytes())
    elif sys.stdin.isatty():
        text = typer.prompt("Value", hide_input=True, confirmation_prompt="The same again")
    else:
        text = _text(sys.stdin.buffer.read(_MOST_BYTES + 1))
    if not text:
        raise CommandError("there is no value: give --from-file, or send it through a pipe")
    return text


def _text(content: bytes) -> str:
    if len(content) > _MOST_BYTES:
        raise CommandError(f"a secret is not larger than {_MOST_BYTES} bytes")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CommandError("a secret is text in UTF-8") from None


def _row(secret: Json) -> Json:
    newest = [one for one in secret["deliveries"] if one["version"] == secret["version"]]
    return {
        **secret,
        "changed": secret["changed_at"],
        "created": secret["created_at"],
        "delivered_to": sorted({one["agent"] for one in newest if one["serves"]}),
        "known_to": sorted({one["agent"] for one in newest if not one["serves"]}),
    }
