"""Reads what runs code unseen: functions, operators, casts and types that somebody made and that a statement may use
without naming them as such. For `catalog_source`; what it means for a statement says `catalog_calls`.

A function *may do anything* unless it is written in C or is the server's own (only a superuser makes those) and is not
volatile, or came with an extension as an immutable one; an aggregate unless all the functions that it is made of are.
The server's own volatile functions may do anything too, where an operator, a cast or an aggregate of a user calls them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import asyncpg

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.catalog_data import Code, Schemas
from data_plane.protocols.postgres.statements import StatementClassifier

_FIRST_OF_USERS: Final = 16384  # FirstNormalObjectId
_JSON: Final = 114  # JSONOID: what makes jsonb asks for a cast to json too

_DOING_ANYTHING: Final = """
with recursive plain as (
  select p.oid from pg_proc p
  where p.prokind <> 'a' and case when p.oid < 16384 then p.provolatile = 'v' else not (
    p.prolang in (12, 13) and p.provolatile <> 'v'
    or p.provolatile = 'i' and exists (
      select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')) end
), anything as (
  select oid from plain
  union all
  select a.aggfnoid::oid from pg_aggregate a where a.aggfnoid >= 16384 and exists (
    select from plain where plain.oid in (
      a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn,
      a.aggmfinalfn))
)
"""


def doing_anything(query: str) -> str:
    """The query with those functions as its relation `anything`."""
    return f"{_DOING_ANYTHING}{query}"


# `hidden`: pg_catalog has one of the same arguments, which is taken as long as pg_catalog is searched first.
_FUNCTIONS: Final = doing_anything("""
select p.proname as name, n.nspname as schema, bool_and(
    p.pronargdefaults = 0 and p.provariadic = 0 and p.pronamespace <> 'pg_catalog'::regnamespace and exists (
      select from pg_proc own where own.oid < 16384 and own.pronamespace = 'pg_catalog'::regnamespace
        and own.proname = p.proname and own.proargtypes = p.proargtypes)) as hidden
from pg_proc p join anything using (oid) join pg_namespace n on n.oid = p.pronamespace
where p.oid >= 16384 and p.prokind <> 'p' group by 1, 2
""")
_OPERATORS: Final = doing_anything("""
select o.oprname || case when o.oprname = '-' and o.oprleft = 0 then '$1' else '' end as name, n.nspname as schema,
  bool_and(o.oprnamespace <> 'pg_catalog'::regnamespace and exists (
    select from pg_operator own where own.oid < 16384 and own.oprname = o.oprname
      and own.oprleft = o.oprleft and own.oprright = o.oprright)) as hidden
from pg_operator o join anything on anything.oid = o.oprcode join pg_namespace n on n.oid = o.oprnamespace
where o.oid >= 16384 group by 1, 2
""")
# Functions that `x.name` may mean: those that one argument is enough for.
_ATTRIBUTES: Final = doing_anything("""
select distinct proname from pg_proc
where (oid >= 16384 or pronamespace <> 'pg_catalog'::regnamespace) and pronargs > 0 and pronargs - pronargdefaults <= 1
  and (oid in (select oid from anything) or prokind <> 'a' and not (provolatile = 'i' and prolang in (12, 13)))
""")
_CASTS: Final = doing_anything("""
select c.castsource as source, c.casttarget as target, t.typname as name, c.castcontext::text = 'i' as implicit
from pg_cast c join pg_type t on t.oid = c.casttarget
where c.oid >= 16384 and c.castfunc in (select oid from anything)
""")
_TYPES: Final = "select typname from pg_type where oid >= 16384"
_CHECKS: Final = """
select contypid as type, pg_get_expr(conbin, 0) as expression from pg_constraint where contypid <> 0 and contype = 'c'
"""
_BY_THEMSELVES: Final = doing_anything("""
select t.oid from pg_type t left join pg_range r on r.rngtypid = t.oid
where t.oid >= 16384 and exists (select from anything where anything.oid >= 16384 and anything.oid in (
  t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, r.rngcanonical, r.rngsubdiff))
""")
_MADE_OF: Final = """
with recursive found as (
  select unnest($1::oid[]) as oid
  union
  select made.oid from found join pg_type made on made.oid >= 16384 and (
    made.typbasetype = found.oid or made.typelem = found.oid
    or exists (
      select from pg_attribute a where a.attrelid = made.typrelid and a.atttypid = found.oid and a.attnum > 0
        and not a.attisdropped)
    or exists (
      select from pg_range r where made.oid in (r.rngtypid, r.rngmultitypid) and r.rngsubtype = found.oid)))
select t.oid, t.typname from found join pg_type t using (oid)
"""


async def read_code(connection: asyncpg.Connection[Any]) -> Code:
    """The connection's search_path is pg_catalog alone, so that everything of others is written with its schema."""
    functions, operators = await connection.fetch(_FUNCTIONS), await connection.fetch(_OPERATORS)
    casts = await connection.fetch(_CASTS)
    seeds = {row["target"] for row in casts if row["target"] >= _FIRST_OF_USERS}
    seeds.update(row["oid"] for row in await connection.fetch(_BY_THEMSELVES))
    replaced = frozenset(row["name"] for row in functions if row["schema"] == "pg_catalog")
    checks = await connection.fetch(_CHECKS)
    seeds.update(row["type"] for row in checks if not _only_computes(row["expression"], replaced))
    coded = await _made_of(connection, seeds)
    unseen = [row for row in casts if row["implicit"]]
    casts_from = await _made_of(connection, {row["source"] for row in casts})
    casts_unseen = await _made_of(connection, {row[end] for row in unseen for end in ("source", "target")})
    to_json = {row["source"] for row in casts if row["target"] == _JSON}
    built_in = [row for row in casts if max(row["source"], row["target"]) < _FIRST_OF_USERS]
    return Code(
        functions=_schemas(functions, hidden=False),
        hidden_functions=_schemas(functions, hidden=True),
        operators=_schemas(operators, hidden=False),
        hidden_operators=_schemas(operators, hidden=True),
        attribute_functions=frozenset(row["proname"] for row in await connection.fetch(_ATTRIBUTES)),
        types=frozenset(row["typname"] for row in await connection.fetch(_TYPES)),
        coded_types=frozenset(coded.values()),
        coded_values=frozenset(coded),
        coded_casts=frozenset(row["name"] for row in built_in),
        casts_from=frozenset(casts_from),
        casts_unseen=frozenset(casts_unseen),
        casts_to_json=frozenset(await _made_of(connection, to_json)),
        casting_types=frozenset((*casts_from.values(), *casts_unseen.values())),
        casts_everywhere=any(row["implicit"] for row in built_in),
    )


async def _made_of(connection: asyncpg.Connection[Any], types: Iterable[int]) -> dict[int, str]:
    """These types that users made, and all arrays, domains, rows and ranges of them, by name."""
    seeds = [type_ for type_ in types if type_ >= _FIRST_OF_USERS]
    return {row["oid"]: row["typname"] for row in await connection.fetch(_MADE_OF, seeds)} if seeds else {}


def _only_computes(expression: str, replaced: Collection[str]) -> bool:
    """Whether a CHECK calls nothing but harmless functions of the server; `replaced`: names that users gave others."""
    statements = StatementClassifier(2, 0).parse(f"SELECT {expression}".encode()).statements
    subject = statements[0].subject
    names = {name.rpartition(".")[2] for item in subject.resources for name in item.candidates}
    plain = subject.understood and subject.actions <= {Action.READ, Action.SESSION} and not subject.facts["types"]
    return len(statements) == 1 and plain and names.isdisjoint(replaced)


def _schemas(rows: Iterable[asyncpg.Record], *, hidden: bool) -> Schemas:
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["hidden"] is hidden:
            found.setdefault(row["name"], set()).add(row["schema"])
    return {name: frozenset(schemas) for name, schemas in found.items()}
