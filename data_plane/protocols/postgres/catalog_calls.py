"""Code that a statement runs without a call being written: `x.name`, which is name(x) where x has no such column;
functions and operators of this database that are called like the server's own, and take other types; casts, written or
not, and types whose values are made by somebody's code. Only the catalogue of the target can tell. Pure.

What is in doubt is not understood. A name of the server's own that somebody gave another function or operator, in a
schema of the search path, is not the server's any more, whatever it is called with. A name that is both a function and
a column is taken for the column only behind a relation of the statement, and where all of them have it; behind anything
else (an expression, a sub-query, a function) it is the function. Where an implicit cast calls code, statements that
touch a relation with a column of its types are not understood. What this target is being given is remembered by name,
because the catalogue does not have it before its transaction has committed; and after anything that may make functions
unseen, no such name is trusted until the catalogue is loaded again. Until then what is known by schema may be in any
(`altered` has `*`), a relation that was altered need not have its columns, and after CREATE CAST nothing is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from data_plane.gate.interface import Action, Subject
from data_plane.protocols.postgres.catalog_data import CatalogData, Code, Relation, Schemas
from data_plane.protocols.postgres.catalog_views import REMEMBERED, not_understood
from data_plane.protocols.postgres.interface import CASTS, FORGOTTEN, SearchPath
from data_plane.protocols.postgres.statements.catalogue import FUNCTIONS

_DEFINING: Final = frozenset({Action.DDL})  # and nothing else: what is cast there is cast later
_MADE: Final = frozenset({"function", "type", "operator"})
_MAKERS: Final = frozenset(
    {
        "function", "procedure", "routine", "aggregate", "type", "domain", "cast", "extension", "schema", "language",
        "foreign schema", "operator",
    }
)  # fmt: skip
# They make values of the types of columns of the row that they are given.
_POPULATE: Final = frozenset(
    {"json_populate_record", "json_populate_recordset", "jsonb_populate_record", "jsonb_populate_recordset"}
)
# They cast values of types of users to json, where there is such a cast, and those of a row alike.
_MAKING_JSON: Final = frozenset(
    {
        "array_to_json", "json_agg", "json_agg_strict", "json_array", "json_arrayagg", "json_build_array",
        "json_build_object", "json_object", "json_object_agg", "json_object_agg_strict", "json_object_agg_unique",
        "json_object_agg_unique_strict", "json_objectagg", "json_scalar", "jsonb_agg", "jsonb_agg_strict",
        "jsonb_build_array", "jsonb_build_object", "jsonb_object_agg", "jsonb_object_agg_strict",
        "jsonb_object_agg_unique", "jsonb_object_agg_unique_strict", "row_to_json", "to_json", "to_jsonb",
    }
)  # fmt: skip
_SETTINGS: Final = "pg_catalog.pg_settings"
_MINUS: Final = "-"
SIGN: Final = "-$1"  # the operator before one value: in any statement, because a sign may be part of a number or not


class HiddenCalls:
    """`relations` gives those that a name may mean."""

    def __init__(self, relations: Callable[[str], list[Relation]]) -> None:
        self._relations = relations
        self._made: set[str] = set()
        self.full = False  # `_made` does not have all: any name may be new
        self.may_be_new = False  # there may be functions and types that neither the catalogue nor `_made` has

    def forget(self) -> None:
        self.full = self.may_be_new = False
        self._made.clear()

    def noted(self, subject: Subject) -> bool:
        """What it is about to make; True: there is something new in that."""
        before = (len(self._made), self.may_be_new, self.full)
        self.may_be_new = self.may_be_new or _runs_a_body(subject)
        if _defines(subject) and subject.facts.get("object") in _MAKERS:
            self.may_be_new = True
            for resource in subject.resources:
                if resource.kind in _MADE and "ddl" in resource.access:
                    self._remember(candidate.rpartition(".")[2] for candidate in resource.candidates)
        return before != (len(self._made), self.may_be_new, self.full)

    def _remember(self, names: Iterable[str]) -> None:
        self.full = self.full or len(self._made) >= REMEMBERED
        if not self.full:
            self._made.update(names)

    def _may_be_made(self, name: str, altered: frozenset[str], *, unsure: bool) -> bool:
        """Also by a transaction that is open: what waits for its locks finds the name when it has them."""
        return name in altered or (unsure and (self.full or name in self._made))

    def judged(
        self, subject: Subject, data: CatalogData, path: SearchPath, altered: frozenset[str], *, stale: bool
    ) -> Subject:
        """The subject, not understood when it may run code that it does not name as such. `altered`: what names may
        mean something else by now; `*`: any."""
        if not subject.understood or (subject.action is Action.SESSION and not _computes(subject)):
            return subject
        unsure = stale and (self.may_be_new or not data.fingerprint)
        problem = (
            _by_settings(subject)
            or self._by_new_casts(subject, altered)
            or self._by_types(subject, data.code, altered, unsure=unsure)
            or self._by_casts(subject, data.code)
            or self._by_attributes(subject, data.code, altered, unsure=unsure)
            or self._by_functions(subject, data, path, altered, unsure=unsure)
            or self._by_operators(subject, data, path, altered, unsure=unsure)
        )
        if not problem:
            return subject
        return not_understood(subject, problem)

    def _by_types(self, subject: Subject, code: Code, altered: frozenset[str], *, unsure: bool) -> str:
        for type_ in _names(subject, "types"):
            name = type_.rpartition(".")[2]
            if name in code.coded_types:
                return f"values of the type {name} are made by code of this database; leave the cast out"
            if name in code.casting_types and subject.actions != _DEFINING:
                return f"values of the type {name} may be cast by code of this database; leave the cast out"
            if (unsure or name in altered) and name not in code.types and Action.DDL not in subject.actions:
                return f"the type {name} may be new; leave the cast out, or try again in a moment"
        return ""

    def _by_new_casts(self, subject: Subject, altered: frozenset[str]) -> str:
        if not altered.isdisjoint((CASTS, FORGOTTEN)) and subject.actions != _DEFINING:
            return "there may be a new cast, which calls a function; try again in a moment"
        return ""

    def _by_casts(self, subject: Subject, code: Code) -> str:
        """Values of a type come from relations that have it; all else is named, or comes from unknown calls."""
        if code.casts_everywhere:
            return "a cast of this database between built-in types calls a function"
        casts = _names(subject, "casts")
        if not code.coded_casts.isdisjoint(casts):
            return "a cast to that type calls a function of this database; leave it out"
        written = bool(casts) or bool(_names(subject, "types"))
        types = code.casts_unseen | (code.casts_from if written else frozenset())
        called = {name.rpartition(".")[2] for name in _called(subject)}
        if not called.isdisjoint(_POPULATE):
            types |= code.coded_values
        if not called.isdisjoint(_MAKING_JSON):
            types |= code.casts_to_json
        if not types:
            return ""
        for relation in self._relations_of(subject):
            if relation is None:
                return "that relation may have columns that are cast by code; try again in a moment"
            if not types.isdisjoint(relation.row_types) or not types.isdisjoint(relation.types.values()):
                return f"values of {relation.name} may be cast by code of this database"
        return ""

    def _by_attributes(self, subject: Subject, code: Code, altered: frozenset[str], *, unsure: bool) -> str:
        columns: list[frozenset[str]] | None = None
        of_no_relation = _names(subject, "attributes")
        for name in _names(subject, "possible_functions"):
            known = name in code.attribute_functions or name in code.coded_types
            if not known and not unsure and name not in altered:
                continue
            if columns is None:
                columns = self._columns(subject)
            sure = not known or name not in of_no_relation
            made = self._may_be_made(name, altered, unsure=unsure)
            if (known or made) and _touches(subject, altered):  # it may have the column no more
                sure = False
            if columns and sure and (all if known else any)(name in each for each in columns):
                continue
            if known:
                return f'".{name}" may call the function {name}; write it as a call, or another column'
            return f'".{name}" is not a column that is known yet; try again in a moment'
        return ""

    def _by_functions(
        self, subject: Subject, data: CatalogData, path: SearchPath, altered: frozenset[str], *, unsure: bool
    ) -> str:
        code = data.code
        if not code.functions and not code.hidden_functions and not unsure and not altered:
            return ""
        for candidate in _called(subject):
            schema, _, name = candidate.rpartition(".")
            if _means(schema, name, code.functions, code.hidden_functions, data.user, path, altered):
                if name in FUNCTIONS:
                    return f"{name}() may be a function of this database that is called like a built-in one"
                return f"what {name}(), a function of this database, does is not known"
            if self._may_be_made(name, altered, unsure=unsure):
                return f"{name}() may be a new function; try again in a moment"
        return ""

    def _by_operators(
        self, subject: Subject, data: CatalogData, path: SearchPath, altered: frozenset[str], *, unsure: bool
    ) -> str:
        code = data.code
        if not code.operators and not code.hidden_operators and not unsure and not altered:
            return ""
        for name in (*_names(subject, "operators"), SIGN):
            if _means("?", name, code.operators, code.hidden_operators, data.user, path, altered):
                return f"the operator {name} is also one of this database, which may call anything"
            if name != SIGN and self._may_be_made(name, altered, unsure=unsure):
                return f"the operator {name} may be a new one; try again in a moment"
        if Action.DDL not in subject.actions and self._may_be_made(_MINUS, altered, unsure=unsure):
            return "the sign before a value may be a new operator; try again in a moment"
        return ""

    def _columns(self, subject: Subject) -> list[frozenset[str]]:
        """Of each relation that is named. Anybody may make a temporary one with any columns."""
        return [
            frozenset(relation.columns.values()) if relation is not None and not relation.temporary else frozenset()
            for relation in self._relations_of(subject)
        ]

    def _relations_of(self, subject: Subject) -> Iterable[Relation | None]:
        """None: one that is not known."""
        for resource in subject.resources:
            if resource.kind == "relation":
                for candidate in resource.candidates:
                    yield from self._relations(candidate) or (None,)


def _by_settings(subject: Subject) -> str:
    """set_config(name, …) FROM pg_settings sets what its rows say, and a temporary relation may have any."""
    if "SET" in subject.verbs:
        for resource in subject.resources:
            names = {name.rpartition(".")[2] for name in resource.candidates}
            if resource.kind == "relation" and "pg_settings" in names and resource.candidates != (_SETTINGS,):
                return "pg_settings may be another relation than the server's"
    return ""


def makes(subject: Subject) -> bool:
    """Whether running it may give names another meaning."""
    return _defines(subject) or _runs_a_body(subject)


def _defines(subject: Subject) -> bool:
    return Action.DDL in subject.actions or Action.ADMIN in subject.actions


def _runs_a_body(subject: Subject) -> bool:
    return Action.EXEC in subject.actions and subject.verbs[:1] in (("DO",), ("CALL",))


def of_altered(subject: Subject, altered: frozenset[str]) -> Subject:
    """Not understood when it uses names that its own open transaction changed. Further definitions are let be, as those
    of all that their names may mean: what they store of masked columns is another matter. But what they call may run
    now, or with a later write."""
    if not subject.understood or subject.action in (Action.SESSION, Action.ADMIN):
        return subject
    names = set(_names(subject, "operators"))
    only_defines = Action.DDL in subject.actions and Action.WRITE not in subject.actions
    if only_defines:
        names.update(name.rpartition(".")[2] for name in _called(subject))
    else:
        names.update(name.rpartition(".")[2] for item in subject.resources for name in item.candidates)
        names.update(_names(subject, "possible_functions"))
        names.update(name.rpartition(".")[2] for name in _names(subject, "types"))
        names.add(_MINUS)  # see SIGN
    if (only_defines or "*" not in altered) and names.isdisjoint(altered):
        return subject
    return not_understood(subject, "this transaction has changed what its names mean; commit, then try again")


def runs_code(types: Iterable[int], code: Code) -> bool:
    """Whether values of these types, which a client gives its parameters, are made or cast by such code."""
    return not (code.coded_values | code.casts_from | code.casts_unseen).isdisjoint(types)


def _touches(subject: Subject, altered: frozenset[str]) -> bool:
    """Whether it names a relation that may have other columns by now."""
    return bool(altered) and any(
        "*" in altered or candidate.rpartition(".")[2] in altered
        for resource in subject.resources
        if resource.kind == "relation"
        for candidate in resource.candidates
    )


def _means(
    schema: str, name: str, found: Schemas, hidden: Schemas, user: str, path: SearchPath, altered: frozenset[str]
) -> bool:
    """Whether a name that is written so may be one of those."""
    if name not in found and name not in hidden:
        return False
    if "*" in altered:  # whatever schema they were in
        return True
    schemas = found.get(name, frozenset())
    if schema not in ("", "?"):
        return schema in schemas or schema in hidden.get(name, frozenset())
    if "pg_catalog" in path.schemas[1:]:
        schemas |= hidden.get(name, frozenset())
    if not path.schemas:  # not known
        return bool(schemas)
    searched = {user if each in ("$user", '"$user"') else each for each in path.schemas}
    return not schemas.isdisjoint(searched | {"pg_catalog"})


def _computes(subject: Subject) -> bool:
    """Of what is of the session: EXECUTE is given values, and SELECT set_config() is a call."""
    return subject.facts.get("command") == "EXECUTE" or bool(_called(subject))


def _called(subject: Subject) -> tuple[str, ...]:
    return tuple(
        candidate
        for resource in subject.resources
        if resource.kind == "function" and "execute" in resource.access
        for candidate in resource.candidates
    )


def _names(subject: Subject, fact: str) -> tuple[str, ...]:
    found = subject.facts.get(fact, ())
    return found if isinstance(found, tuple) else ()
