"""Name patterns of rules: `schema.name` where `*` stands for any run of characters; nothing else is special.

Matching is linear in the name. A schema that the classifier could not tell is written `?`: such a name
matches an allowing pattern only when the pattern leaves the schema open.
"""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN_SCHEMA = "?."


def wrong(pattern: str) -> str:
    """What is wrong with a pattern; empty when it is good."""
    if pattern == "*":
        return ""
    schema, dot, name = pattern.partition(".")
    if not (schema and dot and name):
        return f"{pattern!r} is not schema.name; write the schema, such as public.{pattern.strip('.') or 'customers'}"
    if any(character in "?[]{}" or character.isspace() for character in pattern):
        return f"{pattern!r} has a character that no pattern may have; only * is special"
    return ""


def matches(pattern: str, name: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return name == first
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(rest[-1]) and name.endswith(rest[-1])


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that `narrow` matches, `wide` matches too (sufficient; both are good patterns)."""
    return wide == "*" or matches(wide, narrow)


class Patterns:
    """A rule's list of patterns, with plain names looked up instead of matched."""

    __slots__ = ("_open", "_plain", "_wild")

    def __init__(self, patterns: Iterable[str]) -> None:
        listed = tuple(patterns)
        self._plain = frozenset(pattern for pattern in listed if "*" not in pattern)
        self._wild = tuple(pattern for pattern in listed if "*" in pattern)
        self._open = tuple(listed)

    def surely(self, name: str) -> bool:
        """For allowing: the name as a whole matches. An unknown schema matches only where any schema does."""
        if name in self._plain:
            return True
        return any(matches(pattern, name) for pattern in self._wild)

    def perhaps(self, name: str) -> bool:
        """For holding and denying: it matches, or might, when its schema is not known."""
        if name.startswith(UNKNOWN_SCHEMA):
            return self._perhaps_in_some_schema(name[len(UNKNOWN_SCHEMA) :])
        return self.surely(name)

    def touches(self, names: frozenset[str]) -> bool:
        """Whether any of the names perhaps matches."""
        if not self._plain.isdisjoint(names):
            return True
        if not self._wild and not any(name.startswith(UNKNOWN_SCHEMA) for name in names):
            return False
        return any(self.perhaps(name) for name in names)

    def _perhaps_in_some_schema(self, bare: str) -> bool:
        return any(pattern == "*" or matches(pattern.partition(".")[2], bare) for pattern in self._open)
