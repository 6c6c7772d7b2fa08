"""What policy makes of a database: which role needs which access, and which columns stay closed to all of them. Pure.

Each action has a role. A milder action's role holds nothing that only a graver one needs; the roles of schema changes
and administration are their admins' own business and only added to. Where policy masks a column whoever asks, no role
may read it, nor what shows it: views, partitions, generated columns. A view that shows what no rule lets anybody read
is left out, unless a rule names that very view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final

import msgspec

from data_plane.policy.model import MaskSpec, RoleAction, SessionRoles
from data_plane.policy.table_reach import Reached
from data_plane.protocols.postgres.catalog_data import TABLE_LIKE, Relation
from data_plane.protocols.postgres.examination.rights import PUBLIC, WHOLE, Access, Rights, together
from data_plane.protocols.postgres.interface import Classifier
from data_plane.protocols.postgres.protection import ByName, close

MILDEST_FIRST: Final[tuple[RoleAction, ...]] = ("read", "write", "ddl", "admin", "exec")
BOUNDED: Final[tuple[RoleAction, ...]] = ("read", "write", "exec")  # whose roles hold just what policy says
_SYSTEM: Final = ("pg_", "information_schema")


class Question(msgspec.Struct, frozen=True):
    """What is asked of an examination. `reaches`: of all policies; `masks`: all that there are, by name."""

    target: str
    roles: SessionRoles | None  # as the target's document has them
    reaches: tuple[Reached, ...]
    masks: Mapping[str, MaskSpec]
    one_database: bool = True  # the target is this database and no other
    close_masked: bool = True  # no role may read what policy masks; else masking is left to the agent
    preview: str = ""  # the account of impact previews
    dry_run: bool = False  # it may change what sessions may


class Default(msgspec.Struct, frozen=True):
    """What a role gets of tables that `creator` makes one day in `schema`."""

    creator: str  # perhaps a role that is still to be made
    schema: int
    role: str
    privilege: str


class Needs(msgspec.Struct, frozen=True, eq=False):
    roles: SessionRoles  # proposed where the target has none
    written: Mapping[str, str]  # the role of each action that this script fills
    access: Mapping[str, Access]  # by role, of the bounded ones
    additions: Mapping[str, Access]  # by role, of the others: they may have more
    defaults: frozenset[Default]
    closed: Mapping[int, frozenset[int]]  # columns that policy masks whoever asks, by relation
    sometimes: Mapping[int, frozenset[int]]  # columns that it masks for some
    left_out: Mapping[int, str]  # views that no role gets, and why

    @property
    def owner(self) -> str:
        return owner_of(self.roles)

    @property
    def every_role(self) -> tuple[str, ...]:
        named = [name for action in MILDEST_FIRST for name in self.roles.roles.get(action, ())]
        return tuple(dict.fromkeys([*named, *([self.owner] if self.owner else [])]))

    def most(self, role: str) -> Access:
        """What a role may have at most: all up to the mildest action that uses it."""
        for place, action in enumerate(MILDEST_FIRST):
            if role in self.roles.roles.get(action, ()):
                milder = {self.written[one] for one in MILDEST_FIRST[: place + 1] if one in self.written}
                return together(self.access.get(one, {}) for one in milder)
        return {}

    @property
    def everything(self) -> Access:
        return together([*self.access.values(), *self.additions.values()])


def owner_of(roles: SessionRoles) -> str:
    """To whom what sessions make belongs."""
    return roles.owner or next(iter(roles.roles.get("ddl", ())), "")


def proposed(target: str, reaches: Iterable[Reached]) -> SessionRoles:
    """Roles for the actions that policy reaches."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in target.lower())[:50]
    actions = {reach.action for reach in reaches}
    names = {action: f"{stem}_{'owner' if action == 'ddl' else action}" for action in MILDEST_FIRST}
    return SessionRoles(roles={action: (name,) for action, name in names.items() if action in actions})


def needs(question: Question, rights: Rights, classifier: Classifier) -> Needs:
    return _Planner(question, rights, classifier).plan()


