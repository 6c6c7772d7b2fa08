"""What a walk over one statement collects, and the `Subject` that comes of it.

A statement has the actions of all its parts. The one it goes by is the worst, in the order of `SEVERITY`: what
runs arbitrary code is worse than administration, which is worse than a change of the schema, and what is not
understood is worse than anything. What has no other action is of the session. Facts are always all there, with the
same types, so that a condition can name them.
"""

from __future__ import annotations

from data_plane.gate.interface import Action, FactValue, Resource, Subject
from data_plane.protocols.postgres.interface import Reference, SessionEffect

SEVERITY: dict[Action, int] = {
    Action.SESSION: 0,
    Action.READ: 1,
    Action.WRITE: 2,
    Action.DDL: 3,
    Action.ADMIN: 4,
    Action.EXEC: 5,
    Action.UNKNOWN: 6,
}

# Every fact of a PostgreSQL statement, with its value when nothing is to be said.
FACTS: dict[str, FactValue] = {
    "command": "",  # the leading verb as written: SELECT, EXPLAIN, DECLARE, COPY, CREATE, …
    "object": "",  # what a CREATE, ALTER or DROP is about: table, view, function, role, …
    # Of UPDATE and DELETE: the WHERE of each one names a column, and of INSERT … ON CONFLICT UPDATE the conflict does;
    # else: the query has a WHERE. It finds a forgotten WHERE, not one that was written to match all (id = id).
    "has_where": False,
    "has_limit": False,
    "limit": -1,  # the constant of the outer LIMIT
    "returning": False,  # a change that gives rows back
    "explain": False,
    "analyze": False,  # EXPLAIN ANALYZE
    "locks": False,  # FOR UPDATE … FOR KEY SHARE, LOCK
    "cascade": False,
    "temporary": False,  # makes something in the session's own schema
    "security_definer": False,
    "language": "",  # of DO and CREATE FUNCTION
    "copy": "",  # to-client, from-client, to-file, from-file, to-program, from-program
    "tables": (),  # as written, "?.name" without a schema
    "functions": (),
    "unknown_functions": (),  # those in no list
    "possible_functions": (),  # names after a dot: a column, or a function that is called with what stands before
    "attributes": (),  # those of them behind something that is no relation of the statement: a row, a value
    "operators": (),
    "types": (),  # cast to, and not of pg_catalog
    "casts": (),  # cast to, and of pg_catalog
    "columns": (),  # every column name that is read, from whichever relation
    "assigned": (),  # column names that INSERT, UPDATE and MERGE give values
    "settings": (),  # parameters that are set or reset
}


class Findings:
    """Mutable while its statement is walked."""

    def __init__(self) -> None:
        self.actions: set[Action] = set()
        self.calls = False  # a function that is harmless: a read where nothing else is
        self.verbs: dict[str, None] = {}
        self.resources: dict[tuple[str, str], dict[str, None]] = {}
        self.problem = ""
        self.facts: dict[str, FactValue] = {}
        self.columns: dict[str, None] = {}
        self.assigned: dict[str, None] = {}
        self.types: dict[str, None] = {}
        self.casts: dict[str, None] = {}
        self.operators: dict[str, None] = {}
        self.settings: dict[str, None] = {}
        self.unknown_functions: dict[str, None] = {}
        self.possible_functions: dict[str, set[str]] = {}  # with what stands before the dot; "" for an expression
        self.of_relations: set[str] = {"excluded", "old", "new"}  # names and aliases that stand for relations
        self.of_rows: set[str] = {""}  # … for sub-queries, functions, joins, or with other names for their columns
        self.column_references = 0
        self.filters: list[bool] = []  # of each UPDATE and DELETE: whether it names rows
        self.changes = 0  # INSERT, UPDATE, DELETE and MERGE in it, wherever
        self.constant_limits = 0  # LIMIT constants met: facts that depend on a constant
        self.effects: list[SessionEffect] = []
        self.references: list[Reference] = []

    def act(self, action: Action) -> None:
        self.actions.add(action)

    def fail(self, problem: str) -> None:
        """The statement is not understood. The first reason is told."""
        self.problem = self.problem or problem
        self.actions.add(Action.UNKNOWN)

    def touch(self, kind: str, name: str, access: str) -> None:
        key = (kind, name)
        accesses = self.resources.get(key)
        if accesses is None:
            self.resources[key] = {access: None}
        else:
            accesses[access] = None

    def relation(self, name: str, access: str) -> None:
        self.touch("relation", name, access)

    def _named(self, kind: str) -> tuple[str, ...]:
        return tuple(name for found, name in self.resources if found == kind)

    def _attributes(self) -> tuple[str, ...]:
        certain = self.of_relations - self.of_rows
        return tuple(name for name, behind in self.possible_functions.items() if not behind <= certain)

    def subject(self) -> Subject:
        facts = {
            **FACTS,
            **self.facts,
            "tables": self._named("relation"),
            "functions": self._named("function"),
            "unknown_functions": tuple(self.unknown_functions),
            "possible_functions": tuple(self.possible_functions),
            "attributes": self._attributes(),
            "operators": tuple(self.operators),
            "types": tuple(self.types),
            "casts": tuple(self.casts),
            "columns": tuple(self.columns),
            "assigned": tuple(self.assigned),
            "settings": tuple(self.settings),
        }
        if self.filters:
            facts["has_where"] = all(self.filters)
        resources = tuple(Resource(kind, (name,), tuple(access)) for (kind, name), access in self.resources.items())
        actions = frozenset(self.actions or (Action.READ if self.calls else Action.SESSION,))
        worst = max(actions, key=SEVERITY.__getitem__)
        return Subject(worst, tuple(self.verbs), resources, facts, not self.problem, self.problem, actions)


def not_understood(problem: str) -> Subject:
    return Subject(Action.UNKNOWN, (), (), dict(FACTS), understood=False, problem=problem)
