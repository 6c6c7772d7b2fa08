"""Who may do what in one database, as PostgreSQL's own access lists say it. Values only.

Access is kept by columns: a right on a whole relation is one on each of its columns and on `WHOLE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from data_plane.protocols.postgres.catalog_data import CatalogData

PUBLIC: Final = 0
WHOLE: Final = 0
ADMIN_OPTIONS_MATTER: Final = 160000  # from then on CREATEROLE alone gives no right over other roles
_SESSION_ROLE: Final = re.compile(r"gw_[a-z2-7]{10}_[a-z2-7]{1,40}")  # see accounts.names

Kind = Literal["relation", "schema", "database", "function"]
Key = tuple[Kind, int, str]
"""Of what kind, its OID, and the privilege."""
Access = dict[Key, frozenset[int]]
"""The columns; of what is no relation `WHOLE` alone."""


class Role(msgspec.Struct, frozen=True):
    oid: int
    name: str
    superuser: bool = False
    createrole: bool = False
    createdb: bool = False
    login: bool = False
    replication: bool = False
    bypassrls: bool = False
    inherit: bool = True

    @property
    def of_session(self) -> bool:
        """Looks as those that agents make for one session: no name hides what a session's role never is."""
        able = self.superuser or self.createrole or self.createdb or self.replication or self.bypassrls
        return not able and _SESSION_ROLE.fullmatch(self.name) is not None


class Membership(msgspec.Struct, frozen=True):
    """`member` is in `role`. `admin`: may let others in."""

    role: int
    member: int
    admin: bool = False


class Schema(msgspec.Struct, frozen=True):
    oid: int
    name: str
    owner: int


class Database(msgspec.Struct, frozen=True):
    oid: int
    name: str
    owner: int


class Function(msgspec.Struct, frozen=True):
    """`dangerous` is why it does more than its caller may; empty: it does not."""

    oid: int
    schema: str
    name: str
    arguments: str  # as its identity is written
    kind: str  # pg_proc.prokind
    owner: int
    dangerous: str


class Grant(msgspec.Struct, frozen=True):
    kind: Kind
    oid: int
    column: int
    grantee: int
    privilege: str


class DefaultGrant(msgspec.Struct, frozen=True):
    """What objects get that `creator` makes one day. `schema` 0: wherever."""

    creator: int
    schema: int
    what: str  # pg_default_acl.defaclobjtype
    grantee: int
    privilege: str


class Rights(msgspec.Struct, frozen=True, eq=False):
    version: int  # server_version_num
    account: str  # who looked
    database: str
    data: CatalogData
    roles: Mapping[int, Role]
    members: tuple[Membership, ...]
    schemas: Mapping[int, Schema]
    databases: Mapping[int, Database]
    functions: Mapping[int, Function]
    owners: Mapping[int, int]  # of relations
    invokers: frozenset[int]  # views that read with the rights of whoever asks
    sequences: tuple[tuple[int, int], ...]  # table, a sequence that its defaults draw from
    grants: tuple[Grant, ...]
    defaults: tuple[DefaultGrant, ...] = ()

    def role(self, name: str) -> Role | None:
        return next((role for role in self.roles.values() if role.name == name), None)

    def schema(self, name: str) -> Schema | None:
        return next((schema for schema in self.schemas.values() if schema.name == name), None)

    def becoming(self, role: int) -> frozenset[int]:
        """The role and all that it may act as, whether it inherits from them or has to change to them."""
        found, new = set[int](), {role}
        while new:
            found |= new
            new = {one.role for one in self.members if one.member in new} - found
        return frozenset(found)

    def access(self, roles: Iterable[int]) -> Access:
        """What any of them may do by a grant or as an owner, not what superusers and predefined roles may."""
        wanted, found = frozenset(roles), dict[Key, set[int]]()
        for grant in self.grants:
            if grant.grantee in wanted:
                key = (grant.kind, grant.oid, grant.privilege)
                found.setdefault(key, set()).update(self._columns(grant))
        return {key: frozenset(columns) for key, columns in found.items()}

    def _columns(self, grant: Grant) -> frozenset[int]:
        if grant.column or grant.kind != "relation":
            return frozenset({grant.column})
        return self.all_columns(grant.oid)

    def all_columns(self, relation: int) -> frozenset[int]:
        found = self.data.relations.get(relation)
        return frozenset({WHOLE, *(found.columns if found else ())})


def beyond(access: Mapping[Key, frozenset[int]], needed: Mapping[Key, frozenset[int]]) -> Access:
    """What the first has and the second has not."""
    left = {key: columns - needed.get(key, frozenset()) for key, columns in access.items()}
    return {key: columns for key, columns in left.items() if columns}


def together(accesses: Iterable[Mapping[Key, frozenset[int]]]) -> Access:
    found: Access = {}
    for access in accesses:
        for key, columns in access.items():
            found[key] = found.get(key, frozenset()) | columns
    return found
