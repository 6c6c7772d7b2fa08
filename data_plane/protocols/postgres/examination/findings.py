"""What an account, the roles of its sessions and PUBLIC can do that policy needs of nobody, and what they lack. Pure.

`critical`: more than any policy could ever allow; `warning`: more than needed, or something that will not work;
`remark`: to know. Each has the SQL that mends it, where SQL can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

import msgspec

from data_plane.protocols.postgres.examination import script
from data_plane.protocols.postgres.examination.needs import MILDEST_FIRST, Needs, Question
from data_plane.protocols.postgres.examination.public import closing, elsewhere, kept_from, public_access
from data_plane.protocols.postgres.examination.rights import (
    ADMIN_OPTIONS_MATTER,
    PUBLIC,
    WHOLE,
    Access,
    Rights,
    Role,
    beyond,
)
from data_plane.protocols.postgres.examination.sql import Writer, made_if_missing, name
from data_plane.protocols.postgres.protection import unknown_columns

Severity = Literal["critical", "warning", "remark"]
_MOST_NAMED: Final = 8

_PREDEFINED: Final = {
    "pg_execute_server_program": "it runs programs on the server",
    "pg_read_server_files": "it reads any file of the server",
    "pg_write_server_files": "it writes any file of the server",
    "pg_read_all_data": "it reads every table, whatever is granted",
    "pg_write_all_data": "it changes every table, whatever is granted",
    "pg_maintain": "it locks and rewrites every table",
    "pg_signal_backend": "it ends what others run",
    "pg_create_subscription": "it makes the server connect to others",
    "pg_checkpoint": "it has the server write everything to disk",
    "pg_monitor": "it sees what others run",
    "pg_read_all_settings": "it sees settings of the server",
    "pg_read_all_stats": "it sees what others run",
    "pg_stat_scan_tables": "it locks tables of others",
    "pg_use_reserved_connections": "it takes connections that are kept for others",
}
_WORST: Final = {"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "pg_write_all_data",
                 "pg_read_all_data"}  # fmt: skip
_ATTRIBUTES: Final[dict[str, tuple[Severity, str]]] = {
    "superuser": ("critical", "it can do everything, also run programs on the server"),
    "replication": ("critical", "it reads every byte of every database as a copy of the server"),
    "bypassrls": ("critical", "row security does not hold for it"),
    "createdb": ("warning", "it makes and drops databases"),
}


class Finding(msgspec.Struct, frozen=True):
    """`code` is for scripts and stays the same; `about` is a role, or PUBLIC, or the target."""

    severity: Severity
    code: str
    about: str
    says: str
    advice: str = ""
    things: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()


def findings(question: Question, rights: Rights, needs: Needs) -> tuple[Finding, ...]:
    """The gravest first."""
    look = _Look(question, rights, needs)
    grave = ("critical", "warning", "remark")
    return tuple(sorted(look.all(), key=lambda one: grave.index(one.severity)))


class _Look:
    def __init__(self, question: Question, rights: Rights, needs: Needs) -> None:
        self._question, self._rights, self._needs = question, rights, needs
        self._writer = Writer(rights)
        self._account = rights.role(rights.account)

    def all(self) -> Iterator[Finding]:
        if self._account is not None:
            yield from self._of_account(self._account)
        preview = self._rights.role(self._question.preview)
        if preview is not None and preview != self._account:
            yield from self._of_preview(preview)
        for role in self._needs.every_role if self._question.roles else ():
            yield from self._of_role(role)
        yield from self._of_public()
        yield from self._of_policy()

    # -------------------------------------------------------------- the agent's account

    def _of_account(self, account: Role) -> Iterator[Finding]:
        yield from self._attributes(account)
        if account.superuser:
            return  # all that follows is in that
        if account.createrole and self._rights.version < ADMIN_OPTIONS_MATTER:
            yield Finding(
                "warning", "createrole-before-16", account.name,
                "before PostgreSQL 16 CREATEROLE is nearly a superuser: it may change and join every other role, also "
                "those that run programs on the server",
                "update the server, or accept it knowingly: `--accept createrole-before-16`",
            )  # fmt: skip
        yield from self._memberships(account, self._needs.every_role)
        if account.oid in script.owning(self._rights):
            yield self._owns(account)
        if self._question.roles is None:
            yield from self._beyond(account, self._needs.everything)
            return
        yield from self._beyond(account, script.account_access(self._needs))
        yield from self._able_to_make_accounts(account)

    def _attributes(self, role: Role) -> Iterator[Finding]:
        for attribute, (severity, why) in _ATTRIBUTES.items():
            if getattr(role, attribute):
                advice = "give the agent another account" if attribute == "superuser" else ""
                sql = (f"ALTER ROLE {name(role.name)} NO{attribute.upper()};",) if not advice else ()
                yield Finding(severity, attribute, role.name, f"it is {attribute.upper()}: {why}", advice, sql=sql)

    def _memberships(self, role: Role, expected: Iterable[str]) -> Iterator[Finding]:
        known = {*expected, role.name}
        for oid in sorted(self._rights.becoming(role.oid)):
            other = self._rights.roles[oid]
            if other.name in known or other.of_session:
                continue
            yield self._membership(role, other)

    def _membership(self, role: Role, other: Role) -> Finding:
        direct = any(one.role == other.oid and one.member == role.oid for one in self._rights.members)
        sql = (f"REVOKE {name(other.name)} FROM {name(role.name)};",) if direct else ()
        if other.name in _PREDEFINED:
            severity: Severity = "critical" if other.name in _WORST else "warning"
            return Finding(
                severity, "predefined-role", role.name, f"in {other.name}: {_PREDEFINED[other.name]}", sql=sql
            )
        severity = "critical" if other.superuser else "warning"
        return Finding(severity, "other-role", role.name, f"it may act as {other.name}", sql=sql)

    def _owns(self, role: Role) -> Finding:
        rights = self._rights
        things = [
            *(self._writer.thing("relation", oid) for oid, owner in rights.owners.items() if owner == role.oid),
            *(self._writer.thing("schema", one.oid) for one in rights.schemas.values() if one.owner == role.oid),
            *(self._writer.thing("database", one.oid) for one in rights.databases.values() if one.owner == role.oid),
            *(self._writer.thing("function", one.oid) for one in rights.functions.values() if one.owner == role.oid),
        ]
        return Finding(
            "warning", "owns", role.name, f"it owns {_listed(things)}: an owner changes and drops what is its own",
            "hand them to a role of their own: ALTER … OWNER TO …", tuple(sorted(things)),
        )  # fmt: skip

    def _able_to_make_accounts(self, account: Role) -> Iterator[Finding]:
        if not account.createrole:
            yield Finding(
                "warning", "no-createrole", account.name, "it cannot make accounts for sessions: it has no CREATEROLE",
                sql=(f"ALTER ROLE {name(account.name)} CREATEROLE;",),
            )  # fmt: skip
        if self._rights.version < ADMIN_OPTIONS_MATTER:
            if not account.inherit:
                yield Finding(
                    "warning", "no-inherit", account.name, "it cannot take accounts of sessions away: it has NOINHERIT",
                    sql=(f"ALTER ROLE {name(account.name)} INHERIT;",),
                )  # fmt: skip
            return
        lets_in = {one.role for one in self._rights.members if one.member == account.oid and one.admin}
        for role in self._needs.every_role:
            known = self._rights.role(role)
            if known is not None and known.oid not in lets_in:
                yield Finding(
                    "warning", "no-admin-option", account.name, f"it cannot make sessions' accounts members of {role}",
                    sql=(script.letting_in(role, account.name),),
                )  # fmt: skip

    def _of_preview(self, preview: Role) -> Iterator[Finding]:
        """It reads what sessions may read or change, masked or not: what it sees goes to reviewers as numbers."""
        yield from self._attributes(preview)
        if preview.superuser:
            return
        yield from self._memberships(preview, ())
        if preview.oid in script.owning(self._rights):
            yield self._owns(preview)
        needed = self._needs.everything if self._question.dry_run else {}
        touched = {key[1] for key in self._needs.everything if key[0] == "relation"}
        reads: Access = {("relation", oid, "SELECT"): self._rights.all_columns(oid) for oid in touched}
        around = script.account_access(self._needs)
        yield from self._beyond(preview, {**needed, **reads, **around})

    # -------------------------------------------------------------- the roles of sessions

    def _of_role(self, role: str) -> Iterator[Finding]:
        known = self._rights.role(role)
        if known is None:
            made = (made_if_missing(role, "NOLOGIN"),)
            yield Finding("warning", "role-missing", role, "there is no such role: no session can be opened", sql=made)
            return
        yield from self._attributes(known)
        if known.login:
            sql = (f"ALTER ROLE {name(role)} NOLOGIN;",)
            yield Finding("warning", "role-signs-in", role, "somebody can sign in as this role itself", sql=sql)
        if role not in self._needs.access:
            yield from self._lacks(known, self._needs.additions.get(role, {}))
            return
        yield from self._memberships(known, self._milder(role))
        if known.oid in script.owning(self._rights):
            yield self._owns(known)
        yield from self._beyond(known, self._needs.most(role))
        yield from self._lacks(known, self._needs.access[role])

    def _milder(self, role: str) -> tuple[str, ...]:
        roles = self._needs.roles.roles
        for place, action in enumerate(MILDEST_FIRST):
            if role in roles.get(action, ()):
                return tuple(one for milder in MILDEST_FIRST[: place + 1] for one in roles.get(milder, ()))
        return ()

    def _lacks(self, role: Role, needed: Access) -> Iterator[Finding]:
        has = self._rights.access([*self._rights.becoming(role.oid), PUBLIC])
        lacking = beyond(needed, has)
        if lacking:
            things = self._told(lacking)
            yield Finding(
                "warning", "role-lacks", role.name, f"what policy lets sessions do will fail: no {_listed(things)}",
                things=tuple(things), sql=tuple(self._writer.given(lacking, [role.name])),
            )  # fmt: skip

    # -------------------------------------------------------------- more than is needed

    def _beyond(self, role: Role, needed: Access) -> Iterator[Finding]:
        """By its own grants and those of the roles that it is in; what PUBLIC has is told once, as PUBLIC's. Of what it
        owns it is told that it owns it."""
        owned = {oid for oid, owner in self._rights.owners.items() if owner == role.oid}
        has = self._rights.access(self._rights.becoming(role.oid) - self._as_accounts(role))
        more = {key: columns for key, columns in beyond(has, needed).items() if key[1] not in owned}
        for test, code, severity, says in _KINDS:
            found = {key: columns for key, columns in more.items() if test(self, key, columns)}
            for key in found:
                del more[key]
            found = {key: columns for key, columns in found.items() if self._matters(*key)}
            if found:
                things = self._told(found)
                yield Finding(
                    severity, code, role.name, says.format(_listed(things)), things=tuple(things),
                    sql=(*self._writer.taken(found, role.name), *self._again(found, needed, role.name)),
                )  # fmt: skip

    def _as_accounts(self, role: Role) -> frozenset[int]:
        """The roles of sessions, where it is the agent's account that is looked at: it lets others into them."""
        if role is not self._account or self._question.roles is None:
            return frozenset()
        inherited = [self._rights.role(one) for one in self._needs.every_role]
        ours = frozenset(one.oid for one in inherited if one is not None)
        made = frozenset(oid for oid, one in self._rights.roles.items() if one.of_session)
        return ours | made

    def _again(self, taken: Access, needed: Access, role: str) -> list[str]:
        """What goes with a right that is taken as a whole, and is needed."""
        return self._writer.given({key: needed[key] for key in taken if key in needed}, [role])

    def _matters(self, kind: str, oid: int, privilege: str) -> bool:
        if kind == "schema":
            return privilege == "CREATE"
        if kind == "database":
            return privilege != "CONNECT" or self._question.one_database
        return kind != "function" or bool(self._rights.functions[oid].dangerous)

    def is_closed(self, oid: int, columns: frozenset[int]) -> bool:
        """Only columns that policy masks are too many."""
        closed = self._needs.closed.get(oid, frozenset())
        return bool(closed & columns) and columns <= closed | {WHOLE}

    def is_system(self, oid: int) -> bool:
        relation = self._rights.data.relations.get(oid)
        return relation is not None and relation.schema == "pg_catalog"

    def _told(self, access: Access) -> list[str]:
        told = []
        for (kind, oid, privilege), columns in access.items():
            known = self._rights.data.relations.get(oid)
            some = kind == "relation" and known and len(columns - {WHOLE}) < len(known.columns)
            names = ", ".join(known.columns.get(one, "") for one in sorted(columns - {WHOLE})) if known and some else ""
            told.append(f"{privilege}{f' ({names})' if names else ''} on {self._writer.thing(kind, oid)}")
        return sorted(told)

    # -------------------------------------------------------------- everybody

    def _of_public(self) -> Iterator[Finding]:
        accounts = (script.account_for(self._question, self._rights), self._question.preview)
        others = elsewhere(self._rights) if self._question.one_database else {}
        if others:
            things = self._told(others)
            yield Finding(
                "remark", "other-databases", "PUBLIC", f"every role of the server has {_listed(things)}",
                "sessions only sign in to the target's database; this is for whoever gets hold of an account",
                tuple(things), tuple(kept_from(self._rights, self._needs, accounts, others)),
            )  # fmt: skip
        access = public_access(self._rights)
        if not access:
            return
        things = self._told(access)
        yield Finding(
            "warning", "public", "PUBLIC", f"every role of the server has {_listed(things)}",
            "the SQL takes it from PUBLIC and gives it to the roles that there are today", tuple(things),
            tuple(closing(self._rights, self._needs, accounts)),
        )  # fmt: skip

    def _of_policy(self) -> Iterator[Finding]:
        if self._question.roles is None:
            yield Finding(
                "warning", "no-session-roles", self._question.target,
                "all sessions share the agent's account; with `session_roles` each gets one of its own",
                "apply the SQL, then the document that goes with it",
            )  # fmt: skip
        else:
            yield from self._without_a_role(self._question.roles.roles)
            stale = tuple(script.stale_defaults(self._rights, self._needs))
            if stale:
                yield Finding("warning", "defaults", self._question.target, "tables made one day would give too much",
                              things=stale, sql=stale)  # fmt: skip
        yield from self._masks_without_effect()
        yield from self._remarks()

    def _masks_without_effect(self) -> Iterator[Finding]:
        used = frozenset[str]().union(*(reach.masks for reach in self._question.reaches))
        for mask in sorted(used & self._question.masks.keys()):
            columns = self._question.masks[mask].columns
            if unknown := unknown_columns(self._rights.data, columns):
                yield Finding(
                    "warning", "mask-names-nothing", self._question.target,
                    f"mask {mask} names what is not in this database, so nothing is masked by it: {_listed(unknown)}",
                    "correct the names, or accept it where they are of other targets: `--accept mask-names-nothing`",
                    tuple(unknown),
                )  # fmt: skip

    def _without_a_role(self, roles: object) -> Iterator[Finding]:
        named = roles if isinstance(roles, dict) else {}
        for action in MILDEST_FIRST:
            if not named.get(action) and any(one.action == action for one in self._question.reaches):
                yield Finding(
                    "warning", "no-role-for-action", self._question.target,
                    f"policy lets sessions {action}, for which session_roles names no role: it will fail",
                )  # fmt: skip

    def _remarks(self) -> Iterator[Finding]:
        if self._needs.sometimes:
            things = tuple(sorted(self._column_names()))
            yield Finding(
                "remark", "masked-by-the-agent-only", self._question.target,
                f"{_listed(things)}: the roles may read what the agent masks for everybody or for some", things=things,
            )  # fmt: skip
        for oid, why in sorted(self._needs.left_out.items()):
            yield Finding("remark", "left-out", self._writer.thing("relation", oid), why)
        held = sorted({one.rule for one in self._question.reaches if one.held and one.action == "read"})
        if held and any(one.action == "read" and not one.held for one in self._question.reaches):
            yield Finding(
                "remark", "held-reads", self._question.target,
                f"rules hold reads ({', '.join(held)}) that the role for reading can do: there the agent alone stands "
                "between a session and the rows", "put such tables behind a target of their own",
            )  # fmt: skip

    def _column_names(self) -> Iterator[str]:
        for oid, columns in self._needs.sometimes.items():
            relation = self._rights.data.relations[oid]
            yield from (f"{relation.schema}.{relation.name}.{relation.columns[one]}" for one in columns)


