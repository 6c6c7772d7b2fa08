"""What SQL text would do: classification of PostgreSQL statements, by PostgreSQL's own grammar (libpg_query).

This package reads text and nothing else: no catalogue, no session, no policy, no I/O. It judges a statement by
what it does and not by how it is spelled, over its whole tree; what it does not understand it says so
(`understood=False`), and the gate holds or denies it. It follows PROTOCOLS §2.3 to §2.7.

It does not know what a name means (the catalogue resolves names), what a user's function, trigger, view, operator
or cast does, or which rows are touched. `x.f` may call a function f(x) that somebody defined: such names are told
(`possible_functions`), and the catalogue says whether they are columns. These limits are why the account at the
target must not be able to do more than policy may ever allow (DESIGN §4, 9).

`classifier` caches and never raises; `reading` makes a `Statement` of one tree; `table` says how each statement of
the grammar is judged, with `queries`, `schema`, `sessions`, `settings`, `copying` as its judges over the one
`walker`; `lineage` follows output columns; `catalogue` holds the names that are known, from `names/`.
"""

from data_plane.protocols.postgres.statements.classifier import StatementClassifier
from data_plane.protocols.postgres.statements.findings import FACTS, not_understood

__all__ = ["FACTS", "StatementClassifier", "not_understood"]
