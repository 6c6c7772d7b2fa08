"""What is asked of the target about the tables of a statement, and the estimate and the count of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from data_plane.gate.impact import Figure
from data_plane.protocols.postgres.preview.conversation import Answer, AskError, Conversation
from data_plane.protocols.postgres.preview.deriving import Rows
from data_plane.protocols.postgres.preview.judging import TABLES, quoted
from data_plane.protocols.postgres.preview.question import Bound
from data_plane.protocols.postgres.preview.transaction import Limits, MissingError

# What calls code of the database: a function, also behind an operator or in the checks of a domain.
CALLS_CODE: Final = """
select classid, objid from pg_depend where refobjid >= 16384 and (
  refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
  or refclassid = 'pg_type'::regclass and (select typtype from pg_type where pg_type.oid = refobjid) = 'd')
"""
# With the partitions and children that a statement reaches through a table. The server's own names are the only ones
# that mean anything here: search_path is pg_catalog. Planning alone may evaluate checks (constraint_exclusion).
_TABLES: Final = f"""
with recursive calls(classid, objid) as ({CALLS_CODE}),
named(place, name) as (select ordinality, name from unnest($1::text[]) with ordinality as t(name)),
reached(place, root, oid) as (
  select place, to_regclass(name)::oid, to_regclass(name)::oid from named
  union all
  select r.place, r.root, i.inhrelid from reached r join pg_inherits i on i.inhparent = r.oid)
select n.name, r.root, max(c.reltuples::bigint) filter (where c.oid = r.root),
  bool_or(c.relrowsecurity), string_agg(distinct c.relkind::text, ''),
  bool_or(has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    or has_any_column_privilege(c.oid, 'INSERT, UPDATE')),
  bool_or(exists (select from pg_rewrite w where w.ev_class = c.oid and w.ev_type <> '1')),
  min(case
    when exists (select from calls u where u.classid = 'pg_class'::regclass and u.objid = c.oid and c.relkind = 'p')
      then 'a partition key'
    when exists (
      select from pg_index x join calls u on u.classid = 'pg_class'::regclass and u.objid = x.indexrelid
      where x.indrelid = c.oid) then 'an index'
    when exists (
      select from pg_constraint k join calls u on u.classid = 'pg_constraint'::regclass and u.objid = k.oid
      where k.conrelid = c.oid and k.contype = 'c') then 'a constraint' end)
from named n join reached r using (place) left join pg_class c on c.oid = r.oid
group by n.place, n.name, r.root order by n.place
"""  # noqa: S608  # nothing but the constant above
_MEANT: Final = "select pg_catalog.to_regclass($1)::pg_catalog.oid"


class Table(msgspec.Struct, frozen=True):
    name: str  # schema.name, for people
    oid: str
    rows: int  # by the statistics; -1: not known


async def tables(target: Conversation, names: Sequence[str], *, may_write: bool) -> list[Table]:
    """Of `schema.name`s. Raises MissingError where reading one is not certain to be harmless and complete."""
    written = "{" + ",".join(_array_element(quoted(name.split(".", 1))) for name in names) + "}"
    rows = await target.call(_TABLES, written) if names else []
    found = []
    for name, (_, oid, tuples, secured, kinds, writes, ruled, code) in zip(names, rows, strict=True):
        if oid is None or not kinds:
            raise MissingError(f"the preview role does not see {name}")
        if not set(kinds) <= TABLES:
            raise MissingError(f"{name} has parts that are no ordinary tables")
        if secured == "t":
            raise MissingError(f"{name} is under row security: the preview role may see other rows than the session")
        if ruled == "t":
            raise MissingError(f"{name} has rules: what runs, and what is counted of it, may be something else")
        if code is not None:
            raise MissingError(f"{name} has {code} that calls a function of this database")
        if writes == "t" and not may_write:
            raise MissingError(f"the preview role may write to {name}: take that away, or let the target have dry runs")
        found.append(Table(name, oid, int(tuples or -1)))
    return found


async def compare(target: Conversation, names: Sequence[tuple[str, ...]], found: Sequence[Table]) -> None:
    """Whether names mean the same for the preview role as they do for the session. Raises MissingError."""
    for written, table in zip(names, found, strict=True):
        ((oid,),) = await target.call(_MEANT, quoted(written))
        if oid != table.oid:
            raise MissingError(f"{written[-1]} is another relation for the preview role: give it USAGE on the schemas")


def _array_element(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def estimate(target: Conversation, rows: Rows | None, bound: Bound, limits: Limits) -> Figure:
    if rows is None:
        return Figure(missing="the rows that it touches cannot be told from its text")
    answer = await _tried(target, f"EXPLAIN (FORMAT JSON) SELECT 1 {rows.source}", rows, bound, limits)
    if isinstance(answer, str):
        return Figure(missing=answer)
    try:
        plan: list[dict[str, Any]] = msgspec.json.decode("\n".join(cell or "" for (cell,) in answer.values()))
        return Figure(max(0, int(plan[0]["Plan"]["Plan Rows"])))
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return Figure(missing="the target's plan cannot be read")


async def count(target: Conversation, rows: Rows | None, bound: Bound, limits: Limits) -> Figure:
    if rows is None or not rows.alias or rows.joins:
        return Figure(missing="only UPDATE and DELETE of one table are counted")
    answer = await _tried(target, f"SELECT pg_catalog.count(*) {rows.source}", rows, bound, limits)
    if isinstance(answer, str):
        return Figure(missing=answer)
    ((counted,),) = answer.values()
    return Figure(int(counted or 0))


async def _tried(target: Conversation, text: str, rows: Rows, bound: Bound, limits: Limits) -> Answer | str:
    """The answer, or why there is none; the transaction goes on in either case."""
    try:
        given = bound.only(rows.parameters)
    except IndexError:
        return "it has a parameter that the client did not give"
    await target.ask("SAVEPOINT assentry_preview")
    try:
        return await target.ask(text, given)
    except AskError as refused:
        await target.ask("ROLLBACK TO assentry_preview")
        return limits.why(refused.args[0])