_Test = Callable[[_Look, tuple[str, int, str], frozenset[int]], bool]
_KINDS: Final[tuple[tuple[_Test, str, Severity, str], ...]] = (
    (lambda look, key, _: key[0] == "relation" and look.is_system(key[1]), "server-secrets", "critical",
     "it sees what only superusers should: {}"),
    (lambda look, key, columns: key[0] == "relation" and key[2] == "SELECT" and look.is_closed(key[1], columns),
     "masked-columns", "warning", "it reads columns that policy masks: {}"),
    (lambda _, key, __: key[0] == "relation" and key[2] == "SELECT", "reads-more", "warning",
     "it reads what no rule lets it read: {}"),
    (lambda _, key, __: key[0] == "relation", "changes-more", "warning", "it changes what no rule lets it change: {}"),
    (lambda _, key, __: key[0] == "schema", "makes-objects", "warning", "it makes things: {}"),
    (lambda _, key, __: key[0] == "function", "dangerous-functions", "warning", "it calls what no rule names: {}"),
    (lambda _, key, __: key[2] == "CONNECT", "other-databases", "warning", "it was let into other databases: {}"),
    (lambda _, __, ___: True, "database", "warning", "it may do more with databases: {}"),
)  # fmt: skip


def _listed(things: Iterable[str]) -> str:
    every = list(things)
    more = len(every) - _MOST_NAMED
    return ", ".join(every[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
