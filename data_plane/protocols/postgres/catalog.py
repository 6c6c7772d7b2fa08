"""The catalogue of one database as its sessions share it: names, and what masks protect. Pure; `catalog_refresh` loads.

Between a change and the next load the catalogue is *stale*: views, which may mean something else by then, are
protected whole, relations that it has never seen are masked whole by `columns`, and a name that was made, renamed or
dropped may be in any schema of the search path. What another client changes without
the agent's knowledge is seen at the next poll. A transaction that has not committed is not seen at all: what uses names
that it changed is not understood until it has ended (`SearchPath.altered`), and its session has everything masked that
a mask applies to; so have all sessions from the end of such a transaction until the next load (`doubtful`). What a
function of the target changes by itself is not followed.

A column that a mask named once stays protected, whatever it is renamed to, until the masks themselves change: all masks
are followed from the first session on. An agent that starts anew knows nothing of former names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec

from data_plane.gate.interface import Resource, Subject
from data_plane.policy.model import ColumnMask, Strategy
from data_plane.protocols.postgres.catalog_calls import HiddenCalls, makes, of_altered, runs_code
from data_plane.protocols.postgres.catalog_data import NOTHING, VIEWS, CatalogData, Relation
from data_plane.protocols.postgres.catalog_views import WrittenViews
from data_plane.protocols.postgres.interface import FORGOTTEN, Classifier, Names, SearchPath
from data_plane.protocols.postgres.protection import ByName, Columns, Protection, close, merged, named

_REMEMBERED: Final = 20_000
_ANNOUNCED: Final = 1_000
_STICKY: Final = 64
_NOTHING_ALTERED: Final[frozenset[str]] = frozenset()
_OWN_SCHEMA: Final = '"$user"'

MaskedColumns = tuple[tuple[str, Strategy], ...]


class Catalogue(Names):
    """Implements `interface.Names`. `wanted(changed)` is called when it should be loaded again: soon when something
    changed, and within a second when something is not known."""

    def __init__(self, classifier: Classifier, wanted: Callable[[bool], None]) -> None:
        self.data: CatalogData = NOTHING
        self.epoch = 0
        self.changes = 0
        self.stale = True
        self._classifier = classifier
        self._wanted = wanted
        self._by_name = ByName(NOTHING)
        self._names: frozenset[str] | None = None
        self._protections: dict[MaskedColumns, Protection] = {}
        self._sticky: dict[MaskedColumns, Columns] = {}
        self._named: dict[ColumnMask, Columns] = {}  # what the masks that are followed ever named
        self._resolved: dict[SearchPath, dict[Subject, Subject]] = {}
        self._last_path: SearchPath | None = None
        self._last_resolved = self._resolved
        self._last_known: dict[Subject, Subject] = {}
        self._open: set[Subject] = set()  # answers with a name that is not known
        self._calls = HiddenCalls(self.relations)
        self._views = WrittenViews(self.relations)
        self._told: dict[str, int] = {}  # names that were altered: the last change that told so; see ChangesNames
        self._altered: frozenset[str] = frozenset()  # the same, by what was committed and not loaded since
        self._altering: dict[object, frozenset[str]] = {}  # by sessions whose transactions are open
        self._under_way: frozenset[str] = frozenset()  # by any of them
        self._schemas_altered = False
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._announced: dict[str, str] = {}  # name: schema, of relations that are being made

    # ------------------------------------------------------------------ loading

    def loaded(self, data: CatalogData | None, changes: int) -> None:
        """`data` None: nothing is different. `changes` is what `self.changes` was when the load began."""
        was_stale, self.stale = self.stale, changes != self.changes
        if data is not None:
            self.data = data
            self._named = {mask: _there(columns, data) for mask, columns in self._named.items()}
            named(data, self._named, self._named)
            self._by_name = ByName(data)
            self._names = None
            self._protections = {}
        settled = self._settle(changes)
        if data is not None or settled or was_stale != self.stale:
            self.epoch += 1
            self._resolved = {}
            self._open = set()
        if not self.stale:  # what was made has been loaded by now, or is told again when it has been done
            self._calls.forget()
            if not self._altering:  # what waits for an open transaction may be meant for its views, in its schemas
                self._views.forget()
                self._schemas_altered = False

    def unsure(self, subjects: Iterable[Subject]) -> bool:
        return self.stale and (bool(self._altered) or any(map(self._unsure, subjects)))

    def _unsure(self, subject: Subject) -> bool:
        if not subject.understood:
            return True
        for resource in subject.resources:
            if resource.kind == "relation":
                one = resource.candidates[0] if len(resource.candidates) == 1 else "?."
                found = self._by_name.relations(one)
                if one.startswith("?.") or not found or any(relation.kind in VIEWS for relation in found):
                    return True
        return False

    def when_loaded(self, tell: Callable[[], None]) -> None:
        self._waiting.append((self.changes, tell))
        self._wanted(True)

    def tell(self, changes: int | None = None) -> None:
        """Those who wait for a load that began after so many changes; None: for any."""
        ready = [tell for wanted, tell in self._waiting if changes is None or wanted <= changes]
        self._waiting = [one for one in self._waiting if changes is not None and one[0] > changes]
        for tell in ready:
            tell()

    def _settle(self, changes: int) -> bool:
        """Names that were altered before the load began are known again, whatever has changed since."""
        told = {name: change for name, change in self._told.items() if change > changes}
        settled, self._told = len(told) < len(self._told), told
        if settled:
            self._altered = frozenset(told)
        return settled

    @property
    def doubtful(self) -> bool:
        """Whether names that are known mean something else by now."""
        return bool(self._altered)

    def changed(self, by: Collection[Subject], *, names: frozenset[str] = frozenset()) -> None:
        """What is resolved depends on all that this notes. Told again when the transaction has ended: what was noted
        before may have been forgotten by a load that could not see it yet."""
        self.changes += 1
        names = self._by_name.with_dependents(names)
        more = not names <= self._altered
        if not self.stale or (names and not self.doubtful):
            self.stale = more = True
            self.epoch += 1
        if names:
            self._told.update(dict.fromkeys(names, self.changes))
            self._altered |= names
        for subject in by:
            more = self._noted(subject) or more
        if FORGOTTEN in names:
            self._calls.full = self._calls.may_be_new = self._views.full = more = True
        if more:
            self._resolved = {}
        self._wanted(True)

    def altering(self, session: object, names: frozenset[str]) -> None:
        """A statement of another session that waits for this one's locks is resolved by the server when it has them."""
        if names:
            self._altering[session] = self._by_name.with_dependents(names)
        elif self._altering.pop(session, None) is None:
            return
        under_way = _NOTHING_ALTERED.union(*self._altering.values())
        if under_way != self._under_way:
            self._under_way, self._resolved = under_way, {}

    def _noted(self, subject: Subject) -> bool:
        """What it makes or has made; True: there is something new in that."""
        schema = subject.facts.get("object") == "schema" and makes(subject) and not self._schemas_altered
        self._schemas_altered = self._schemas_altered or schema
        calls, views = self._calls.noted(subject), self._views.noted(subject)
        if self._calls.full or self._views.full:
            self._wanted(True)
        return schema or calls or views

    # ------------------------------------------------------------------ what is protected

    def follow(self, masks: Collection[ColumnMask]) -> None:
        """From now on what these name stays protected by them, whatever it is renamed to."""
        more = [mask for mask in masks if mask not in self._named]
        self._named = {mask: self._named.get(mask, {}) for mask in masks}
        if more:
            named(self.data, more, self._named)

    def protection(self, masks: tuple[ColumnMask, ...]) -> Protection:
        key: MaskedColumns = tuple(sorted({(mask.column, mask.strategy) for mask in masks}))
        protection = self._protections.get(key)
        if protection is None:
            before = merged([self._sticky.get(key, {}), *(self._named.get(mask, {}) for mask in masks)])
            protection = close(self.data, self._by_name, masks, self._classifier, before)
            self._protections[key] = protection
            if not self.data.complete:  # more than has to be is masked, until the next load
                return protection
            while len(self._sticky) >= _STICKY:
                del self._sticky[next(iter(self._sticky))]
            self._sticky[key] = {oid: dict(columns) for oid, columns in protection.columns.items()}
        return protection

    def relation(self, oid: int) -> Relation | None:
        """None: not known; it will be asked for."""
        relation = self.data.relations.get(oid)
        if relation is None:
            self._wanted(False)
        return relation

    def relations(self, candidate: str) -> list[Relation]:
        return self._by_name.relations(candidate)

    def is_name(self, name: str) -> bool:
        """Whether it names a relation, column, function or schema, so that telling it tells no data."""
        if self._names is None:
            relations = self.data.relations.values()
            self._names = frozenset(
                {relation.name for relation in relations}
                | {column for relation in relations for column in relation.columns.values()}
                | self.data.builtin_functions
                | self.data.user_functions
                | self.data.schemas
            )
        return name in self._names

    def runs_code(self, types: Iterable[int]) -> bool:
        return runs_code(types, self.data.code)

    # ------------------------------------------------------------------ names

    def resolve(self, subject: Subject, path: SearchPath) -> Subject:
        known = self._known(path)
        resolved = known.get(subject)
        if resolved is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            resolved = self._resolve(subject, path)
            if not makes(subject):  # what makes names is noted each time
                known[subject] = resolved
        if self._open and resolved in self._open:
            self._wanted(False)
        return resolved

    def _known(self, path: SearchPath) -> dict[Subject, Subject]:
        """What is resolved under this path. A path is hashed only when it is another object than the last one."""
        if path is self._last_path and self._last_resolved is self._resolved:
            return self._last_known
        known = self._resolved.get(path)
        if known is None:
            if len(self._resolved) >= _REMEMBERED:
                self._resolved = {}
            known = self._resolved[path] = {}
        self._last_path, self._last_resolved, self._last_known = path, self._resolved, known
        return known

    def _resolve(self, subject: Subject, path: SearchPath) -> Subject:
        creates = any(verb.startswith("CREATE") or verb == "SELECT INTO" for verb in subject.verbs)
        temporary = bool(subject.facts.get("temporary"))
        own = self._by_name.with_dependents(path.altered) if path.altered else path.altered
        altered = self._altered | self._under_way | own if own or self._under_way else self._altered
        resources = tuple(
            self._candidates(resource, path, altered, (creates and "ddl" in resource.access, temporary))
            if resource.kind == "relation"
            else resource
            for resource in subject.resources
        )
        if resources != subject.resources:
            subject = msgspec.structs.replace(subject, resources=resources)
        subject = self._calls.judged(subject, self.data, path, altered, stale=self.stale)
        subject = self._views.judged(subject, self.data, path, altered, stale=self.stale)
        if own:
            subject = of_altered(subject, own)
        if any(
            candidate.startswith("?.") for item in resources if item.kind == "relation" for candidate in item.candidates
        ):
            if len(self._open) >= _REMEMBERED:
                self._open, self._resolved = set(), {}
            self._open.add(subject)
        if makes(subject) and self._noted(subject):
            self._resolved = {}
        return subject

    def _candidates(
        self, resource: Resource, path: SearchPath, altered: frozenset[str], makes: tuple[bool, bool]
    ) -> Resource:
        """`altered`: what names may mean something else by now; `makes`: whether the relation is being made, and
        whether it is a temporary one."""
        found: list[str] = []
        for candidate in resource.candidates:
            schema, separator, name = candidate.partition(".")
            if separator and schema == "?":
                found += self._look_up(name, path, altered, makes)
            else:
                found.append(candidate)
        return msgspec.structs.replace(resource, candidates=tuple(dict.fromkeys(found)))

    def _look_up(self, name: str, path: SearchPath, altered: frozenset[str], makes: tuple[bool, bool]) -> list[str]:
        """A name that is or was a temporary relation's means that one and what the path gives: the temporary one may
        have gone, and who drops it need not say so."""
        creates, temporary = makes
        if name not in path.temporary and not (creates and temporary):
            return self._along(name, path, altered, creates=creates)
        others = self._along(name, path, altered, creates=creates and not temporary)
        # What took it away need not have said so, and may have taken one of the path in its place.
        others += [f"{schema}.{name}" for schema in path.schemas if self._by_name.relation(schema, name)]
        return [f"pg_temp.{name}", *(other for other in others if not other.startswith("?."))]

    def _along(self, name: str, path: SearchPath, altered: frozenset[str], *, creates: bool) -> list[str]:
        schemas = [self.data.user if schema in (_OWN_SCHEMA, "$user") else schema for schema in path.schemas]
        searched = schemas if "pg_catalog" in schemas else ["pg_catalog", *schemas]
        if altered and not altered.isdisjoint(("*", name)):
            return self._anywhere(name, schemas, searched)
        if path.personal:
            return self._perhaps(name, schemas, searched, creates=creates)
        closed = self.data.closed_schemas - {"pg_catalog"}
        home = next((schema for schema in schemas if schema in self.data.schemas and schema not in closed), "")
        everywhere = [schema for schema in searched if self._by_name.relation(schema, name)]
        found = next((f"{schema}.{name}" for schema in everywhere if schema not in closed), "")
        if creates and home:
            self._announce(name, home)
            return [made for made in dict.fromkeys((f"{home}.{name}", found)) if made]
        if found:
            # Whether the session may use a schema can change before the catalogue is loaded again.
            first = f"{everywhere[0]}.{name}"
            return [found] if first == found else [found, first]
        return [self._unseen(name, schemas)]

    def _anywhere(self, name: str, schemas: list[str], searched: list[str]) -> list[str]:
        """What has the name may have gone, or be made anew, in any schema of the path. Nobody alters pg_catalog."""
        if "pg_catalog" in searched and self._by_name.relation("pg_catalog", name):
            searched = searched[: searched.index("pg_catalog") + 1]
        else:
            searched = schemas
        found = [
            f"{schema}.{name}"
            for schema in dict.fromkeys(searched)
            if self._schemas_altered or schema in self.data.schemas
        ]
        return found or [self._unseen(name, schemas)]

    def _perhaps(self, name: str, schemas: list[str], searched: list[str], *, creates: bool) -> list[str]:
        """For an account that is not the one that reads the catalogue. It may use any schema of the path or none, but
        everybody uses pg_catalog."""
        there = [schema for schema in searched if self._by_name.relation(schema, name)]
        found = there[: there.index("pg_catalog") + 1] if "pg_catalog" in there else there
        homes = [schema for schema in schemas if schema in self.data.schemas] if creates else []
        if len(homes) == 1:
            self._announce(name, homes[0])
        return [f"{schema}.{name}" for schema in dict.fromkeys([*homes, *found])] or [self._unseen(name, schemas)]

    def _unseen(self, name: str, schemas: list[str]) -> str:
        announced = self._announced.get(name)
        return f"{announced}.{name}" if announced in schemas else f"?.{name}"

    def _announce(self, name: str, schema: str) -> None:
        """A relation that is being made has its name at once: it is not in the catalogue before its transaction has
        committed. What the catalogue has under the name comes first."""
        if self._announced.pop(name, schema) != schema or len(self._announced) >= _ANNOUNCED:
            self._resolved = {}
        while len(self._announced) >= _ANNOUNCED:
            del self._announced[next(iter(self._announced))]
        self._announced[name] = schema


def _there(columns: Columns, data: CatalogData) -> Columns:
    return {oid: named for oid, named in columns.items() if oid in data.relations}
