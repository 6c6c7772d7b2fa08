"""The SQL that sets a target up: roles for sessions with just what policy needs, and an account for the agent that can
make sessions' accounts and do nothing else by itself.

It is written for the database as it was seen, in one transaction, and may be applied again: rights that are no longer
needed go, those that are come. Passwords are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from data_plane.protocols.postgres.examination.needs import BOUNDED, Needs, Question
from data_plane.protocols.postgres.examination.public import TABLES_AND_SEQUENCES, closing, defaults_of
from data_plane.protocols.postgres.examination.rights import ADMIN_OPTIONS_MATTER, Access, Rights, beyond, together
from data_plane.protocols.postgres.examination.sql import Writer, comment, made_if_missing, name, names

_EVERYBODY: Final = (
    "What every role of the server may do is taken from PUBLIC and given to the roles that there are today. Roles that "
    "are made later do not have it: grant it to those that need it."
)

_ITS_OWN: Final = {("database", "CONNECT"), ("schema", "USAGE")}


def account_for(question: Question, rights: Rights) -> str:
    """The agent's account: the one that looked, unless it can never be a narrow one."""
    role = rights.role(rights.account)
    if role is None or role.superuser or role.oid in owning(rights):
        return f"assentry_{''.join(letter if letter.isalnum() else '_' for letter in question.target)}"[:63]
    return rights.account


def owning(rights: Rights) -> frozenset[int]:
    """Roles that own something in this database, or a database."""
    return frozenset(
        {
            *rights.owners.values(),
            *(schema.owner for schema in rights.schemas.values()),
            *(database.owner for database in rights.databases.values()),
            *(function.owner for function in rights.functions.values()),
        }
    )


def script(question: Question, rights: Rights, needs: Needs) -> str:
    account = account_for(question, rights)
    parts: Iterable[tuple[str, Iterable[str]]] = (
        ("Roles of sessions. Nobody signs in as one of them.", _roles(question, rights, needs)),
        ("What they may do: first nothing, then what policy lets sessions do.", _rights(rights, needs)),
        ("What they may do with tables that are made one day.", _defaults(rights, needs)),
        (
            _EVERYBODY,
            closing(rights, needs, (account, question.preview)),
        ),
        ("The agent's account.", _account(rights, needs, account)),
    )
    lines = [comment(f"Target {question.target}, database {rights.database}: least privilege for its sessions."),
             comment("Written by `assentry targets doctor`. Apply it here as a superuser, then look again."),
             "BEGIN;"]  # fmt: skip
    for title, statements in parts:
        if wanted := list(statements):
            lines += ["", comment(title), *wanted]
    lines += ["", "COMMIT;"]
    if rights.role(account) is None:
        lines += ["", comment(f"Then give {account} a password and put both where the agent finds them.")]
    return "\n".join(lines) + "\n"


def _roles(question: Question, rights: Rights, needs: Needs) -> Iterator[str]:
    for role in needs.every_role:
        yield made_if_missing(role, "NOLOGIN")
        known = rights.role(role)
        if known is not None and role in needs.access:
            yield from narrowed(rights, role)
    for milder in _of_the_owner(question, needs):
        yield f"GRANT {name(milder)} TO {name(needs.owner)};"


def _of_the_owner(question: Question, needs: Needs) -> Iterator[str]:
    """Sessions that policy lets change the schema run as the owner of what they make, so it needs what they need; where
    people approve each change, it needs what its views read."""
    if needs.owner in needs.additions:
        alone = any(one.action == "ddl" and not one.held for one in question.reaches)
        for action in BOUNDED if alone else BOUNDED[:1]:
            if action in needs.written:
                yield needs.written[action]


def narrowed(rights: Rights, role: str) -> Iterator[str]:
    """Without attributes and other roles. Attributes are named only where they are set: that needs a superuser."""
    known = rights.role(role)
    if known is None:
        return
    flags = {"SUPERUSER": known.superuser, "CREATEROLE": known.createrole, "CREATEDB": known.createdb,
             "LOGIN": known.login, "REPLICATION": known.replication, "BYPASSRLS": known.bypassrls}  # fmt: skip
    if wrong := [f"NO{flag}" for flag, on in flags.items() if on]:
        yield f"ALTER ROLE {name(role)} {' '.join(wrong)};"
    for other in sorted(rights.roles[oid].name for oid in rights.becoming(known.oid) - {known.oid}):
        if any(rights.roles[one.role].name == other and one.member == known.oid for one in rights.members):
            yield f"REVOKE {name(other)} FROM {name(role)};"


