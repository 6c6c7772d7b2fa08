"""SQL that gives and takes rights, as text for people to read and apply. Names may be anything that somebody chose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from pglast.keywords import COL_NAME_KEYWORDS, RESERVED_KEYWORDS, TYPE_FUNC_NAME_KEYWORDS, UNRESERVED_KEYWORDS

from data_plane.protocols.postgres.examination.rights import WHOLE, Key, Rights

_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
_KEYWORDS: Final = COL_NAME_KEYWORDS | RESERVED_KEYWORDS | TYPE_FUNC_NAME_KEYWORDS | UNRESERVED_KEYWORDS


def name(*parts: str) -> str:
    return ".".join(part if _PLAIN.fullmatch(part) and part not in _KEYWORDS else _quoted(part) for part in parts)


def _quoted(part: str) -> str:
    """What a terminal would obey is written out, so that the text means the same wherever it is shown."""
    doubled = part.replace('"', '""')
    if part.isprintable():
        return f'"{doubled}"'
    return f'U&"{_escaped(doubled, lambda code: f"{chr(92)}+{code:06x}")}"'


def literal(text: str) -> str:
    doubled = text.replace("'", "''")
    if text.isprintable() and "\\" not in text:
        return f"'{doubled}'"
    return f"E'{_escaped(doubled, lambda code: f'{chr(92)}U{code:08x}')}'"


def _escaped(text: str, written: Callable[[int], str]) -> str:
    doubled = text.replace("\\", "\\\\")
    return "".join(letter if letter.isprintable() else written(ord(letter)) for letter in doubled)


def comment(text: str) -> str:
    """One line whatever is in it."""
    return "-- " + "".join(letter if letter.isprintable() else "?" for letter in text)


def names(roles: Iterable[str]) -> str:
    return ", ".join(name(role) for role in roles)


def made_if_missing(role: str, attributes: str) -> str:
    body = (
        f"BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role)}) "
        f"THEN CREATE ROLE {name(role)} {attributes}; END IF; END"
    )
    tag = "$make$"
    while tag in body:
        tag = f"${tag[1:-1]}_$"
    return f"DO {tag}{body}{tag};"


class Writer:
    """`GRANT` and `REVOKE` for what one examination has seen."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights

    def given(self, access: Mapping[Key, frozenset[int]], roles: Iterable[str]) -> list[str]:
        to = names(roles)
        return [f"GRANT {what} ON {thing} TO {to};" for what, thing in self._grouped(access)]

    def taken(self, access: Mapping[Key, frozenset[int]], role: str) -> list[str]:
        """`role` empty: PUBLIC. Rights on a relation as a whole go with those on its columns."""
        source = name(role) if role else "PUBLIC"
        whole = {key: frozenset({WHOLE}) for key in access}
        return [f"REVOKE {what} ON {thing} FROM {source};" for what, thing in self._grouped(whole)]

    def _grouped(self, access: Mapping[Key, frozenset[int]]) -> Iterator[tuple[str, str]]:
        """(privileges, object), those of one object together, in the order of their names."""
        found: dict[str, list[str]] = {}
        for (kind, oid, privilege), columns in access.items():
            found.setdefault(self.thing(kind, oid), []).append(self._privilege(oid, privilege, columns))
        for thing in sorted(found):
            yield ", ".join(sorted(found[thing])), thing

    def _privilege(self, oid: int, privilege: str, columns: frozenset[int]) -> str:
        if WHOLE in columns:
            return privilege
        known = self._rights.data.relations[oid].columns
        return f"{privilege} ({names(known[number] for number in sorted(columns) if number in known)})"

    def thing(self, kind: str, oid: int) -> str:
        rights = self._rights
        if kind == "relation":
            relation = rights.data.relations[oid]
            return ("SEQUENCE " if relation.kind == "S" else "TABLE ") + name(relation.schema, relation.name)
        if kind == "schema":
            return f"SCHEMA {name(rights.schemas[oid].name)}"
        if kind == "database":
            return f"DATABASE {name(rights.databases[oid].name)}"
        function = rights.functions[oid]
        return f"ROUTINE {name(function.schema, function.name)}({function.arguments})"
