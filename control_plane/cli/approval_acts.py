"""`assentry approvals …`: what people do with a request besides deciding, who stands in for whom, and broken glass."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

import typer

from control_plane.cli.approval_card import print_approval
from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.fresh import freshly
from control_plane.cli.output import Format, OutputOption, print_fields, print_list, say
from control_plane.kit.clock import SystemClock
from data_plane.policy import durations

Reference = Annotated[str, typer.Argument(help="short code or id")]
REVIEWS = ("short_code", "target", "by", "reason", "verdict", "review_by", "closed_by")
DELEGATIONS = ("id", "delegate", "delegator", "until", "chains", "environments", "note")
STATISTICS = (
    "name", "decisions", "share_approved", "median_seconds", "p90_seconds", "fastest_seconds", "rubber_stamping",
)  # fmt: skip
DECIDED = ("short_code", "state", "waits_for")


def comment(
    reference: Reference,
    text: Annotated[str, typer.Argument(help="shown to everybody who sees the request")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Comment on a request; decides nothing."""
    api = Api(load_profile())
    made = api.post(f"/v1/approvals/{_found(api, reference)['id']}/comments", {"text": text})
    print_fields(made, ("by", "at", "text"), output)


def withdraw(
    reference: Reference,
    reason: Annotated[str, typer.Option("--reason", "-r", help="told to the waiting client")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Take a request of your own, or of your machines, back."""
    api = Api(load_profile())
    done = api.post(f"/v1/approvals/{_found(api, reference)['id']}/withdraw", {"reason": reason})
    print_fields(done, ("short_code", "state", "reason"), output)


def break_glass(
    reference: Reference,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="what the emergency is", prompt="What the emergency is")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Override the chain in an emergency: everybody skipped is told, and somebody else must review it."""
    api = Api(load_profile())
    approval = _found(api, reference)
    if not approval["you_may"]["break_glass"]:
        raise CommandError(approval["you_may"]["why_not_break_glass"])
    if not yes:
        print_approval(approval)
        if not typer.confirm("Override the chain and let this run?"):
            raise CommandError("nothing was decided")
    body = {"digest": approval["digest"], "reason": reason}
    print_fields(freshly(api, f"/v1/approvals/{approval['id']}/break-glass", body), DECIDED, output)


def end_window(
    reference: Reference,
    reason: Annotated[str, typer.Option("--reason", "-r", help="why")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """End a window early: nothing more runs in it."""
    api = Api(load_profile())
    path = f"/v1/approvals/{_found(api, reference)['id']}/end-window"
    print_fields(api.post(path, {"reason": reason}), ("short_code", "state", "reason"), output)


def reviews(
    show: Annotated[Literal["open", "overdue", "closed", "all"], typer.Option(help="which")] = "open",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the reviews of broken glass, newest first."""
    print_list(Api(load_profile()).pages("/v1/break-glass-reviews", limit, show=show), REVIEWS, output)


def review(
    reference: Reference,
    verdict: Annotated[Literal["justified", "not-justified"], typer.Option(help="what you found")],
    comment: Annotated[str, typer.Option("--comment", "-c", help="why", prompt=True)],
    output: OutputOption = Format.TABLE,
) -> None:
    """Close the review of a chain that somebody else has overridden."""
    api = Api(load_profile())
    path = f"/v1/break-glass-reviews/{_found(api, reference)['id']}/close"
    print_fields(api.post(path, {"verdict": verdict, "comment": comment}), REVIEWS, output)


def statistics(
    last: Annotated[str, typer.Option(help="of the time until now, such as 7d")] = "30d",
    output: OutputOption = Format.TABLE,
) -> None:
    """Show how reviewers decide: how fast, and how often they agree."""
    since = SystemClock().now() - timedelta(seconds=_seconds(last, "--last"))
    found = Api(load_profile()).get("/v1/approvals/statistics", **{"from": since.isoformat()})
    print_list(found["reviewers"], STATISTICS, output)


def delegate(
    to: Annotated[str, typer.Argument(help="a person who is a reviewer")],
    lasting: Annotated[str, typer.Option("--for", help="how long, such as 8h or 5d")],
    chains: Annotated[list[str] | None, typer.Option("--chain", help="only this chain; may be repeated")] = None,
    environments: Annotated[
        list[str] | None, typer.Option("--environment", help="only this environment; may be repeated")
    ] = None,
    note: Annotated[str, typer.Option(help="why")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Hand your place as a reviewer to another reviewer until an end; they cannot hand it on."""
    until = SystemClock().now() + timedelta(seconds=_seconds(lasting, "--for"))
    body = {
        "delegate": to,
        "until": until.isoformat(),
        "chains": chains or [],
        "environments": environments or [],
        "note": note,
    }
    print_fields(Api(load_profile()).post("/v1/delegations", body), DELEGATIONS, output)


def delegations(
    mine: Annotated[bool, typer.Option("--mine", help="only those that you gave or were given")] = False,
    over: Annotated[bool, typer.Option("--over", help="those that are over, too")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    output: OutputOption = Format.TABLE,
) -> None:
    """List who stands in for whom."""
    print_list(Api(load_profile()).pages("/v1/delegations", limit, mine=mine, over=over), DELEGATIONS, output)


def take_back(delegation: Annotated[str, typer.Argument(help="its id")]) -> None:
    """End a delegation now; what was agreed under it no longer counts."""
    Api(load_profile()).delete(f"/v1/delegations/{part(delegation)}")
    say("taken back")


def _seconds(text: str, option: str) -> float:
    try:
        return durations.seconds(text)
    except durations.DurationError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _found(api: Api, reference: str) -> Json:
    found: Json = api.get(f"/v1/approvals/{part(reference)}")
    return found


COMMANDS = (comment, withdraw, break_glass, end_window, reviews, review, statistics, delegate, delegations, take_back)