def _rights(rights: Rights, needs: Needs) -> Iterator[str]:
    writer = Writer(rights)
    if needs.access:
        ours = names(needs.access)
        for schema in sorted(rights.schemas.values(), key=lambda one: one.name):
            for what in ("TABLES", "SEQUENCES", "ROUTINES"):
                yield f"REVOKE ALL ON ALL {what} IN SCHEMA {name(schema.name)} FROM {ours};"
            yield f"REVOKE ALL ON SCHEMA {name(schema.name)} FROM {ours};"
        yield f"REVOKE ALL ON DATABASE {name(rights.database)} FROM {ours};"
        for role, access in needs.access.items():
            known = rights.role(role)
            left = beyond(rights.access([known.oid]), access) if known else {}
            yield from writer.taken({key: left[key] for key in left if _elsewhere(rights, *key[:2])}, role)
    for role, access in {**needs.access, **needs.additions}.items():
        yield from writer.given(access, [role])
    for oid, why in sorted(needs.left_out.items()):
        yield comment(f"{writer.thing('relation', oid)} is left out: {why}")


def _elsewhere(rights: Rights, kind: str, oid: int) -> bool:
    """Not of what was taken by schema."""
    if kind == "database":
        return rights.databases[oid].name != rights.database
    known = rights.data.relations.get(oid) if kind == "relation" else rights.functions.get(oid)
    return known is not None and known.schema == "pg_catalog"


def _defaults(rights: Rights, needs: Needs) -> Iterator[str]:
    wanted: dict[tuple[str, int, str], set[str]] = {}
    for default in needs.defaults:
        wanted.setdefault((default.creator, default.schema, default.role), set()).add(default.privilege)
    yield from stale_defaults(rights, needs)
    for (creator, schema, role), privileges in sorted(wanted.items()):
        head = defaults_of(rights, creator, schema)
        yield f"{head} GRANT {', '.join(sorted(privileges))} ON TABLES TO {name(role)};"
        if "INSERT" in privileges:
            yield f"{head} GRANT USAGE ON SEQUENCES TO {name(role)};"


def stale_defaults(rights: Rights, needs: Needs) -> Iterator[str]:
    """What the roles would get one day and policy does not say."""
    wanted = {(one.creator, one.schema, one.role, one.privilege) for one in needs.defaults}
    wanted |= {(creator, schema, role, "USAGE") for creator, schema, role, what in wanted if what == "INSERT"}
    for default in rights.defaults:
        creator, grantee = rights.roles[default.creator].name, rights.roles.get(default.grantee)
        if grantee is None or grantee.name not in (*needs.access, rights.account):
            continue
        if (creator, default.schema, grantee.name, default.privilege) not in wanted:
            what = {**TABLES_AND_SEQUENCES, "f": "ROUTINES", "T": "TYPES", "n": "SCHEMAS"}.get(default.what, "TABLES")
            head = defaults_of(rights, creator, default.schema)
            yield f"{head} REVOKE {default.privilege} ON {what} FROM {name(grantee.name)};"


def account_access(needs: Needs) -> Access:
    """What the agent's own account needs: to connect, and to see which names are whose."""
    every = together([*needs.access.values(), *needs.additions.values()])
    return {key: columns for key, columns in every.items() if (key[0], key[2]) in _ITS_OWN}


def _account(rights: Rights, needs: Needs, account: str) -> Iterator[str]:
    writer, known = Writer(rights), rights.role(account)
    yield made_if_missing(account, "LOGIN CREATEROLE")
    needed = account_access(needs)
    if known is None:
        yield f"ALTER ROLE {name(account)} LOGIN CREATEROLE;"
    else:
        yield from account_narrowed(rights, needs, account)
        yield from writer.taken(beyond(rights.access([known.oid]), needed), account)
    yield from writer.given(needed, [account])
    if rights.version >= ADMIN_OPTIONS_MATTER:
        yield from (letting_in(role, account) for role in needs.every_role)


def letting_in(role: str, account: str) -> str:
    """It may make others members of the role, and is none itself."""
    return f"GRANT {name(role)} TO {name(account)} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;"


def account_narrowed(rights: Rights, needs: Needs, account: str) -> Iterator[str]:
    known = rights.role(account)
    if known is None:
        return
    flags = {"CREATEDB": known.createdb, "REPLICATION": known.replication, "BYPASSRLS": known.bypassrls}
    wrong = [f"NO{flag}" for flag, on in flags.items() if on]
    needed = {"LOGIN": known.login, "CREATEROLE": known.createrole, "INHERIT": known.inherit}
    missing = [flag for flag, on in needed.items() if not on]
    if wrong or missing:
        yield f"ALTER ROLE {name(account)} {' '.join([*missing, *wrong])};"
    for role in other_memberships(rights, needs, account):
        yield f"REVOKE {name(role)} FROM {name(account)};"


def other_memberships(rights: Rights, needs: Needs, account: str) -> list[str]:
    """Roles that it is in without need: not those that it lets others into, nor the accounts that it made."""
    known = rights.role(account)
    if known is None:
        return []
    direct = {rights.roles[one.role] for one in rights.members if one.member == known.oid}
    kept = set(needs.every_role) if rights.version >= ADMIN_OPTIONS_MATTER else {needs.owner}
    return sorted(role.name for role in direct if role.name not in kept and not role.of_session)
