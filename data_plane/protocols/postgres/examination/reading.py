"""Reads the rights of one database, as the account that is examined, in one read-only transaction.

Every role may read these catalogues. Relations of the server itself are looked at only where they hold what nobody but
a superuser should see.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg

from data_plane.credentials.ports import PasswordCredential
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres.catalog_data import CatalogData
from data_plane.protocols.postgres.catalog_source import AsyncpgCatalogSource, tls_context
from data_plane.protocols.postgres.examination import rights
from data_plane.protocols.postgres.examination.rights import Rights
from data_plane.protocols.postgres.own_connection import connect
from data_plane.protocols.postgres.target_connection import read_address

Rows = list[asyncpg.Record]

_SECONDS: Final = 20.0
_OURS: Final = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
_CLOSED: Final = (
    "'pg_authid', 'pg_shadow', 'pg_largeobject', 'pg_statistic', 'pg_statistic_ext_data', 'pg_user_mapping', "
    "'pg_subscription', 'pg_hba_file_rules', 'pg_ident_file_mappings', 'pg_file_settings', 'pg_backend_memory_contexts'"
)
_RELATIONS: Final = f"""
select c.oid, c.relkind, c.relowner, c.relacl, coalesce('security_invoker=true' = any(c.reloptions)
  or 'security_invoker=on' = any(c.reloptions) or 'security_invoker=1' = any(c.reloptions), false) as invoker
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and ({_OURS} or n.nspname = 'pg_catalog' and c.relname in ({_CLOSED}))
"""  # noqa: S608 - constants
_FUNCTIONS: Final = """
select p.oid, n.nspname, p.proname, pg_get_function_identity_arguments(p.oid) as arguments, p.prokind::text as kind,
  p.proowner, p.proacl, case
    when n.nspname = 'pg_catalog' then
      case when p.proname ~ '^lo_|^lo(w)' then 'it changes large objects, which nobody owns but whoever made them'
           else 'it reaches the files of the server' end
    when e.extname in ('dblink', 'adminpack', 'file_fdw', 'http', 'pg_net', 'pg_background', 'plsh', 'pg_cron',
                       'aws_s3', 'aws_lambda', 'oracle_fdw', 'pg_file_settings')
      then 'it reaches out of this database (' || e.extname || ')'
    when not l.lanpltrusted and l.lanname not in ('c', 'internal')
      then 'its language (' || l.lanname || ') has no bounds'
    when p.prosecdef then 'it runs with the rights of its owner'
    else '' end as dangerous
from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
left join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
left join pg_extension e on e.oid = d.refobjid
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
   or n.nspname = 'pg_catalog' and (p.proname in (
        'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_unlink', 'lo_truncate', 'lo_truncate64', 'lowrite',
        'lo_import', 'lo_export', 'pg_read_file', 'pg_read_binary_file', 'pg_stat_file', 'pg_ls_dir', 'pg_ls_waldir',
        'pg_ls_logdir', 'pg_ls_tmpdir', 'pg_reload_conf', 'pg_rotate_logfile'))
"""
_GRANTS: Final = f"""
with relations as ({_RELATIONS}), functions as ({_FUNCTIONS}), found as (
  select 'relation' as kind, oid, 0 as attnum,
    aclexplode(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) as g
  from relations
  union all
  select 'relation', a.attrelid, a.attnum, aclexplode(a.attacl) from pg_attribute a
  where a.attacl is not null and not a.attisdropped and a.attnum > 0 and a.attrelid in (select oid from relations)
  union all
  select 'schema', n.oid, 0, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) from pg_namespace n
  where {_OURS}
  union all
  select 'database', oid, 0, aclexplode(coalesce(datacl, acldefault('d', datdba))) from pg_database where datallowconn
  union all
  select 'function', oid, 0, aclexplode(coalesce(proacl, acldefault('f', proowner))) from functions
)
select kind, oid, attnum, (g).grantee, (g).privilege_type from found
"""  # noqa: S608 - constants
_ROLES: Final = """
select oid, rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
  rolinherit from pg_roles