class _Planner:
    def __init__(self, question: Question, rights: Rights, classifier: Classifier) -> None:
        self._question, self._rights = question, rights
        self._roles = question.roles or proposed(question.target, question.reaches)
        self._written = _written(self._roles)
        by_name = ByName(rights.data)

        @cache
        def protected(masks: frozenset[str]) -> Mapping[int, frozenset[int]]:
            columns = [one for mask in sorted(masks) if mask in question.masks for one in question.masks[mask].columns]
            found = close(rights.data, by_name, columns, classifier, {}).columns
            return {oid: frozenset(columns) for oid, columns in found.items()}

        self._protected = protected
        self._left_out: dict[int, str] = {}
        self._everybodys = rights.access([PUBLIC])
        self._relations = [
            relation
            for relation in rights.data.relations.values()
            if (relation.kind in TABLE_LIKE or relation.kind == "S")
            and not relation.temporary
            and not relation.schema.startswith(_SYSTEM)
        ]

    def plan(self) -> Needs:
        self._closed, self._sometimes = self._masked()
        access = {self._written[action]: self._access(action) for action in BOUNDED if action in self._written}
        shared = {role: [a for a in BOUNDED if self._written.get(a) == role] for role in access}
        merged = {role: together(self._access(action) for action in actions) for role, actions in shared.items()}
        return Needs(
            roles=self._roles,
            written=self._written,
            access={role: self._entered(found) for role, found in merged.items()},
            additions=self._additions(),
            defaults=frozenset(self._defaults()),
            closed=self._closed if self._question.close_masked else {},
            sometimes=self._sometimes if self._question.close_masked else _joined(self._sometimes, self._closed),
            left_out=self._left_out,
        )

    # -------------------------------------------------------------- masks

    def _masked(self) -> tuple[dict[int, frozenset[int]], dict[int, frozenset[int]]]:
        """Columns that are masked in all that policy lets through, and those that are in some of it."""
        always, sometimes = dict[int, frozenset[int]](), dict[int, frozenset[int]]()
        for relation in self._relations:
            found = [
                self._protected(reach.masks).get(relation.oid, frozenset())
                for reach in self._question.reaches
                if reach.action in ("read", "write") and reach.covers(f"{relation.schema}.{relation.name}")
            ]
            if not found:
                continue
            every = frozenset.intersection(*found)
            if every:
                always[relation.oid] = every
            if some := frozenset().union(*found) - every:
                sometimes[relation.oid] = some
        return always, sometimes

    # -------------------------------------------------------------- tables

    def _access(self, action: str) -> Access:
        found: Access = {}
        for relation in self._relations:
            name = f"{relation.schema}.{relation.name}"
            reaches = [one for one in self._question.reaches if one.action == action and one.covers(name)]
            if reaches and (relation.kind not in "vm" or self._shows_no_more(relation, reaches, action)):
                for privilege in _privileges(relation, reaches, action):
                    columns = self._columns(relation, privilege)
                    if columns:
                        found["relation", relation.oid, privilege] = columns
        self._sequences(found)
        for function in self._rights.functions.values():
            own = bool(function.dangerous) or ("function", function.oid, "EXECUTE") not in self._everybodys
            if own and self._called(action, f"{function.schema}.{function.name}"):
                found["function", function.oid, "EXECUTE"] = frozenset({WHOLE})
        return found

    def _called(self, action: str, name: str) -> bool:
        """By a rule that names functions, or that lets any be called."""
        return any(
            ((one.functions or action == "exec") and one.calls(name) and not name.startswith("pg_catalog."))
            or name in one.functions
            for one in self._question.reaches
            if one.action == action
        )

    def _columns(self, relation: Relation, privilege: str) -> frozenset[int]:
        every = self._rights.all_columns(relation.oid)
        closed = self._closed.get(relation.oid, frozenset()) if self._question.close_masked else frozenset()
        return every - closed - {WHOLE} if privilege == "SELECT" and closed else every

    def _sequences(self, found: Access) -> None:
        for table, sequence in self._rights.sequences:
            if ("relation", table, "INSERT") in found:
                found["relation", sequence, "USAGE"] = frozenset({WHOLE})

    def _shows_no_more(self, view: Relation, reaches: Iterable[Reached], action: str) -> bool:
        """Whether all that it reads, with its owner's rights, may be read anyway; or a rule names this very view."""
        name = f"{view.schema}.{view.name}"
        if any(reach.names(name) for reach in reaches) or view.oid in self._rights.invokers:
            return True
        for read in self._read_by(view.oid):
            reader = [one for one in self._question.reaches if one.action == action]
            if not any(one.covers(f"{read.schema}.{read.name}") for one in reader):
                self._left_out[view.oid] = f"it shows {read.schema}.{read.name}, which no rule lets anybody {action}"
                return False
        return True

    def _read_by(self, view: int) -> Iterator[Relation]:
        """Through other views too."""
        seen, left = {view}, [view]
        while left:
            for oid in self._rights.data.views[left.pop()].reads - seen:
                seen.add(oid)
                relation = self._rights.data.relations.get(oid)
                if relation is None or relation.schema.startswith(_SYSTEM):
                    continue
                yield relation
                if oid in self._rights.data.views and oid not in self._rights.invokers:
                    left.append(oid)

    # -------------------------------------------------------------- what is around them

    def _entered(self, access: Access) -> Access:
        """With the right to get to what it may use."""
        schemas = {
            self._rights.data.relations[oid].schema if kind == "relation" else self._rights.functions[oid].schema
            for kind, oid, _ in access
        }
        for schema in self._rights.schemas.values():
            if schema.name in schemas:
                access["schema", schema.oid, "USAGE"] = frozenset({WHOLE})
        self._connects(access)
        return access

    def _connects(self, access: Access) -> None:
        for database in self._rights.databases.values():
            if database.name == self._rights.database:
                access["database", database.oid, "CONNECT"] = frozenset({WHOLE})

    def _additions(self) -> dict[str, Access]:
        """To whom what sessions make belongs may make it in the schemas that policy lets them change."""
        owner = owner_of(self._roles)
        found: dict[str, Access] = {
            name: {}
            for action in ("ddl", "admin")
            for name in self._roles.roles.get(action, ())
            if name not in self._bounded
        }
        if owner and owner not in self._bounded:
            found.setdefault(owner, {})
        for access in found.values():
            self._connects(access)
        for schema in self._rights.schemas.values():
            if owner in found and any(
                one.action == "ddl" and one.may_make_in(schema.name) for one in self._question.reaches
            ):
                for privilege in ("USAGE", "CREATE"):
                    found[owner]["schema", schema.oid, privilege] = frozenset({WHOLE})
        for database in self._rights.databases.values():
            if owner in found and database.name == self._rights.database and "ddl" in self._written:
                found[owner]["database", database.oid, "TEMPORARY"] = frozenset({WHOLE})
        return found

    @property
    def _bounded(self) -> frozenset[str]:
        return frozenset(self._written[action] for action in BOUNDED if action in self._written)

    def _defaults(self) -> Iterator[Default]:
        """Only where policy reaches every table of a schema that will ever be, and masks nothing in it: a new view
        could show what is closed."""
        masked = {self._rights.data.relations[oid].schema for oid in (*self._closed, *self._sometimes)}
        owner = owner_of(self._roles)
        for schema in self._rights.schemas.values():
            if schema.name in masked and self._question.close_masked:
                continue
            inside = (self._rights.owners.get(one.oid, 0) for one in self._relations if one.schema == schema.name)
            creators = {self._rights.roles[oid].name for oid in inside if oid in self._rights.roles}
            creators |= {owner} if owner else set()
            for action in ("read", "write"):
                for privilege in self._wholly(action, schema.name) if action in self._written else ():
                    yield from (
                        Default(creator, schema.oid, self._written[action], privilege) for creator in sorted(creators)
                    )

    def _wholly(self, action: str, schema: str) -> frozenset[str]:
        whole = [one for one in self._question.reaches if one.action == action and one.covers_all_of(schema)]
        if action == "read":
            return frozenset({"SELECT"}) if whole else frozenset()
        changes = frozenset(change for one in whole for change in one.changes_in(schema))
        return changes | ({"SELECT"} if changes & {"UPDATE", "DELETE"} else set())


