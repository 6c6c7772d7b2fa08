"""Sign in to the console at an OpenID provider, and prove there again who one is.

The start is a link, not a form: the content-security policy lets forms lead to this console only. What comes back is in
the query of a page that keeps nothing; the browser's cookie of this one flow says that it was this browser's.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.identities.cookies import Cookies
from control_plane.kit.access import BROWSER, Permission, Principal, current_principal, open_to_all, requires
from control_plane.kit.http import client_address
from control_plane.kit.wiring import provided
from control_plane.sign_on.oidc_flow import LIFETIME, Begun, OidcFlow, flow_of
from control_plane.web.routes import SEE_OTHER, PageRoute, local_path

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Flow = Annotated[OidcFlow, provided(OidcFlow)]
CookiePart = Annotated[Cookies, provided(Cookies)]
Provider = Annotated[str, Path(max_length=64)]
NextPath = Annotated[str, Query(max_length=2000)]
_NOT_STORED = {"cache-control": "no-store"}
_SINGLE = ("state", "code", "iss", "error")


@router.get("/sign-in/oidc/{provider}", dependencies=[open_to_all("whoever is to sign in is not signed in yet")])
async def start(
    request: Request,
    flow: Flow,
    cookies: CookiePart,
    provider: Provider,
    next: NextPath = "/",  # noqa: A002 - the query's usual name
) -> Response:
    begun = await flow.begin(provider, local_path(next), client_address(request))
    return _sent(cookies, begun)


@router.get("/sign-in/oidc/{provider}/again")
async def again(
    request: Request,
    principal: Annotated[Principal, requires(Permission.SELF, by=BROWSER)],
    flow: Flow,
    cookies: CookiePart,
    provider: Provider,
    next: NextPath = "/",  # noqa: A002 - the query's usual name
) -> Response:
    address, sign_in = client_address(request), principal.credential_id
    return _sent(cookies, await flow.begin(provider, local_path(next), address, "again", sign_in))


@router.get(
    "/sign-in/oidc/{provider}/callback", dependencies=[open_to_all("the provider sends the browser here to sign in")]
)
async def callback(request: Request, flow: Flow, cookies: CookiePart, provider: Provider) -> Response:
    answer = _answer(request)
    name = cookies.of_flow(flow_of(answer.get("state", "")))
    principal, address = await current_principal(request), client_address(request)
    finished = await flow.finish(provider, answer, request.cookies.get(name, ""), address, principal)
    response = RedirectResponse(local_path(finished.path), SEE_OTHER, _NOT_STORED)
    cookies.forget(response, name)
    if finished.opened is not None:
        cookies.set(response, finished.opened)
    return response


def _sent(cookies: Cookies, begun: Begun) -> Response:
    response = RedirectResponse(begun.url, SEE_OTHER, _NOT_STORED)
    cookies.keep(response, cookies.of_flow(begun.flow), begun.cookie, int(LIFETIME.total_seconds()))
    return response


def _answer(request: Request) -> dict[str, str]:
    """Nothing when a parameter is there twice: it would be a question of who reads which (RFC 6749 §3.1)."""
    query = request.query_params
    return {} if any(len(query.getlist(name)) > 1 for name in _SINGLE) else dict(query)
