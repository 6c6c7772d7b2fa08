"""What a client sent, read strictly: JSON of bounded size and depth, and text that both databases can keep. Pure.

Whatever is wrong raises a SCIMException, or pydantic's ValidationError with one inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from unicodedata import normalize

import msgspec
from scim2_models import (
    Context,
    InvalidFilterException,
    InvalidSyntaxException,
    InvalidValueException,
    PatchOp,
    Resource,
    SearchRequest,
)

from control_plane.scim.resources import MOST_OPERATIONS, POLICY, Group, User

LONGEST_NAME: Final = 255  # of what people and groups are called, and of external ids
LONGEST_TEXT: Final = 2048
MOST_EMAILS: Final = 20
MOST_MEMBERS: Final = 20_000
DEEPEST: Final = 12
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ASKED: Final = ("filter", "sortBy", "sortOrder", "startIndex", "count", "attributes", "excludedAttributes")

R = TypeVar("R", bound=Resource[Any])


def decoded(body: bytes) -> dict[str, Any]:
    """An object whose text may be kept."""
    try:
        sent = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSyntaxException(detail="the body is no JSON, or nested too deeply") from error
    if not isinstance(sent, dict):
        raise InvalidSyntaxException(detail="the body is not a JSON object")
    _check(sent, DEEPEST)
    return sent


def _check(value: object, depth: int) -> None:
    if depth == 0:
        raise InvalidSyntaxException(detail=f"nested more than {DEEPEST} times")
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            check_text(name)
            _check(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth - 1)


def check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise InvalidValueException(detail=f"no text has more than {LONGEST_TEXT} characters")
    if _CONTROL.search(text):
        raise InvalidValueException(detail="text has no control characters")


def created(model: type[R], sent: Mapping[str, Any]) -> R:
    return _whole(model, sent, Context.RESOURCE_CREATION_REQUEST)


def replaced(model: type[R], sent: Mapping[str, Any], original: R) -> R:
    """PUT: `sent` in place of the original, with what clients cannot change (RFC 7644 §3.5.1)."""
    replacement = _whole(model, sent, Context.RESOURCE_REPLACEMENT_REQUEST)
    with POLICY:
        replacement.replace(original)
    return replacement


def patched(model: type[R], sent: Mapping[str, Any], original: R) -> R:
    """PATCH: the original with these operations applied, all of them or none (RFC 7644 §3.5.2)."""
    operations = next((sent[name] for name in sent if name.lower() == "operations"), ())
    if isinstance(operations, list) and len(operations) > MOST_OPERATIONS:
        raise InvalidValueException(detail=f"a PATCH has at most {MOST_OPERATIONS} operations")
    shape: Any = PatchOp.__class_getitem__(model)
    patch = shape.model_validate(sent, scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=POLICY)
    result = original.model_copy(deep=True)
    patch.patch(result, scim_policy=POLICY)
    return result


def asked(model: type[R], sent: Mapping[str, Any]) -> SearchRequest[R]:
    """From the parameters of a GET, or the body of a POST to /.search."""
    known = {name: sent[name] for name in _ASKED if sent.get(name) not in (None, "")}
    for value in known.values():
        if isinstance(value, str):
            check_text(value)
    if isinstance(known.get("filter", ""), str):
        shape: Any = SearchRequest.__class_getitem__(model)
        request: SearchRequest[R] = shape.model_validate(known, scim_policy=POLICY)
        return request
    raise InvalidFilterException(detail="a filter is text")


def _whole(model: type[R], sent: Mapping[str, Any], context: Context) -> R:
    resource = model.model_validate(sent, scim_ctx=context, scim_policy=POLICY)
    resource.schemas = [str(model.__schema__)]
    return resource


def check_user(user: User) -> None:
    """After all changes: what is kept of people has bounds."""
    _named("userName", user.user_name)
    _short("externalId", user.external_id)
    if len(user.emails or ()) > MOST_EMAILS:
        raise InvalidValueException(detail=f"a person has at most {MOST_EMAILS} emails")


def check_group(group: Group) -> None:
    _named("displayName", group.display_name)
    _short("externalId", group.external_id)
    if len(group.members or ()) > MOST_MEMBERS:
        raise InvalidValueException(detail=f"a group has at most {MOST_MEMBERS} members")


def _named(attribute: str, text: str | None) -> None:
    if not (text or "").strip():
        raise InvalidValueException(detail=f"{attribute} is missing")
    _short(attribute, text)


def _short(attribute: str, text: str | None) -> None:
    if len(comparable(text or "")) > LONGEST_NAME:
        raise InvalidValueException(detail=f"{attribute} has at most {LONGEST_NAME} characters")


def comparable(text: str) -> str:
    """As text is compared in which case does not count; the same as filters do (scim2-models' policy)."""
    return normalize("NFC", normalize("NFC", text).lower())


def exact(text: str | None) -> str | None:
    """As external ids are compared and kept. None: there is none."""
    return normalize("NFC", text) if text else None


def email_of(user: User) -> str:
    """The primary address, else that for work, else the first one. Empty: none that can be kept."""
    ranked = sorted(user.emails or (), key=lambda one: (not one.primary, (one.type or "").lower() != "work"))
    found = next((one.value for one in ranked if one.value), "") or ""
    return found if len(found) <= LONGEST_NAME else ""
