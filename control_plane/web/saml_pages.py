"""Sign in at a SAML provider: where the browser begins, where it comes back, and what the provider reads of us.

The answer is posted by the provider's page, from another site and without the console's cookie: there is no CSRF token
to send. What stands in its place is the cookie of the sign-in that this browser began, and the answer itself.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.identities.cookies import Cookies
from control_plane.kit.access import BROWSER, Permission, Principal, open_to_all, requires
from control_plane.kit.errors import ProblemError
from control_plane.kit.http import client_address
from control_plane.kit.wiring import provided
from control_plane.sign_on.saml_browser import SamlCookie
from control_plane.sign_on.saml_flow import Begun, SamlFlow
from control_plane.sign_on.saml_logout import SamlLogout
from control_plane.web.rendering import HEADERS, page
from control_plane.web.routes import SEE_OTHER, PageRoute, local_path

router = APIRouter(prefix="/sign-in/saml", route_class=PageRoute, include_in_schema=False)
NOBODY_YET = open_to_all("whoever is to sign in is not signed in yet")
Flow = Annotated[SamlFlow, provided(SamlFlow)]
Logout = Annotated[SamlLogout, provided(SamlLogout)]
Browser = Annotated[SamlCookie, provided(SamlCookie)]
CookiePart = Annotated[Cookies, provided(Cookies)]
NextPath = Annotated[str, Query(max_length=2000)]
Provider = Annotated[str, Path(max_length=63)]
_METADATA: Final = "application/samlmetadata+xml"
_LONGEST_ANSWER: Final = 512 * 1024


@router.get("/{provider}", dependencies=[NOBODY_YET])
async def begin(
    request: Request,
    provider: Provider,
    flow: Flow,
    browser: Browser,
    next: NextPath = "/",  # noqa: A002 - the query's usual name
) -> Response:
    return _sent(browser, await flow.begin(provider, local_path(next), client_address(request)))


@router.get("/{provider}/again")
async def begin_again(
    request: Request,
    person: Annotated[Principal, requires(Permission.SELF, by=BROWSER)],
    provider: Provider,
    flow: Flow,
    browser: Browser,
    next: NextPath = "/",  # noqa: A002 - the query's usual name
) -> Response:
    """The same person proves anew who they are; their sign-in stays the same one."""
    begun = await flow.begin(provider, local_path(next), client_address(request), person.credential_id)
    return _sent(browser, begun)


@router.post("/{provider}/acs", dependencies=[open_to_all("the provider sends the browser here to sign in")])
async def finish(
    request: Request,
    provider: Provider,
    flow: Flow,
    browser: Browser,
    cookies: CookiePart,
    response: Annotated[str, Form(alias="SAMLResponse", max_length=_LONGEST_ANSWER)],
    relay: Annotated[str, Form(alias="RelayState", max_length=80)] = "",  # Bindings §3.5.3
) -> Response:
    try:
        finished = await flow.finish(provider, browser.of(request, relay), response, client_address(request))
    except ProblemError as error:
        refused = page(request, "problem.html", error.status, problem=error)
        browser.clear(refused, relay)
        return refused
    answer = RedirectResponse(local_path(finished.path), SEE_OTHER, HEADERS)
    browser.clear(answer, relay)
    if finished.opened is not None:
        cookies.set(answer, finished.opened)
    return answer


@router.get("/{provider}/slo", dependencies=[open_to_all("the provider's signature is what counts")])
async def leave(request: Request, provider: Provider, logout: Logout) -> Response:
    """Somebody has signed out there. The browser goes back to the provider, which may have others to tell."""
    there = await logout.leave(provider, request.url.query, client_address(request))
    return RedirectResponse(there or "/sign-in", SEE_OTHER, HEADERS)


@router.get("/{provider}/metadata", dependencies=[open_to_all("providers read there whom they sign people in for")])
async def metadata(provider: Provider, flow: Flow) -> Response:
    return Response(await flow.metadata(provider), media_type=_METADATA)


def _sent(browser: SamlCookie, begun: Begun) -> Response:
    answer = RedirectResponse(begun.url, SEE_OTHER, HEADERS)
    browser.set(answer, begun)
    return answer
