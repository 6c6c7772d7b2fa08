"""What every role of the server may do, because it was granted to PUBLIC: also sessions' roles and the agent's account.

It is taken from PUBLIC and given to the roles that there are, so that nobody loses anything today.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from data_plane.protocols.postgres.examination.needs import Needs
from data_plane.protocols.postgres.examination.rights import PUBLIC, WHOLE, Access, Rights
from data_plane.protocols.postgres.examination.sql import Writer, name


def public_access(rights: Rights) -> Access:
    """What should not be everybody's. Left alone: using schemas, connecting, functions that can do no more than their
    caller, and what the server's own catalogues show to everybody."""
    return {key: columns for key, columns in rights.access([PUBLIC]).items() if _matters(rights, *key)}


def _matters(rights: Rights, kind: str, oid: int, privilege: str) -> bool:
    if kind == "relation":
        return True
    if kind == "schema":
        return privilege == "CREATE"
    if kind == "database":
        return privilege == "TEMPORARY" and rights.databases[oid].name == rights.database
    return bool(rights.functions[oid].dangerous)


def others(rights: Rights, needs: Needs, accounts: Collection[str]) -> list[int]:
    """Who keeps what PUBLIC had. `accounts`: the agent's own."""
    ours = {*needs.every_role, rights.account, *accounts}
    return sorted(
        (
            role.oid
            for role in rights.roles.values()
            if not role.superuser and role.name not in ours and not (role.of_session or role.name.startswith("pg_"))
        ),
        key=lambda oid: rights.roles[oid].name,
    )


def closing(rights: Rights, needs: Needs, accounts: Collection[str]) -> list[str]:
    return kept_from(rights, needs, accounts, public_access(rights)) + _defaults(rights, needs, accounts)


def elsewhere(rights: Rights) -> Access:
    """Other databases that everybody may connect to."""
    every = rights.access([PUBLIC])
    return {
        key: columns
        for key, columns in every.items()
        if (key[0], key[2]) == ("database", "CONNECT") and rights.databases[key[1]].name != rights.database
    }


def kept_from(rights: Rights, needs: Needs, accounts: Collection[str], access: Access) -> list[str]:
    """Statements, by object: first to those who keep it, then from PUBLIC."""
    writer, kept = Writer(rights), others(rights, needs, accounts)
    lines = []
    for key, columns in sorted(access.items(), key=lambda item: (writer.thing(*item[0][:2]), item[0])):
        owner = _owner(rights, *key[:2])
        whole = columns if WHOLE not in columns else frozenset({WHOLE})
        if to := [rights.roles[oid].name for oid in kept if oid != owner]:
            lines += writer.given({key: whole}, to)
        lines += writer.taken({key: whole}, "")
    return lines


def _owner(rights: Rights, kind: str, oid: int) -> int:
    owners = {
        "relation": rights.owners.get(oid, PUBLIC),
        "schema": rights.schemas[oid].owner if oid in rights.schemas else PUBLIC,
        "database": rights.databases[oid].owner if oid in rights.databases else PUBLIC,
        "function": rights.functions[oid].owner if oid in rights.functions else PUBLIC,
    }
    return owners[kind]


def _defaults(rights: Rights, needs: Needs, accounts: Collection[str]) -> list[str]:
    """What tables and sequences that are made one day would give to PUBLIC."""
    to = ", ".join(name(rights.roles[oid].name) for oid in others(rights, needs, accounts))
    lines = []
    for default in rights.defaults:
        if default.grantee == PUBLIC and default.what in TABLES_AND_SEQUENCES:
            head, what = (
                defaults_of(rights, rights.roles[default.creator].name, default.schema),
                TABLES_AND_SEQUENCES[default.what],
            )
            if to:
                lines.append(f"{head} GRANT {default.privilege} ON {what} TO {to};")
            lines.append(f"{head} REVOKE {default.privilege} ON {what} FROM PUBLIC;")
    return lines


TABLES_AND_SEQUENCES: Final = {"r": "TABLES", "S": "SEQUENCES"}


def defaults_of(rights: Rights, creator: str, schema: int) -> str:
    place = f" IN SCHEMA {name(rights.schemas[schema].name)}" if schema in rights.schemas else ""
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {name(creator)}{place}"
