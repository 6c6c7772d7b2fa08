"""Templates to answers. Jinja escapes everything; text of clients has been made safe to read before it comes here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
# The content-security policy comes with every answer, from kit/http.
HEADERS = {"cache-control": "no-store"}


def _instant(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else ""


def _telling(facts: Mapping[str, Any]) -> str:
    """The facts that say something; a WHERE that is missing does."""
    kept = {name: value for name, value in facts.items() if value not in (False, "", [], -1, None)}
    if any(facts.get(name) in {"UPDATE", "DELETE"} for name in facts if name.endswith("command")):
        kept.update({name: value for name, value in facts.items() if name.endswith("has_where")})
    return "; ".join(
        f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in kept.items()
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["instant"] = _instant
    environment.filters["telling"] = _telling
    return environment


_TEMPLATES = _environment()


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The rendered template; `principal` is whoever is signed in, None for nobody."""
    known = {"principal": getattr(request.state, "principal", None), "section": "", **values}
    return HTMLResponse(_TEMPLATES.get_template(template).render(known), status, HEADERS)