"""
_SEQUENCES: Final = """
select distinct a.adrelid, s.oid from pg_attrdef a
  join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid and d.refclassid = 'pg_class'::regclass
  join pg_class s on s.oid = d.refobjid and s.relkind = 'S'
"""
_DEFAULTS: Final = """
select d.defaclrole, d.defaclnamespace, d.defaclobjtype::text, (g).grantee, (g).privilege_type
from (select *, aclexplode(defaclacl) as g from pg_default_acl) d
"""


async def read(spec: TargetSpec, database: str, credential: PasswordCredential) -> Rights:
    """Raises ConnectionError when the target cannot be asked."""
    user, password = credential.username, credential.password

    async def own() -> tuple[str, str]:
        return user, password.reveal()

    data = await AsyncpgCatalogSource(spec.address, database, own, spec.tls).load("")
    if data is None:
        raise ConnectionError(f"the catalogue of {database} cannot be read")
    address = read_address(spec.address)
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(
                host=address.host, port=address.port, user=user, password=password.reveal(), database=database,
                ssl=tls_context(spec.tls), statement_cache_size=0,
                server_settings={"application_name": "assentry doctor", "search_path": "pg_catalog"},
            )  # fmt: skip
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    return await _read(connection, data)
            finally:
                await connection.close(timeout=1)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise ConnectionError(f"the rights in {database} cannot be read: {error}") from error


async def _read(connection: asyncpg.Connection[Any], data: CatalogData) -> Rights:
    """`data` was read a moment before: what was made since is not looked at."""
    relations = [row for row in await connection.fetch(_RELATIONS) if row["oid"] in data.relations]
    ours = f"select n.oid, n.nspname, n.nspowner from pg_namespace n where {_OURS}"  # noqa: S608 - a constant
    databases = "select oid, datname, datdba from pg_database where datallowconn"
    return Rights(
        version=int(await connection.fetchval("select current_setting('server_version_num')")),
        account=str(await connection.fetchval("select current_user")),
        database=str(await connection.fetchval("select current_database()")),
        data=data,
        roles={row[0]: rights.Role(*row) for row in await connection.fetch(_ROLES)},
        members=await _members(connection),
        schemas={row[0]: rights.Schema(*row) for row in await connection.fetch(ours)},
        databases={row[0]: rights.Database(*row) for row in await connection.fetch(databases)},
        functions=await _functions(connection),
        owners={row["oid"]: row["relowner"] for row in relations},
        invokers=frozenset(row["oid"] for row in relations if row["invoker"]),
        sequences=tuple(
            (table, sequence)
            for table, sequence in await connection.fetch(_SEQUENCES)
            if {table, sequence} <= data.relations.keys()
        ),
        grants=tuple(
            grant
            for grant in map(_grant, await connection.fetch(_GRANTS))
            if grant.kind != "relation" or grant.oid in data.relations
        ),
        defaults=tuple(rights.DefaultGrant(*row) for row in await connection.fetch(_DEFAULTS)),
    )


def _grant(row: asyncpg.Record) -> rights.Grant:
    return rights.Grant(*row)


async def _members(connection: asyncpg.Connection[Any]) -> tuple[rights.Membership, ...]:
    """One row for each pair: several may have let a member in."""
    found = await connection.fetch(
        "select roleid, member, bool_or(admin_option) from pg_auth_members group by roleid, member"
    )
    return tuple(rights.Membership(*row) for row in found)


async def _functions(connection: asyncpg.Connection[Any]) -> dict[int, rights.Function]:
    return {
        row["oid"]: rights.Function(
            oid=row["oid"],
            schema=row["nspname"],
            name=row["proname"],
            arguments=row["arguments"],
            kind=row["kind"],
            owner=row["proowner"],
            dangerous=row["dangerous"],
        )
        for row in await connection.fetch(_FUNCTIONS)
    }
