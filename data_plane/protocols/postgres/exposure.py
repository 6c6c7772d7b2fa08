"""Whether a computed output column may show a protected value: decided from names in the statement's text. Pure.

Conservative by construction: scopes are not followed, so a name counts as protected when any relation that the
statement touches has a protected column of that name, or when a sub-query or CTE gives that name to something that
reads one. Whole rows, sub-queries that cannot be followed, functions that users made and relations that are not known
expose everything. Not covered: what a predicate tells (`where ssn like '1%'`), and values that were written elsewhere
before; those are for policy and for the target's own grants.
"""

from __future__ import annotations

from typing import Final

import msgspec

from data_plane.protocols.postgres.interface import ColumnSource, Lineage

# Functions of the server itself whose result is not a matter of their arguments: they run SQL, read tables, files,
# large objects, statistics or other sessions' statements.
REVEALING_FUNCTIONS: Final = frozenset(
    """
    query_to_xml query_to_xmlschema query_to_xml_and_xmlschema table_to_xml table_to_xmlschema
    table_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema schema_to_xml schema_to_xmlschema
    schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema
    ts_stat ts_rewrite pg_read_file pg_read_binary_file pg_ls_dir lo_get loread lo_import lo_export
    pg_stat_get_activity pg_stat_get_backend_activity pg_mcv_list_items
    pg_prepared_statement pg_cursor pg_logical_slot_get_changes pg_logical_slot_peek_changes
    pg_logical_slot_get_binary_changes pg_logical_slot_peek_binary_changes
    """.split()  # noqa: SIM905 - thirty names read better without quotes
)


class Reach(msgspec.Struct, frozen=True):
    """What a statement could read: names of protected columns of the relations it touches, or anything at all."""

    names: frozenset[str] = frozenset()
    anything: bool = False

    @property
    def nothing(self) -> bool:
        return not self.names and not self.anything


def exposed_outputs(lineage: Lineage | None, count: int, reach: Reach) -> tuple[bool, ...]:
    """For each of `count` output columns whether it may show a protected value."""
    if reach.nothing:
        return (False,) * count
    if reach.anything or lineage is None or lineage.renamed or lineage.outputs is None or len(lineage.outputs) != count:
        return (True,) * count
    tainted = _tainted(lineage, reach.names)
    return tuple(_exposes(output, tainted) for output in lineage.outputs)


def _exposes(source: ColumnSource, tainted: frozenset[str]) -> bool:
    return source.opaque or not tainted.isdisjoint(source.columns)


def _tainted(lineage: Lineage, protected: frozenset[str]) -> frozenset[str]:
    """Names that stand for something protected: columns, whole rows, and what is derived from them, to the end."""
    tainted = protected | lineage.aliases
    while True:
        grown = tainted | {name for name, source in lineage.derived if _exposes(source, tainted)}
        if grown == tainted:
            return tainted
        tainted = grown
