"""Who may call what, and with what. Authority is a table: roles give permissions, a route asks for exactly one, and
says which kinds of credential it takes.

    @router.post("/v1/targets")
    async def create(principal: Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]): ...

A route without `requires` or `open_to_all` fails a test, and so does one that a machine's credential may
call although it approves, changes policy or makes credentials (DESIGN invariant 5). What agents call says the same
with `agents/callers`. The README's table of who may do what is made from both.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from control_plane.kit.errors import ForbiddenError, UnauthenticatedError
from control_plane.kit.unit_of_work import Actor
from control_plane.kit.wiring import part_of
from data_plane.identifiers import CredentialId, IdentityId

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Permission(enum.StrEnum):
    SELF = "self"
    REQUEST = "request"
    REVIEW = "review"
    BREAK_GLASS = "break-glass"
    SESSIONS = "sessions"
    RECORDINGS = "recordings"
    TERMINATE = "terminate"
    POLICY_READ = "policy-read"
    POLICY_EDIT = "policy-edit"
    AUDIT = "audit"
    SECRETS = "secrets"
    CREDENTIALS = "credentials"
    ADMIN = "admin"
    PROVISION = "provision"


MEANING: Mapping[Permission, str] = {
    Permission.SELF: "what everybody may: see who one is and what is one's own, sign out",
    Permission.REQUEST: "connect to targets, get credentials for oneself, ask for plans and access",
    Permission.REVIEW: "see and decide approval requests",
    Permission.BREAK_GLASS: "override the chain of a request, where the chain allows it",
    Permission.SESSIONS: "see who is or was connected, accounts and agents",
    Permission.RECORDINGS: "replay and download what happened in sessions",
    Permission.TERMINATE: "end sessions",
    Permission.POLICY_READ: "read policies, chains, masks and targets",
    Permission.POLICY_EDIT: "change policies, chains and masks; apply documents",
    Permission.AUDIT: "read and export the audit log and reports of who has access",
    Permission.SECRETS: "write sealed secrets, see what is known about them",
    Permission.CREDENTIALS: "make and revoke what machines sign in with",
    Permission.ADMIN: "people, machines, groups, targets, agents, access reviews",
    Permission.PROVISION: "push people and groups (SCIM)",
}


# What a request came with: a browser's cookie, the command line's sign-in, a person's own API token, a service
# account's key, what a workload's identity was exchanged for, what a provider pushes identities with, and the word of
# another system that speaks for people (a webhook, Slack).
CredentialKind = Literal["console", "cli", "api-token", "key", "workload", "scim", "webhook"]

By = tuple[CredentialKind, ...]
BROWSER: Final[By] = ("console",)  # pages
SIGN_INS: Final[By] = ("console", "cli")  # somebody who has signed in themselves
PEOPLE: Final[By] = (*SIGN_INS, "api-token")
EVERYBODY: Final[By] = (*PEOPLE, "key", "workload")
PROVISIONERS: Final[By] = ("scim",)
_MACHINES: Final[By] = ("key", "workload", "scim")
_CALLED: Final[Mapping[CredentialKind, str]] = {
    "console": "a browser's sign-in",
    "cli": "a sign-in of the command line",
    "api-token": "an API token",
    "key": "a service account's key",
    "workload": "a workload's token",
    "scim": "a provisioning client's token",
    "webhook": "the word of another system",
}

Role = Literal[
    "admin",
    "policy-editor",
    "reviewer",
    "auditor",
    "requester",
    "break-glass",
    "recordings-reader",
    "credential-issuer",
]

_P = Permission
ROLES: Mapping[str, frozenset[Permission]] = {
    "admin": frozenset(
        {
            *(_P.ADMIN, _P.SECRETS, _P.CREDENTIALS, _P.POLICY_READ, _P.POLICY_EDIT),
            *(_P.AUDIT, _P.SESSIONS, _P.TERMINATE, _P.REQUEST),
        }
    ),
    "policy-editor": frozenset({_P.POLICY_READ, _P.POLICY_EDIT}),
    "reviewer": frozenset({_P.REVIEW, _P.POLICY_READ, _P.SESSIONS}),
    "auditor": frozenset({_P.AUDIT, _P.SESSIONS, _P.RECORDINGS, _P.POLICY_READ}),
    "requester": frozenset({_P.REQUEST}),
    "break-glass": frozenset({_P.BREAK_GLASS}),
    "recordings-reader": frozenset({_P.SESSIONS, _P.RECORDINGS}),
    "credential-issuer": frozenset({_P.CREDENTIALS}),
}


def permissions_of(roles: set[str]) -> frozenset[Permission]:
    return frozenset({Permission.SELF}).union(*(ROLES.get(role, frozenset()) for role in roles))


class Principal(msgspec.Struct, frozen=True):
    """Who is calling, as proven by the credential of this very request."""

    identity: IdentityId
    name: str
    kind: Literal["person", "machine"]
    groups: tuple[str, ...]
    permissions: frozenset[Permission]
    credential_id: CredentialId  # the sign-in or the service-account key
    authenticated_at: datetime
    credential_kind: CredentialKind = "cli"
    provider: str = ""  # who proved it; empty: this control plane
    acr: str = ""  # how well, in the provider's words
    amr: tuple[str, ...] = ()
    security_key_at: datetime | None = None  # when a security key of theirs last proved it to this control plane
    chain: tuple[IdentityId, ...] = ()  # on whose behalf, the first one first; they do not approve either
    csrf: str = ""  # not empty: came with a browser's cookie, so unsafe methods must send this back

    @property
    def actor(self) -> Actor:
        return Actor(self.identity, self.name, self.kind)

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions


class Authenticator(Protocol):
    """Finds out who sent a request; provided by `identities`."""

    async def authenticate(self, request: Request) -> Principal | None:
        """None: no credential, or one that is not (any more) good."""

    def csrf_matches(self, principal: Principal, sent: str) -> bool:
        """In constant time."""


class Uses(Protocol):
    """Keeps what of their permissions people and machines use; provided by `access_reviews`."""

    def note(self, principal: Principal, permission: Permission) -> None: ...


class AuthenticatorPart:
    """The key under which `assembly` provides the Authenticator, and who is told of what is let through."""

    def __init__(self, authenticator: Authenticator, uses: Uses | None = None) -> None:
        self.authenticator = authenticator
        self.uses = uses


class Access:
    """The access class of one route: a dependency that lets the right principals through."""

    def __init__(self, permission: Permission, by: By) -> None:
        self.permission = permission
        self.by = by

    @property
    def humans_only(self) -> bool:
        return not set(self.by).intersection(_MACHINES)

    async def __call__(self, request: Request) -> Principal:
        principal = await current_principal(request)
        if principal is None:
            raise UnauthenticatedError("sign in first", headers={"www-authenticate": "Bearer"})
        self.permit(principal)
        if principal.csrf and request.method not in _SAFE_METHODS:
            await _check_csrf(request, principal)
        if uses := part_of(request.app, AuthenticatorPart).uses:
            uses.note(principal, self.permission)
        return principal

    def permit(self, principal: Principal) -> None:
        """Raises ForbiddenError."""
        if self.humans_only and principal.kind != "person":
            raise ForbiddenError("only a person may do this, never a machine's credential")
        if principal.credential_kind not in self.by:
            taken = " or ".join(_CALLED[kind] for kind in self.by)
            raise ForbiddenError(f"{_CALLED[principal.credential_kind]} is not taken here: it takes {taken}")
        if not principal.may(self.permission):
            raise ForbiddenError(
                f"this needs the permission {self.permission}; an admin gives it through a group's role"
            )


class Open:
    """The access class of a route that anybody may call, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def __call__(self) -> None:
        """Lets everybody through."""


