"""Who may call what. Authority is a table: roles give permissions, a route asks for exactly one.

    @router.post("/v1/targets")
    async def create(principal: Annotated[Principal, requires(Permission.ADMIN, humans_only=True)]): ...

A route without `requires` or `open_to_all` fails a test, and so does one that a machine's credential may
call although it approves, changes policy or makes credentials (DESIGN invariant 5).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

import msgspec
from fastapi import Depends, Request

from control_plane.kit.errors import ForbiddenError, UnauthenticatedError
from control_plane.kit.unit_of_work import Actor
from control_plane.kit.wiring import part_of
from data_plane.identifiers import CredentialId, IdentityId

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Permission(enum.StrEnum):
    SELF = "self"  # what everybody may: see who one is, sign out
    REQUEST = "request"  # connect to targets, get credentials for oneself, see one's own sessions and requests
    REVIEW = "review"  # see and decide approval requests
    BREAK_GLASS = "break-glass"  # override the chain of a request, where the chain allows it
    SESSIONS = "sessions"  # see the sessions of others, and replay them
    TERMINATE = "terminate"  # end sessions
    POLICY_READ = "policy-read"
    POLICY_EDIT = "policy-edit"  # policies, chains, masks
    AUDIT = "audit"
    SECRETS = "secrets"  # write sealed secrets, see what is known about them
    ADMIN = "admin"  # identities, groups, keys of service accounts, targets, agents
    PROVISION = "provision"  # push people and groups (SCIM): of no role, of a client's token only


# What a request came with: a browser's cookie, the command line's sign-in, a person's own API token, a service
# account's key, what a workload's identity was exchanged for, what a provider pushes identities with, and the word of
# another system that speaks for people (a webhook, Slack).
CredentialKind = Literal["console", "cli", "api-token", "key", "workload", "scim", "webhook"]

Role = Literal["admin", "policy-editor", "reviewer", "auditor", "requester", "break-glass"]

_P = Permission
ROLES: Mapping[str, frozenset[Permission]] = {
    "admin": frozenset(
        {_P.ADMIN, _P.SECRETS, _P.POLICY_READ, _P.POLICY_EDIT, _P.AUDIT, _P.SESSIONS, _P.TERMINATE, _P.REQUEST}
    ),
    "policy-editor": frozenset({_P.POLICY_READ, _P.POLICY_EDIT}),
    "reviewer": frozenset({_P.REVIEW, _P.POLICY_READ, _P.SESSIONS}),
    "auditor": frozenset({_P.AUDIT, _P.SESSIONS, _P.POLICY_READ}),
    "requester": frozenset({_P.REQUEST}),
    "break-glass": frozenset({_P.BREAK_GLASS}),
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


class AuthenticatorPart:
    """The key under which `assembly` provides the Authenticator."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.authenticator = authenticator


class Access:
    """The access class of one route: a dependency that lets the right principals through."""

    def __init__(self, permission: Permission, *, humans_only: bool) -> None:
        self.permission = permission
        self.humans_only = humans_only

    async def __call__(self, request: Request) -> Principal:
        principal = await current_principal(request)
        if principal is None:
            raise UnauthenticatedError("sign in first", headers={"www-authenticate": "Bearer"})
        self._permit(principal)
        if principal.csrf and request.method not in _SAFE_METHODS:
            await _check_csrf(request, principal)
        return principal

    def _permit(self, principal: Principal) -> None:
        if self.humans_only and principal.kind != "person":
            raise ForbiddenError("only a person may do this, never a machine's credential")
        if not principal.may(self.permission):
            raise ForbiddenError(
                f"this needs the permission {self.permission}; an admin gives it through a group's role"
            )


class Open:
    """The access class of a route that anybody may call, and why."""

    security_key_at: datetime | None = None  # when a security key of theirs last proved it to this control plane
    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self) -> None:
        """Lets everybody through."""


def requires(permission: Permission, *, humans_only: bool = False) -> Any:
    return Depends(Access(permission, humans_only=humans_only))


def open_to_all(reason: str) -> Any:
    """For `dependencies=[open_to_all("…")]` of a route."""
    return Depends(Open(reason))


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


# The everyday annotation: somebody signed in, whoever it is.
SignedIn = Annotated[Principal, requires(Permission.SELF)]
