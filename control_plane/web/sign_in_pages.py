"""Sign in and out of the console: by name and password, or by a one-time link from the command line."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.identities.cookies import Cookies
from control_plane.identities.sign_in_links import SignInLinkService
from control_plane.identities.sign_ins import OpenedSignIn, SignInService
from control_plane.kit.access import BROWSER, Permission, Principal, current_principal, open_to_all, requires
from control_plane.kit.errors import ProblemError
from control_plane.kit.http import client_address
from control_plane.kit.secret import Secret
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.sign_on.choices import SignInChoices
from control_plane.sign_on.oidc_logout import OidcLogout
from control_plane.web.rendering import page
from control_plane.web.routes import FROM_THIS_SITE, SEE_OTHER, PageRoute, local_path

router = APIRouter(route_class=PageRoute, include_in_schema=False)
NOBODY_YET = open_to_all("whoever is to sign in is not signed in yet")
SignIns = Annotated[SignInService, provided(SignInService)]
Choices = Annotated[SignInChoices, provided(SignInChoices)]
Links = Annotated[SignInLinkService, provided(SignInLinkService)]
CookiePart = Annotated[Cookies, provided(Cookies)]
NextPath = Annotated[str, Form(max_length=2000)]


@router.get("/sign-in", dependencies=[NOBODY_YET])
async def sign_in_form(
    request: Request,
    units: UnitsOfWork,
    choices: Choices,
    next: str = "/",  # noqa: A002 - the query's usual name
) -> Response:
    return await _form(request, units, choices, next)


@router.post("/sign-in", dependencies=[NOBODY_YET, FROM_THIS_SITE])
async def sign_in(
    request: Request,
    sign_ins: SignIns,
    units: UnitsOfWork,
    choices: Choices,
    cookies: CookiePart,
    name: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=256)],
    next: NextPath = "/",  # noqa: A002 - the form's usual name
) -> Response:
    try:
        opened = await sign_ins.sign_in(name, Secret(password), "console", client_address(request))
    except ProblemError as error:
        return await _form(request, units, choices, next, name, error)
    return _signed_in(cookies, opened, local_path(next))


@router.get("/sign-in/link", dependencies=[NOBODY_YET])
async def link_form(request: Request) -> Response:
    """The script posts the code from the URL's fragment, unless somebody is signed in: then they press the button.
    Without a script there is a field to paste it into."""
    principal = await current_principal(request)
    return page(request, "sign_in_link.html", who="" if principal is None else principal.name)


@router.post("/sign-in/link", dependencies=[NOBODY_YET, FROM_THIS_SITE])
async def redeem_link(
    links: Links, units: UnitsOfWork, cookies: CookiePart, code: Annotated[str, Form(max_length=256)]
) -> Response:
    async with units() as uow:
        opened = await links.redeem(uow, code)
    return _signed_in(cookies, opened, "/")


@router.post("/sign-out")
async def sign_out(
    request: Request,
    principal: Annotated[Principal, requires(Permission.SELF, by=BROWSER)],
    sign_ins: SignIns,
    cookies: CookiePart,
    units: UnitsOfWork,
    elsewhere: Annotated[OidcLogout, provided(OidcLogout)],
) -> Response:
    there = await elsewhere.url_at_provider(principal)
    async with units() as uow:
        await sign_ins.sign_out(uow, principal)
    answer = _on_to(request, principal, there) if there else RedirectResponse("/sign-in", SEE_OTHER)
    cookies.clear(answer)
    return answer


def _on_to(request: Request, principal: Principal, url: str) -> Response:
    """A page that leads there: a form's answer may not (the policy lets forms lead to this console only)."""
    request.state.principal = None
    answer = page(request, "signed_out.html", provider=principal.provider, url=url)
    answer.headers["refresh"] = f"0; url={url}"
    return answer


async def _form(
    request: Request,
    units: UnitsOfWork,
    choices: SignInChoices,
    wanted: str,
    name: str = "",
    error: ProblemError | None = None,
) -> Response:
    async with units.reading() as uow:
        ways = await choices.now(uow)
    status, problem = (error.status, error.detail) if error else (200, "")
    return page(request, "sign_in.html", status, ways=ways, next=local_path(wanted), name=name, problem=problem)


def _signed_in(cookies: Cookies, opened: OpenedSignIn, path: str) -> Response:
    answer = RedirectResponse(path, SEE_OTHER)
    cookies.set(answer, opened)
    return answer
