"""A dry run: the statement itself, executed by the preview role and rolled back. Only where the target consents.

It takes the locks that the statement takes, as long as it runs, and leaves dead rows behind. What does not roll back
must not happen, so it is refused where the tables that it reaches (partitions, and those that foreign keys cascade to)
have triggers, rules, row security, or call functions of the database in defaults, checks, generated columns or indexes;
where a default takes a number from a sequence; and inside the client's transaction, of which it would see nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from data_plane.gate.impact import DryRun, Keys, TableRows
from data_plane.protocols.postgres.preview.conversation import AskError, Conversation, read_rows
from data_plane.protocols.postgres.preview.deriving import Rows, rows_of
from data_plane.protocols.postgres.preview.judging import quoted
from data_plane.protocols.postgres.preview.probing import CALLS_CODE, Table
from data_plane.protocols.postgres.preview.question import Question
from data_plane.protocols.postgres.preview.transaction import Limits, MissingError

MaskRows = Callable[[bytes, bytes], bytes]
"""The payload of a RowDescription and whole DataRow messages; the same rows, masked. Never raises."""

_SAMPLE: Final = 5
_LONGEST_KEY: Final = 200  # characters
_MOST_TABLES: Final = 50
_KEPT: Final = ("the locks that it takes were held while it ran; dead rows and WAL remain",)

_RUNS: Final = f"""
with recursive reached(oid) as (
  select unnest($1::oid[])
  union
  select x.oid from reached r, lateral (
    select inhrelid from pg_inherits where inhparent = r.oid
    union all
    select conrelid from pg_constraint where confrelid = r.oid and contype = 'f'
      and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))) x(oid)),
of_users(classid, objid) as ({CALLS_CODE})
select format('%s.%s', n.nspname, c.relname), case
  when c.relkind not in ('r', 'p') then 'is no ordinary table'
  when c.relrowsecurity then 'is under row security'
  when exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D')
    then 'has a trigger'
  when exists (select from pg_rewrite w where w.ev_class = c.oid) then 'has a rule'
  when exists (
    select from pg_constraint k join of_users u on u.classid = 'pg_constraint'::regclass and u.objid = k.oid
    where k.conrelid = c.oid and k.contype = 'c') then 'has a constraint that calls a function of this database'
  when c.relkind = 'p' and exists (
    select from of_users u where u.classid = 'pg_class'::regclass and u.objid = c.oid)
    then 'has a partition key that calls a function of this database'
  when exists (
    select from pg_attrdef a join of_users u on u.classid = 'pg_attrdef'::regclass and u.objid = a.oid
    where a.adrelid = c.oid) then 'has a default or generated column that calls a function of this database'
  when exists (
    select from pg_index i join of_users u on u.classid = 'pg_class'::regclass and u.objid = i.indexrelid
    where i.indrelid = c.oid) then 'has an index that calls a function of this database'
  when exists (
    select from pg_constraint k where k.confrelid = c.oid and k.contype = 'f'
      and (k.confdeltype = 'd' or k.confupdtype = 'd')) then 'has a foreign key that sets defaults'
  when $2 and (exists (
      select from pg_attrdef a where a.adrelid = c.oid and pg_get_expr(a.adbin, a.adrelid) like '%nextval(%')
    or exists (select from pg_depend d where d.refobjid = c.oid and d.refclassid = 'pg_class'::regclass
      and d.classid = 'pg_class'::regclass and d.deptype = 'i'
      and (select relkind from pg_class s where s.oid = d.objid) = 'S'))
    then 'takes a number from a sequence, which cannot be given back'
  end
from reached join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace order by 1
"""  # noqa: S608  # nothing but a constant
_KEY: Final = """
select a.attname from pg_index i cross join unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = $1::oid and i.indisprimary order by k.place
"""
_TOUCHED: Final = """
select pg_catalog.format('%s.%s', schemaname, relname), n_tup_ins, n_tup_upd, n_tup_del
from pg_catalog.pg_stat_xact_user_tables
where n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del OPERATOR(pg_catalog.>) 0
order by 1
"""


def objection(question: Question, *, consents: bool) -> str:
    """Why there is none, as far as the statement and the target's definition say."""
    if not consents:
        return "this target does not consent to dry runs"
    if question.in_transaction:
        return "it would see nothing of what the client's open transaction has done"
    if question.statement is None or not question.statement.counted:
        return "only one INSERT, UPDATE, DELETE or MERGE is run dry"
    return ""


async def judge(target: Conversation, changed: Sequence[Table], *, takes_defaults: bool) -> None:
    """Whether what it changes runs anything besides. Raises MissingError. The search path is pg_catalog."""
    oids = "{" + ",".join(table.oid for table in changed) + "}"
    for name, problem in await target.call(_RUNS, oids, "true" if takes_defaults else "false"):
        if problem is not None:
            raise MissingError(f"{name} {problem}")


async def key_of(target: Conversation, changed: Sequence[Table]) -> tuple[str, ...]:
    """The columns of the primary key of the only table that it changes; empty: there is none."""
    if len(changed) != 1:
        return ()
    return tuple(name or "" for (name,) in await target.call(_KEY, changed[0].oid))


async def run(target: Conversation, question: Question, key: tuple[str, ...], limits: Limits, mask: MaskRows) -> DryRun:
    """In a transaction of its own, in the state of the session; the caller rolls back."""
    keys = await _sample(target, question, key, rows_of(question.text), mask)
    begun = time.monotonic()
    try:
        answer = await target.ask(question.text, question.bound)
        await target.ask("SET CONSTRAINTS ALL IMMEDIATE")
    except AskError as refused:
        return DryRun(missing=f"run dry, it fails: {limits.why(refused.args[0])}", keys=keys, kept=_KEPT)
    milliseconds = round((time.monotonic() - begun) * 1000)
    touched = (await target.ask(_TOUCHED)).values()
    counted = [TableRows(name or "", int(new or 0), int(upd or 0), int(gone or 0)) for name, new, upd, gone in touched]
    rows = answer.tag.rpartition(" ")[2]
    return DryRun(
        rows=int(rows) if rows.isdecimal() else None,
        missing="" if rows.isdecimal() else "the target does not say how many rows it touched",
        tables=tuple(counted[:_MOST_TABLES]),
        keys=keys,
        milliseconds=milliseconds,
        kept=_KEPT,
    )


async def _sample(
    target: Conversation, question: Question, key: tuple[str, ...], rows: Rows | None, mask: MaskRows
) -> Keys | None:
    """Primary keys of a few of the rows, before they are changed."""
    if rows is None or not rows.alias or rows.joins or not key:
        return None
    columns = ", ".join(quoted((rows.alias, column)) for column in key)
    await target.ask("SAVEPOINT assentry_sample")
    try:
        given = question.bound.only(rows.parameters)
        answer = await target.ask(f"SELECT {columns} {rows.source} LIMIT {_SAMPLE}", given)
    except (AskError, IndexError):
        await target.ask("ROLLBACK TO assentry_sample")
        return None
    return Keys(key, tuple(tuple(map(_shown, row)) for row in read_rows(mask(answer.description, answer.rows))))


def _shown(cell: str | None) -> str:
    if cell is None:
        return "NULL"
    return cell if len(cell) <= _LONGEST_KEY else f"{cell[:_LONGEST_KEY]}… ({len(cell)} characters)"
