"""Session roles at one PostgreSQL target: implements `credentials.ports.AccountProvider`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NoReturn

import asyncpg
import structlog

from data_plane.credentials.ports import CredentialError, Found, Lease, Made, Need, PasswordCredential
from data_plane.policy import durations
from data_plane.policy.model import SessionRoles, TargetSpec
from data_plane.protocols.postgres.accounts import problems, removal, tasks
from data_plane.protocols.postgres.accounts.connections import Connections, Kept, LostError, Own
from data_plane.protocols.postgres.accounts.names import Handover, Names
from data_plane.protocols.postgres.accounts.rights import Rights
from data_plane.protocols.postgres.accounts.verifier import new_password, verifier

log = structlog.get_logger(__name__)


class PostgresAccounts:
    """One for an endpoint. `own`: the account of the agent itself."""

    name = "postgres-roles"

    def __init__(self, target: str, names: Names, own: Own) -> None:
        self._target = target
        self._names = names
        self._connections = Connections(target, own)
        self._rights: dict[str, Rights] = {}  # of the roles that are alive, by lease

    def principal(self, lease_id: str) -> str:
        return self._names.role(lease_id)

    async def create(self, lease: Lease, need: Need) -> Made:
        rights = Rights.of(_session_roles(need.spec), need.actions)
        password = new_password()
        kept = await self._connections.kept(need.spec, need.database)
        role = self._names.role(lease.id)
        task = {
            "role": role,
            "verifier": await asyncio.to_thread(verifier, password),  # a millisecond that others need not wait for
            "seconds": durations.seconds(rights.spec.sign_in_within),
            "grants": sorted(rights.given - {rights.runs_as}),
            "every": sorted(rights.given | {rights.runs_as}),
            "options": kept.version.membership,
            "as_owner": kept.version.full,
            "settings": kept.version.settings,
            "owner": rights.runs_as,
            "comment": self._names.comment(lease, rights.handover),
        }
        try:
            await kept.run(tasks.CREATE, task)
        except asyncpg.PostgresError as refused:
            self._refuse("no session role can be made", refused)
        except LostError as error:
            raise CredentialError(str(error)) from error
        self._rights[lease.id] = rights
        return Made(PasswordCredential(role, password), role)

    async def signed_in(self, lease: Lease) -> None:
        try:
            await self._run(lease, tasks.CLOSE, {})
        except asyncpg.PostgresError as refused:
            self._refuse("the session role cannot be closed", refused)
        except LostError as error:
            raise CredentialError(str(error)) from error

    async def renew(self, lease: Lease) -> float:
        """A running session outlives the time of its sign-in."""
        return lease.expires_at

    async def existing(self, spec: TargetSpec) -> list[Found]:
        kept = await self._connections.kept(spec)
        try:
            rows = await kept.rows(tasks.EXISTING, self._names.prefix)
        except asyncpg.PostgresError as refused:
            self._refuse("the session roles cannot be listed", refused)
        except LostError as error:
            raise CredentialError(str(error)) from error
        return [
            Found(row["rolname"], self._names.lease(row["rolname"]), row["can_sign_in"], row["in_use"]) for row in rows
        ]

    async def remove(self, lease: Lease) -> None:
        role = lease.principal or self._names.role(lease.id)
        try:
            await removal.remove(self._connections, self._names, lease, role)
        except LostError as error:
            raise CredentialError(str(error)) from error
        except asyncpg.PostgresError as refused:
            self._refuse(f"{role} cannot be removed", refused)
        self._rights.pop(lease.id, None)

    async def close(self) -> None:
        await self._connections.close()

    # -------------------------------------------------------------- wider for one operation

    def lacks(self, lease: Lease, actions: Iterable[str]) -> bool:
        rights = self._rights.get(lease.id)
        return rights is None or bool(rights.lacking(actions))

    async def widen(self, lease: Lease, actions: Iterable[str]) -> None:
        """Anything but CredentialError: it is not known whether it was given."""
        rights = self._rights.get(lease.id)
        if rights is None:
            raise CredentialError("the session's role is gone")
        wanted = tuple(actions)
        lacking = rights.lacking(wanted)
        owns = rights.may_make(wanted)
        kept = await self._connections.kept(lease.spec, lease.database)
        rights.extra |= lacking  # `narrow` takes back what may have been given
        task = {
            "grants": sorted(lacking),
            "options": kept.version.membership,
            "comment": self._names.comment(lease, Handover(rights.owner, everything=True)) if owns else "",
        }
        try:
            await self._run(lease, tasks.WIDEN, task)
        except asyncpg.PostgresError as refused:
            if not problems.ends_connection(refused):
                rights.extra -= lacking
                self._refuse("no wider role can be given", refused)
            raise
        rights.everything |= owns

    async def narrow(self, lease: Lease) -> None:
        rights = self._rights.get(lease.id)
        if rights is None:
            raise CredentialError("the session's role is gone")
        try:
            if rights.extra:
                await self._run(lease, tasks.NARROW, {"grants": sorted(rights.extra)})
                rights.extra = frozenset()
        except asyncpg.PostgresError as refused:
            self._refuse("the wider role cannot be taken back", refused)
        except LostError as error:
            raise CredentialError(str(error)) from error
        if rights.everything and not rights.runs_as:
            await self._hand_over(lease, rights)

    async def _hand_over(self, lease: Lease, rights: Rights) -> None:
        """What cannot be yet, for it is not committed or locked, is tried again at the next approval and at the end."""
        role = self._names.role(lease.id)
        try:
            await removal.hand_over(self._connections, lease, role, rights.handover)
        except (asyncpg.PostgresError, LostError, CredentialError) as error:
            log.warning("what a session made is not the owner's yet", role=role, owner=rights.owner, error=str(error))

    # -------------------------------------------------------------- below

    async def _run(self, lease: Lease, task: str, given: Mapping[str, object]) -> None:
        kept: Kept = await self._connections.kept(lease.spec, lease.database)
        await kept.run(task, {"role": self._names.role(lease.id), **given})

    def _refuse(self, what: str, refused: asyncpg.PostgresError) -> NoReturn:
        raise CredentialError(problems.not_done(self._target, what, refused)) from refused


def _session_roles(spec: TargetSpec) -> SessionRoles:
    roles = spec.credential.session_roles
    if roles is None:
        raise CredentialError("the target has no `credential.session_roles`")
    return roles
