"""The SQL that makes, changes and removes session roles.

Each task is one DO block and so one transaction. Role names cannot be parameters of utility statements; a block whose
text is always the same reads them from the setting `assentry.task` (JSON) and quotes them itself. That keeps verifiers
out of the texts of statements, which logs and views of activity show, and leaves `pg_stat_statements` to others.
The connection's search_path is pg_catalog: nothing that a session made can take the place of what is called here.
"""

from __future__ import annotations

from typing import Final

GIVE: Final = "select set_config('assentry.task', $1, false)"


def _block(declare: str, body: str, *, durable: bool = False) -> str:
    """`durable`: the commit waits for the disk (and for replicas, where the target says so)."""
    wait = "perform set_config('synchronous_commit', 'on', true);" if durable else ""
    return f"""
do $assentry$
declare
  task json := current_setting('assentry.task')::json;
  role text := task->>'role';
  one text;
  {declare}
begin
  perform set_config('assentry.task', '', false);
  {wait}
  {body}
end $assentry$
"""


# `grants`: role by role, with the options that this version knows.
_GRANT: Final = """
  for one in select value from json_array_elements_text(task->'grants') order by value loop
    execute format('grant %I to %I', one, role) || (task->>'options');
  end loop;
"""

CREATE: Final = _block(
    "setting record;",
    f"""
  if exists (select from pg_roles r, json_array_elements_text(task->'every') as t(name)
             where r.rolname = t.name and r.rolsuper) then
    raise insufficient_privilege using message = 'a group role of session_roles is a superuser';
  end if;
  execute format('create role %I login password %L valid until %L connection limit 1', role, task->>'verifier',
    to_char((now() + make_interval(secs => (task->>'seconds')::float8)) at time zone 'UTC',
            'YYYY-MM-DD HH24:MI:SS.US') || '+00');
  {_GRANT}
  for setting in select key, value from json_each_text(task->'settings') loop
    execute format('alter role %I set %I = %L', role, setting.key, setting.value);
  end loop;
  if task->>'owner' <> '' then
    execute format('grant %I to %I', task->>'owner', role) || (task->>'as_owner');
    execute format('alter role %I set role = %L', role, task->>'owner');
  end if;
  execute format('comment on role %I is %L', role, task->>'comment');
""",  # noqa: S608  # nothing but constants
)

CLOSE: Final = _block("", "execute format('alter role %I nologin password null', role);")

WIDEN: Final = _block(
    "",
    f"""
  {_GRANT}
  if task->>'comment' <> '' then
    execute format('comment on role %I is %L', role, task->>'comment');
  end if;
""",
)

# From PostgreSQL 16 on, what another account of this agent has given (it was replaced meanwhile) is revoked by nobody
# else, and only a warning says so.
NARROW: Final = _block(
    "",
    """
  for one in select value from json_array_elements_text(task->'grants') order by value loop
    execute format('revoke %I from %I', one, role);
  end loop;
  if exists (select from pg_auth_members m join pg_roles g on g.oid = m.roleid
             where m.member = (select oid from pg_roles r where r.rolname = role)
               and g.rolname in (select value from json_array_elements_text(task->'grants'))) then
    raise exception 'another account gave it' using errcode = 'invalid_grantor';
  end if;
""",
)

# From here on: the end of a role.
_MAKE_SURE: Final = """
  if not pg_has_role(current_user, role, 'USAGE') then
    execute format('grant %I to current_user', role) || (task->>'options');
  end if;
"""

DISABLE: Final = _block("", "execute format('alter role %I nologin password null', role);", durable=True)

# A backend that will not end has no rights left, whatever it does next.
STRIP: Final = _block(
    "",
    f"""
  for one in select g.rolname from pg_auth_members m join pg_roles g on g.oid = m.roleid
             where m.member = (select oid from pg_roles r where r.rolname = role) order by 1 loop
    execute format('revoke %I from %I', one, role);
  end loop;
  {_MAKE_SURE}
""",  # noqa: S608  # nothing but constants
    durable=True,
)

