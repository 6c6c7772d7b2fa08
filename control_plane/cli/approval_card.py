"""One request on a terminal: everything that a reviewer is shown, complete, whatever kind of request it is."""

from __future__ import annotations

from typing import Any

from rich.panel import Panel

from control_plane.cli.client import Json
from control_plane.cli.output import cell, console, say

_WIDTH = 14


def print_approval(approval: Json) -> None:
    title = f"{cell(approval['short_code'])} · {cell(approval['state'])}"
    console.print(Panel.fit(_asked(approval), title=title))
    if approval["hidden_characters"]:
        say(f"[bold red]{approval['hidden_characters']} hidden characters are written out above[/bold red]")
    operation = approval["operation"]
    if operation:
        _parameters(operation)
    _impact(approval)
    facts = {**_who(approval), **(_what(operation) if operation else {}), **_how(approval), **_so_far(approval)}
    for name, value in facts.items():
        if value:
            say(f"[bold]{name:<{_WIDTH}}[/bold]{cell(value)}")
    for one in approval["comments"]:
        note = "" if one["kind"] == "person" else " (untrusted text)"
        say(f"[bold]{'comment':<{_WIDTH}}[/bold]{cell(one['by'])}{note}: {cell(one['text'])}")
    if approval["nobody_told"]:
        say("[bold red]no channel could tell anybody of this request outside the console[/bold red]")


def _asked(approval: Json) -> str:
    plan = approval["plan"]
    if not plan:
        return cell(approval["text"])
    return "\n".join(f"{one['number']:>3}. {cell(one['text'])}" for one in plan["statements"])


def _parameters(operation: Json) -> None:
    for parameter in operation["parameters"]:
        note = "" if parameter["decoded"] else " [dim](hex: not decoded)[/dim]"
        value = "NULL" if parameter["null"] else cell(parameter["value"])
        say(f"  {cell(parameter['name'])} {cell(parameter['type'])} = {value}{note}")


def _impact(approval: Json) -> None:
    impact, guard = approval["impact"], approval["row_guard"]
    for title in ("count", "dry_run", "estimate") if impact else ():
        figure = impact[title]
        if figure:
            rows, label = "none:", figure["missing"]
            if figure["rows"] is not None:
                rows, label = f"{figure['rows']:,} row{'' if figure['rows'] == 1 else 's'}", figure["label"]
            say(f"[bold]{title.replace('_', ' '):<{_WIDTH}}[/bold]{cell(rows)} [dim]{cell(label)}[/dim]")
    for note in impact["notes"] if impact else ():
        say(f"{'':<{_WIDTH}}[dim]{cell(note)}[/dim]")
    if guard:
        say(f"[bold]{'row guard':<{_WIDTH}}[/bold]{cell(guard['says'])}")


def _who(approval: Json) -> dict[str, Any]:
    by, on = approval["requested_by"], approval["on"]
    owner = f", owned by {by['owner']['name']}" if by["owner"] else ""
    application, address = by["application_name"], f" from {by['client_address']}" if by["client_address"] else ""
    return {
        "requester": f"{by['name']} ({by['kind']}{owner}){address} with {by['credential']}",
        "on behalf of": _behind(by),
        "application": f"{application} (told by the client)" if application else "",
        "says": f"{approval['said']} (untrusted)" if approval["said"] else "",
        "target": f"{on['name']} ({on['environment']}, {on['protocol']})" if on["name"] else "",
        "undo": f"{approval['undo']['kind']}; {approval['undo']['how']}" if approval["undo"] else "",
    }


def _behind(by: Json) -> str:
    """Empty: it acts for itself."""
    named = [f"{one['name']} ({one['kind']})" for one in by.get("on_behalf_of", [])]
    return " → ".join([*named, by["name"]]) if named else ""


def _what(operation: Json) -> dict[str, Any]:
    inside = ", inside an open transaction" if operation["in_transaction"] else ""
    return {
        "does": f"{operation['action']}: {', '.join(operation['verbs'])}{inside}",
        "touches": [f"{thing['name']} ({'/'.join(thing['access'])})" for thing in operation["resources"]],
    }


def _how(approval: Json) -> dict[str, Any]:
    how, plan, offer = approval["how"], approval["plan"], approval["window_offered"]
    return {
        "window": f"at most {offer['most']} like: {offer['shape']}" if offer else "",
        "covers": f"each once{', in this order' if plan['ordered'] else ''}, and only exactly so" if plan else "",
        "where": [f"{name} = {value}" for name, value in plan["session_state"].items()] if plan else "",
        "identical": f"{len(approval['alike'])} more wait, and are decided with it: sessions "
        + ", ".join(f"{one['session_id']} from {one['client_address']}" for one in approval["alike"])
        if approval["alike"]
        else "",
        "rule": f"{approval['rule']}, chain {approval['chain']}",
        "decided by": how["channels"],
        "fresh sign-in": f"not older than {how['reauthenticate_seconds']:.0f} s"
        if how["reauthenticate_seconds"]
        else "",
        "proven by": [*how["acr"], *how["amr"]],
        "signed": "with the security key of whoever approves, in the console" if how["security_key"] else "",
    }


def _so_far(approval: Json) -> dict[str, Any]:
    glass, you, pending = approval["broken_glass"], approval["you"], approval["state"] == "pending"
    place = you["in_place_of"]
    mine = f"may decide{' in the place of ' + place['delegator'] if place else ''}"
    return {
        "stages": "; then ".join(_stage(one) for one in approval["stages"]),
        "ended": approval["reason"] if not pending else "",
        "waits for": approval["waits_for"] if pending else "",
        "approve by": approval["approve_by"] if pending else "",
        "decided": [_decision(one) for one in approval["decisions"]],
        "window used": _window(approval["window"]) if approval["window"] else "",
        "why you": you["place"],
        "stand-ins": [f"{one['delegate']} for {one['delegator']}" for one in approval["stand_ins"]],
        "broken glass": f"by {glass['by']}: {glass['reason']}" if glass else "",
        "elsewhere": [f"{one['label']} {one['url']}" for one in approval["links"]],
        "you": mine if you["may_decide"] else you["why"] if pending else "",
        "silence": approval["silence"] if pending else "",
        "digest": approval["digest"],
    }


def _window(window: Json) -> str:
    return (
        f"{window['used']} of {window['uses']}, {'open until' if window['open'] else 'over,'} {cell(window['until'])}"
    )


def _stage(stage: Json) -> str:
    return f"{stage['needs']} ({stage['missing']} missing)" if stage["missing"] else f"{stage['needs']} (agreed)"


def _decision(one: Json) -> str:
    place = f" for {one['in_place_of']}" if one["in_place_of"] else ""
    return f"{one['name']}{place}: {one['verb']} by {one['channel']} {one['reason']}".strip()
