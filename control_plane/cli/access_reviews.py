"""`assentry access-reviews`: campaigns in which owners confirm what lasts; and `assentry identities report`."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_json, print_list, say, visible
from control_plane.kit.clock import SystemClock

app = typer.Typer(no_args_is_help=True, help="Owners confirm what is still needed, or lose it.")
COLUMNS: Final = ("id", "name", "state", "opened_by", "opened_at", "deadline_at", "closed_at")
ITEMS: Final = (
    *("number", "state", "kind", "identity", "description", "owner", "last_used_at", "findings"),
    *("decided_by", "comment"),
)
ACCESS: Final = ("name", "kind", "owner", "able", "last_seen_at", "permissions", "unused", "has", "findings")
Review = Annotated[str, typer.Argument(help="id, as `assentry access-reviews list` shows it")]
Numbers = Annotated[list[int], typer.Argument(help="as `assentry access-reviews show` lists them")]
Comment = Annotated[str, typer.Option("--comment", "-c", help="kept with the decision")]


class FileFormat(enum.StrEnum):
    CSV = "csv"
    JSON = "json"


FileOption = Annotated[FileFormat, typer.Option("--format", "-f", help="csv, or json: a line for each")]


def report(
    look: Annotated[bool, typer.Option("--findings", help="only what deserves a look")] = False,
    export: Annotated[FileFormat | None, typer.Option(help="the whole report as a file, to standard output")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 1000,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what everybody has access by, its last use, what they use of what they may do, and what deserves a look."""
    api = Api(load_profile())
    if export is not None:
        _print_file(api, "/v1/identities/report/export", export)
        return
    found = [one for one in api.pages("/v1/identities/report", limit) if not look or _findings(one)]
    if output is Format.JSON:
        print_json(found)
        return
    print_list([{**one, "has": _has(one), "findings": _findings(one)} for one in found], ACCESS, output)


def _findings(access: Json) -> list[str]:
    """Of the identity, and of what it has, each once."""
    of_things = [f"{thing['kind']} {finding}" for thing in access["things"] for finding in thing["findings"]]
    return list(dict.fromkeys([*access["findings"], *of_things]))


def _has(access: Json) -> list[str]:
    counted: dict[str, int] = {}
    for thing in access["things"]:
        counted[thing["kind"]] = counted.get(thing["kind"], 0) + 1
    return [kind if count == 1 else f"{count} {kind}s" for kind, count in counted.items()]


@app.command("list")
def list_reviews(limit: Annotated[int, typer.Option(min=1)] = 50, output: OutputOption = Format.TABLE) -> None:
    """List campaigns, newest first: as an auditor or admin all, else those that ask you."""
    print_list(Api(load_profile()).pages("/v1/access-reviews", limit), COLUMNS, output)


@app.command("open")
def open_review(
    name: Annotated[str, typer.Argument(help="what people call it")],
    days: Annotated[int, typer.Option(min=1, max=180, help="until the deadline")] = 14,
    output: OutputOption = Format.TABLE,
) -> None:
    """Ask every owner what of theirs is still needed; what nobody confirms by the deadline is lost."""
    deadline = SystemClock().now() + timedelta(days=days)
    body: Json = {"name": name, "deadline_at": deadline.isoformat(timespec="seconds")}
    print_fields(Api(load_profile()).post("/v1/access-reviews", body), COLUMNS, output)


@app.command()
def show(
    review: Review,
    mine: Annotated[bool, typer.Option("--mine", help="only what you are asked about")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what is asked, and what became of it."""
    shown = Api(load_profile()).get(f"/v1/access-reviews/{part(review)}")
    shown["items"] = [one for one in shown["items"] if one["yours"] or not mine]
    if output is Format.JSON:
        print_json(shown)
        return
    print_fields(shown, COLUMNS, output)
    print_list(shown["items"], ITEMS, output)


@app.command()
def keep(review: Review, numbers: Numbers, comment: Comment = "") -> None:
    """Confirm that what is yours is still needed."""
    _decide(review, numbers, "keep", comment)


@app.command()
def end(review: Review, numbers: Numbers, comment: Comment = "") -> None:
    """End what is yours and not needed any more: at once, with all that rests on it."""
    _decide(review, numbers, "end", comment)


def _decide(review: str, numbers: list[int], decision: str, comment: str) -> None:
    api = Api(load_profile())
    for number in numbers:
        body: Json = {"decision": decision, "comment": comment}
        item = api.post(f"/v1/access-reviews/{part(review)}/items/{number}/decide", body)
        say(f"{number} {cell(item['kind'])} of {cell(item['identity'])}: {cell(item['state'])}")


@app.command()
def cancel(review: Review) -> None:
    """Stop asking: nothing more is lost by it."""
    done = Api(load_profile()).post(f"/v1/access-reviews/{part(review)}/cancel")
    say(f"{cell(done['name'])} is {cell(done['state'])}")


@app.command()
def export(review: Review, form: FileOption = FileFormat.CSV) -> None:
    """Write what was asked and what became of it to standard output."""
    _print_file(Api(load_profile()), f"/v1/access-reviews/{part(review)}/export", form)


def _print_file(api: Api, path: str, form: FileFormat) -> None:
    with api.stream(path, format=form.value) as lines:
        for line in lines:
            typer.echo(visible(line))
