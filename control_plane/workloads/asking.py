"""A request for a token as it comes (RFC 6749 §3.2, RFC 8693 §2.1): a form, read strictly. Pure.

A parameter that stands twice is an error, but for `audience`; an empty one is as good as none; others are ignored.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from control_plane.workloads.errors import Code, RefusedError, not_the_client

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
CLIENT: Final = "client_credentials"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a name
LARGEST: Final = 64 * 1024
MOST_AUDIENCES: Final = 100
_MOST_FIELDS: Final = 150
_TAKEN: Final = (JWT, ID_TOKEN, ACCESS_TOKEN)
_ONCE: Final = (
    "grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type",
    "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "resource", "trust",
)  # fmt: skip


class Client(msgspec.Struct, frozen=True):
    """Exactly one of secret and assertion. `name` may be empty beside an assertion, which says it too."""

    name: str
    secret: str = ""
    assertion: str = ""

    def __repr__(self) -> str:
        return f"Client({self.name!r}, ***)"


class Asked(msgspec.Struct, frozen=True):
    """`targets` empty: a bearer for this API is asked for."""

    grant: Literal["exchange", "client"]
    targets: Sequence[str]
    subject: str = ""
    actor: str = ""
    client: Client | None = None
    trust: str = ""
    address: str = ""  # of whoever asks

    def __repr__(self) -> str:
        return f"Asked({self.grant}, {self.targets!r}, ***)"


def asked_of(body: bytes, authorization: str, address: str) -> Asked:
    """Raises RefusedError."""
    told, targets = _form(body)
    client = _client(told, authorization)
    for name in ("scope", "resource"):
        if name in told:
            code: Code = "invalid_scope" if name == "scope" else "invalid_target"
            raise RefusedError(code, f"`{name}` is not taken: name targets by `audience`")
    if told.get("requested_token_type", ACCESS_TOKEN) not in (ACCESS_TOKEN, JWT):
        raise RefusedError("invalid_request", f"`requested_token_type` is {ACCESS_TOKEN} or left out")
    grant = told.get("grant_type", "")
    if grant == CLIENT:
        if client is None:
            raise not_the_client("no client authentication")
        return Asked("client", targets, client=client, address=address)
    if grant != EXCHANGE:
        raise RefusedError("unsupported_grant_type", f"`grant_type` is {EXCHANGE} or {CLIENT}")
    subject, actor = (_token(told, name) for name in ("subject_token", "actor_token"))
    if not subject:
        raise RefusedError("invalid_request", "`subject_token` is missing")
    if actor and client:
        raise RefusedError("invalid_request", "`actor_token` or client authentication says who acts, not both")
    return Asked("exchange", targets, subject, actor, client, told.get("trust", ""), address)


def _form(body: bytes) -> tuple[Mapping[str, str], Sequence[str]]:
    if len(body) > LARGEST:
        raise RefusedError("invalid_request", f"the body has more than {LARGEST} bytes")
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=_MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except (UnicodeDecodeError, ValueError):
        raise RefusedError("invalid_request", "the body is no form (application/x-www-form-urlencoded)") from None
    given = [(name, value) for name, value in fields if value]
    names = [name for name, _ in given]
    if twice := [name for name in _ONCE if names.count(name) > 1]:
        raise RefusedError("invalid_request", f"`{twice[0]}` stands more than once")
    targets = list(dict.fromkeys(value for name, value in given if name == "audience"))
    if len(targets) > MOST_AUDIENCES:
        raise RefusedError("invalid_target", f"at most {MOST_AUDIENCES} targets at once")
    return {name: value for name, value in given if name in _ONCE}, targets


def _token(told: Mapping[str, str], name: str) -> str:
    token, kind = told.get(name, ""), told.get(f"{name}_type", "")
    if bool(token) != bool(kind):
        raise RefusedError("invalid_request", f"`{name}` and `{name}_type` go together")
    if kind and kind not in _TAKEN:
        raise RefusedError("invalid_request", f"`{name}_type` is one of {', '.join(_TAKEN)}")
    return token


def _client(told: Mapping[str, str], authorization: str) -> Client | None:
    """RFC 6749 §2.3: by one way only."""
    ways = [way for way in ("client_secret", "client_assertion") if told.get(way)]
    scheme, _, credentials = authorization.partition(" ")
    basic = _basic(credentials) if scheme.lower() == "basic" else None
    if len(ways) + (basic is not None) > 1:
        raise RefusedError("invalid_request", "a client proves itself in one way only")
    name = told.get("client_id", "")
    if basic is not None:
        if name not in ("", basic.name):
            raise RefusedError("invalid_request", "`client_id` is another than the header's")
        return basic
    if not ways:
        return None
    if ways == ["client_assertion"]:
        if told.get("client_assertion_type") != ASSERTION:
            raise RefusedError("invalid_request", f"`client_assertion_type` is {ASSERTION}")
        return Client(name, assertion=told["client_assertion"])
    if not name:
        raise RefusedError("invalid_request", "`client_id` is missing")
    return Client(name, secret=told["client_secret"])


def _basic(credentials: str) -> Client:
    try:
        name, colon, secret = base64.b64decode(credentials, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        name, colon, secret = "", "", ""
    if not (colon and name and secret):
        raise not_the_client("the Authorization header is not well-formed")
    return Client(unquote_plus(name), secret=unquote_plus(secret))