def requires(permission: Permission, *, by: By) -> Any:
    return Depends(Access(permission, by))


def open_to_all(reason: str) -> Any:
    """For `dependencies=[open_to_all("…")]` of a route."""
    return Depends(Open(reason))


def calls_of(routes: Iterable[BaseRoute]) -> dict[str, Access | Open]:
    """By "METHOD /path", what every route has declared. Raises TypeError for a route that declares nothing, or more
    than one thing."""
    found: dict[str, Access | Open] = {}
    for route in every_route(routes):
        declared = _declared(route.dependant)
        if len(declared) != 1:
            raise TypeError(f"{route.path} declares {len(declared)} access classes; it needs exactly one")
        found.update((f"{method} {route.path}", declared[0]) for method in route.methods or ())
    return found


def every_route(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Routers that are included stay as they are; this walks into them."""
    pending = list(routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            yield route
        pending += getattr(getattr(route, "original_router", None), "routes", [])


def _declared(dependant: Dependant) -> list[Access | Open]:
    mine = [dependant.call] if isinstance(dependant.call, Access | Open) else []
    return mine + [one for inner in dependant.dependencies for one in _declared(inner)]


async def current_principal(request: Request) -> Principal | None:
    """Authenticates a request once; console pages that show something to everybody use it directly."""
    if not hasattr(request.state, "principal"):
        request.state.principal = await _authenticator(request).authenticate(request)
    principal: Principal | None = request.state.principal
    return principal


async def _check_csrf(request: Request, principal: Principal) -> None:
    sent = request.headers.get(CSRF_HEADER, "")
    if not sent and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(CSRF_FIELD)
        sent = field if isinstance(field, str) else ""
    if not _authenticator(request).csrf_matches(principal, sent):
        raise ForbiddenError("the CSRF token is missing or wrong; load the page again")


def _authenticator(request: Request) -> Authenticator:
    return part_of(request.app, AuthenticatorPart).authenticator


# The everyday annotations: somebody signed in, whoever it is; and somebody who looks at a page.
SignedIn = Annotated[Principal, requires(Permission.SELF, by=EVERYBODY)]
Visitor = Annotated[Principal, requires(Permission.SELF, by=BROWSER)]
