"""Templates to answers. Jinja escapes everything; text of clients has been made safe to read before it comes here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from control_plane.kit.access import Permission, Principal

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
# The content-security policy comes with every answer, from kit/http.
HEADERS = {"cache-control": "no-store"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _instant(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else ""


def _relative(value: datetime | None, now: datetime) -> Markup:
    """How long ago or how far off, the instant itself in the title; the script keeps it true."""
    if value is None:
        return Markup()
    time = Markup('<time datetime="{}" title="{}" data-relative>{}</time>')
    return time.format(value.isoformat(), _instant(value), _distance((value - now).total_seconds()))


def _distance(seconds: float) -> str:
    """As `distance` of the script."""
    length, unit = next((size, name) for size, name in _UNITS if abs(seconds) >= size or name == "s")
    if unit == "s":
        return "just now" if seconds <= 0 else "in less than a minute"
    number = int(abs(seconds) // length)
    return f"{number} {unit} ago" if seconds < 0 else f"in {number} {unit}"


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _telling(facts: Mapping[str, Any]) -> str:
    """The facts that say something; a WHERE that is missing does."""
    kept = {name: value for name, value in facts.items() if value not in (False, "", [], -1, None)}
    if any(facts.get(name) in {"UPDATE", "DELETE"} for name in facts if name.endswith("command")):
        kept.update({name: value for name, value in facts.items() if name.endswith("has_where")})
    return "; ".join(f"{name}: {_told(value)}" for name, value in kept.items())


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["instant"] = _instant
    environment.filters["relative"] = _relative
    environment.filters["telling"] = _telling
    return environment


def _fresh(principal: Principal | None, now: datetime, seconds: float) -> bool:
    """Whether the sign-in was proven at most so long ago."""
    return principal is not None and (now - principal.authenticated_at).total_seconds() <= seconds


_TEMPLATES = _environment()


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The rendered template; `principal` is whoever is signed in, None for nobody."""
    principal = getattr(request.state, "principal", None)
    now: datetime = request.app.state.control_plane.clock.now()
    known = {
        "principal": principal,
        "may_review": principal is not None and principal.may(Permission.REVIEW),
        "section": "",
        "now": now,
        "fresh": partial(_fresh, principal, now),
        **values,
    }
    return HTMLResponse(_TEMPLATES.get_template(template).render(known), status, HEADERS)