def _privileges(relation: Relation, reaches: Iterable[Reached], action: str) -> Iterator[str]:
    if relation.kind == "S":
        yield from {"read": ("SELECT",), "write": ("USAGE",)}.get(action, ())
    elif action == "read":
        yield "SELECT"
    elif action == "write":
        name = f"{relation.schema}.{relation.name}"
        changes = {change for reach in reaches for change in reach.changes_of(name)}
        if relation.kind in "vf":
            changes.discard("TRUNCATE")
        if relation.kind == "m":
            return
        yield from sorted(changes)
        if changes & {"UPDATE", "DELETE"}:
            yield "SELECT"  # of what a WHERE names


def _written(roles: SessionRoles) -> dict[str, str]:
    """For each action a role that no milder action has; where there is none, its first."""
    taken: set[str] = set()
    found: dict[str, str] = {}
    for action in MILDEST_FIRST:
        names = roles.roles.get(action, ())
        if names:
            found[action] = next((name for name in names if name not in taken), names[0])
            taken.update(names)
    return found


def _joined(first: Mapping[int, frozenset[int]], second: Mapping[int, frozenset[int]]) -> dict[int, frozenset[int]]:
    return {oid: first.get(oid, frozenset()) | second.get(oid, frozenset()) for oid in (*first, *second)}
