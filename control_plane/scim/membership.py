"""What a PATCH or PUT says of a group's members, told apart from the rest of it. Pure.

A group may have thousands of members, and a request mostly adds or removes one: so members are a set that is changed,
not a list that is read, copied and written back. What cannot be told apart so is None, and is done the long way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

_MEMBERS: Final = re.compile(r"(urn:ietf:params:scim:schemas:core:2\.0:Group:)?members", re.IGNORECASE)
_ONE: Final = re.compile(
    r'(?:urn:ietf:params:scim:schemas:core:2\.0:Group:)?members\[\s*value\s+eq\s+"([A-Za-z0-9_-]{1,64})"\s*\]',
    re.IGNORECASE,
)


class Change(msgspec.Struct, frozen=True):
    """`whole`: those who join are all that there are."""

    whole: bool = False
    joining: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.whole or bool(self.joining or self.leaving)

    def then_join(self, ids: Iterable[str]) -> Change:
        new = frozenset(ids)
        return Change(self.whole, self.joining | new, self.leaving - new)

    def then_leave(self, ids: Iterable[str]) -> Change:
        gone = frozenset(ids)
        return Change(self.whole, self.joining - gone, frozenset() if self.whole else self.leaving | gone)


class Parted(msgspec.Struct, frozen=True):
    change: Change
    rest: dict[str, Any]  # the same request without members; a PATCH without operations has nothing left to do


def part_patch(sent: Mapping[str, Any]) -> Parted | None:
    """None: it says something of members that takes more than a set, or is not as a PATCH should be."""
    name = next((name for name in sent if name.lower() == "operations"), "")
    operations = sent.get(name)
    if not isinstance(operations, list):
        return None
    change, rest = Change(), []
    for operation in operations:
        parted = _part(change, operation) if isinstance(operation, dict) else None
        if parted is None:
            return None
        change, left = parted
        rest += left
    return Parted(change, {**sent, name: rest})


def part_whole(sent: Mapping[str, Any]) -> Parted | None:
    """For POST and PUT: who is not named is no member."""
    name = _members_key(sent)
    ids = _ids(sent[name]) if name else ()
    if ids is None:
        return None
    return Parted(Change(True, frozenset(ids)), {key: value for key, value in sent.items() if key != name})


def _part(change: Change, operation: dict[str, Any]) -> tuple[Change, list[dict[str, Any]]] | None:
    verb, path, value = str(operation.get("op")).lower(), operation.get("path"), operation.get("value")
    if path is None:
        return _part_pathless(change, verb, operation, value)
    if not isinstance(path, str):
        return None
    if one := _ONE.fullmatch(path.strip()):
        return (change.then_leave([one[1]]), []) if verb == "remove" and value is None else None
    if _MEMBERS.fullmatch(path.strip()):
        changed = _changed(change, verb, value)
        return None if changed is None else (changed, [])
    return None if "members" in path.lower() else (change, [operation])


def _part_pathless(
    change: Change, verb: str, operation: dict[str, Any], value: object
) -> tuple[Change, list[dict[str, Any]]] | None:
    if not isinstance(value, dict):
        return change, [operation]  # refused by whoever applies it
    name = _members_key(value)
    if not name:
        return None if any("members" in key.lower() for key in value) else (change, [operation])
    changed = _changed(change, verb, value[name]) if verb != "remove" else None
    if changed is None:
        return None
    left = {key: inner for key, inner in value.items() if key != name}
    return changed, [{**operation, "value": left}] if left else []


def _changed(change: Change, verb: str, value: object) -> Change | None:
    if verb == "remove" and value is None:
        return Change(whole=True)
    ids = _ids(value)
    if ids is None:
        return None
    match verb:
        case "add":
            return change.then_join(ids) if ids else None
        case "replace":
            return Change(True, frozenset(ids))
        case "remove":
            return change.then_leave(ids) if ids else None
    return None


def _members_key(value: Mapping[str, Any]) -> str:
    return next((name for name in value if _MEMBERS.fullmatch(name)), "")


def _ids(given: object) -> list[str] | None:
    """None: these are no members that have an id and nothing else to look at."""
    listed = [given] if isinstance(given, dict) else given
    if not isinstance(listed, list):
        return None
    ids: list[str] = []
    for one in listed:
        if not isinstance(one, dict) or str(one.get("type") or "User") != "User":
            return None
        value = one.get("value")
        if not isinstance(value, str) or not value:
            return None
        ids.append(value)
    return ids