# For what only its owner may do, and cannot be done in a block: `COME_BACK` takes back what `BECOME` had to lend.
BECOME: Final = _block(
    "",
    """
  perform set_config('assentry.lent', '', false);
  if not pg_has_role(current_user, role, task->>'privilege') then
    execute format('grant %I to current_user', role) || (task->>'options');
    perform set_config('assentry.lent', role, false);
  end if;
  perform set_config('role', role, false);
""",
)
COME_BACK: Final = """
do $assentry$
begin
  reset role;
  if current_setting('assentry.lent') <> '' then
    execute format('revoke %I from current_user', current_setting('assentry.lent'));
  end if;
end $assentry$
"""

# In each database. Handing over needs the rights of both sides: lent for this transaction where they are lacking.
# Without `everything`, large objects only: they are data and carry no code.
CLEAN: Final = _block(
    "owner text := task->>'owner'; lent boolean := false;",
    f"""
  {_MAKE_SURE}
  if owner <> '' then
    if not (pg_has_role(current_user, owner, 'USAGE') and pg_has_role(current_user, owner, task->>'privilege')) then
      execute format('grant %I to current_user', owner) || (task->>'options');
      lent := true;
    end if;
    if (task->>'everything')::boolean then
      execute format('reassign owned by %I to %I', role, owner);
    else
      for one in select oid::text from pg_largeobject_metadata
                 where lomowner = (select oid from pg_roles r where r.rolname = role) loop
        execute format('alter large object %s owner to %I', one, owner);
      end loop;
    end if;
  end if;
  if (task->>'drop')::boolean then
    execute format('drop owned by %I', role);
  end if;
  if lent then
    execute format('revoke %I from current_user', owner);
  end if;
""",  # noqa: S608  # nothing but constants
    durable=True,
)

# Whoever holds a lock on the role must not keep other sessions from theirs: it is tried again.
DROP: Final = _block(
    "",
    """
  perform set_config('lock_timeout', '100ms', true);
  execute format('drop role if exists %I', role);
""",
    durable=True,
)

# ---------------------------------------------------------------- what is asked

ABOUT: Final = """
select r.oid, r.rolcanlogin as may_sign_in, coalesce(r.rolvaliduntil > now(), true) as in_time,
  coalesce(shobj_description(r.oid, 'pg_authid'), '') as comment,
  array(select a.pid from pg_stat_activity a where a.usesysid = r.oid) as backends,
  array(select p.gid from pg_prepared_xacts p where p.owner = r.rolname) as prepared,
  array(select distinct coalesce(d.datname, '') from pg_shdepend s left join pg_database d on d.oid = s.dbid
        where s.refclassid = 'pg_authid'::regclass and s.refobjid = r.oid) as databases
from pg_roles r where r.rolname = $1
"""
# Its own, and those of others that hold a lock on it, which would keep it from being dropped.
PREPARED: Final = """
with kept as materialized (select * from pg_locks where pid is null)
select p.gid, p.owner, p.database from pg_prepared_xacts p
where p.owner = $1 or p.transaction in (
  select own.transactionid from kept l join kept own using (virtualtransaction)
  where own.locktype = 'transactionid' and l.locktype = 'object' and l.classid = 'pg_authid'::regclass
    and l.objid = (select oid from pg_roles where rolname = $1))
"""
# Without what is dropped rather than handed over: default privileges and user mappings.
OWNED: Final = """
select pg_describe_object(s.classid, s.objid, s.objsubid)
from pg_shdepend s where s.refclassid = 'pg_authid'::regclass and s.deptype = 'o'
  and s.refobjid = (select oid from pg_roles where rolname = $1)
  and s.dbid in (0, (select oid from pg_database where datname = current_database()))
  and s.classid not in ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
order by 1 limit 6
"""
# The snapshot of pg_roles is older than what pg_stat_activity tells: who has signed in by then is seen in one of them.
EXISTING: Final = """
select r.rolname, r.rolcanlogin and coalesce(r.rolvaliduntil > now(), true) as can_sign_in,
  exists (select from pg_stat_activity a where a.usesysid = r.oid) as in_use
from pg_roles r where starts_with(r.rolname, $1) order by 1
"""
TERMINATE: Final = "select pg_terminate_backend(a.pid) from pg_stat_activity a where a.usesysid = $1"
