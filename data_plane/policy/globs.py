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

    __slots__ = ("_all", "_others", "_plain", "_prefixes", "_wild")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._all = tuple(patterns)
        self._wild = wild = [pattern for pattern in self._all if "*" in pattern]
        self._plain = frozenset(pattern for pattern in self._all if "*" not in pattern)
        self._prefixes = tuple(pattern[:-1] for pattern in wild if pattern.index("*") == len(pattern) - 1)
        self._others = tuple(pattern for pattern in wild if pattern.index("*") < len(pattern) - 1)

    @property
    def keys(self) -> tuple[str, ...] | None:
        """Whole names, and `schema.` for a whole schema, when the patterns are nothing else: they can be looked up."""
        if self._others or any(not prefix or prefix.find(".") != len(prefix) - 1 for prefix in self._prefixes):
            return None
        return (*self._plain, *self._prefixes)

    def cover(self, narrow: Patterns) -> bool:
        """Whether every name that one of `narrow` matches, one of these matches too (sufficient, see `covers`)."""
        return all(each in self._plain or any(covers(wide, each) for wide in self._wild) for each in narrow._all)

    def surely(self, name: str) -> bool:
        """For allowing: the name as a whole matches. An unknown schema matches only where any schema does."""
        if name in self._plain or name.startswith(self._prefixes):
            return True
        return bool(self._others) and any(matches(pattern, name) for pattern in self._others)

    def all_surely(self, names: frozenset[str]) -> bool:
        """Every name matches, and there is one."""
        if not names:
            return False
        for name in names:  # noqa: SIM110  # a generator costs as much as the work
            if not self.surely(name):
                return False
        return True

    def perhaps(self, name: str) -> bool:
        """For holding and denying: it matches, or might, when its schema is not known."""
        if self.surely(name):
            return True
        return name.startswith(UNKNOWN_SCHEMA) and self._perhaps_in_some_schema(name[len(UNKNOWN_SCHEMA) :])

    def any_perhaps(self, names: frozenset[str]) -> bool:
        if not self._plain.isdisjoint(names):
            return True
        prefixes, others = self._prefixes, self._others
        for name in names:
            if name.startswith(prefixes) or (others and self.surely(name)):
                return True
            if name.startswith(UNKNOWN_SCHEMA) and self.perhaps(name):
                return True
        return False

    def _perhaps_in_some_schema(self, bare: str) -> bool:
        return any(pattern == "*" or matches(pattern.partition(".")[2], bare) for pattern in self._all)
