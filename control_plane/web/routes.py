"""The class of page routes: whoever is not signed in is sent to the sign-in page, other errors become a page."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from control_plane.kit.errors import (
    ForbiddenError,
    NotFoundError,
    ProblemError,
    UnauthenticatedError,
    http_problem,
)
from control_plane.web.rendering import page

SEE_OTHER = 303
_OF_PROGRAMS = ("/v1/", "/scim/", "/static/")


class PageRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except UnauthenticatedError as error:
                if request.method == "GET" and request.url.path != "/sign-in":
                    return RedirectResponse(f"/sign-in?next={quote(_wanted(request))}", SEE_OTHER)
                return page(request, "problem.html", error.status, problem=error)
            except ProblemError as error:
                return page(request, "problem.html", error.status, problem=error)

        return handle


async def missing(request: Request, error: Exception) -> Response:
    """For an address that nothing answers to: a page where a browser asks for one."""
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith(_OF_PROGRAMS):
        return page(request, "problem.html", 404, problem=NotFoundError("there is no such page in this console"))
    return await http_problem(request, error)


async def _from_this_site(request: Request) -> None:
    """No other site signs a browser in, as somebody of its choice: there is no cookie yet that a token could be of.
    What says nothing of where it comes from is no browser of today, or this console without https."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise ForbiddenError("this form was sent by another site; sign in from this one")


FROM_THIS_SITE = Depends(_from_this_site)


def _wanted(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def local_path(path: str) -> str:
    """Where to go after signing in: a path of this console, never another site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
