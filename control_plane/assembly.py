"""Puts the control plane together: the only place that knows every feature and every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher
from fastapi import APIRouter

from control_plane.audit import endpoints as audit_endpoints
from control_plane.audit.service import AuditService
from control_plane.audit.trail import ChainedTrail
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.db.migrate import migrate
from control_plane.documents import endpoints as document_endpoints
from control_plane.documents.domain import World
from control_plane.documents.service import DocumentService
from control_plane.identities import credential_endpoints, session_endpoints
from control_plane.identities import endpoints as identity_endpoints
from control_plane.identities import validation as identity_validation
from control_plane.identities.cookies import Cookies
from control_plane.identities.credentials import CredentialService
from control_plane.identities.documents import GroupKind, IdentityKind
from control_plane.identities.first_admin import FirstAdmin
from control_plane.identities.local_sign_in import LocalSignIn
from control_plane.identities.passwords import Passwords
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import RequestAuthenticator, SignInService
from control_plane.kit.access import AuthenticatorPart
from control_plane.kit.clock import Clock, SystemClock
from control_plane.kit.events import Events, LocalEvents
from control_plane.kit.keys import SigningKeys
from control_plane.kit.postgres_events import PostgresEvents
from control_plane.kit.secret import Secret
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import Units
from control_plane.policies import endpoints as policy_endpoints
from control_plane.policies import validation as policy_validation
from control_plane.policies.service import PolicyService
from control_plane.targets import endpoints as target_endpoints
from control_plane.targets.service import TargetService
from data_plane.policy.documents import Problem


class ControlPlane:
    """One control plane, made but not started. Its services are attributes, for tests and for the console."""

    def __init__(self, settings: Settings, clock: Clock | None = None, hasher: PasswordHasher | None = None) -> None:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings = settings
        self.clock = clock or SystemClock()
        self.database = Database(settings.database)
        self.events: Events = LocalEvents() if self.database.single_writer else PostgresEvents(self.database.url)
        self.keys = SigningKeys.open(settings.state_dir / "keys")
        self.units = Units(self.database, self.clock, self.events, ChainedTrail())
        self._loops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._identities(hasher)
        self._documents()
        self._audit()

    # -------------------------------------------------------------- features

    def _identities(self, hasher: PasswordHasher | None) -> None:
        passwords = Passwords(hasher)
        self.identities = IdentityService()
        self.targets = TargetService()
        self.cookies = Cookies(self.settings.url)
        self.authenticator = RequestAuthenticator(self.units, self.cookies.name)
        sign_in = LocalSignIn(self.units, passwords)
        self.sign_ins = SignInService(self.units, sign_in, passwords, self.settings.session_lifetime)
        self.credentials = CredentialService(self.keys, self.settings.deployment, self.targets)
        self.first_admin = FirstAdmin(self.units, self.identities, self.sign_ins)

    def _documents(self) -> None:
        self.policies = PolicyService()
        kinds = (
            IdentityKind(self.identities),
            GroupKind(self.identities),
            self.targets.targets,
            self.policies.masks,
            self.policies.chains,
            self.policies.policies,
        )
        self.documents = DocumentService(kinds, _validation)

    def _audit(self) -> None:
        self.audit = AuditService(self.units, self.keys, self.settings.deployment)
        self._loops.append(("audit-checkpoints", self.audit.sign_at_intervals))

    # -------------------------------------------------------------- given to the application

    def parts(self) -> Mapping[type[Any], object]:
        """What endpoints get by type."""
        authenticator = AuthenticatorPart(self.authenticator)
        known = (
            self.units,
            self.cookies,
            self.identities,
            self.sign_ins,
            self.credentials,
            self.targets,
            self.policies,
            self.documents,
            self.audit,
            authenticator,
        )
        return {type(part): part for part in known}

    def routers(self) -> Sequence[APIRouter]:
        return (
            session_endpoints.router,
            identity_endpoints.router,
            credential_endpoints.router,
            target_endpoints.router,
            policy_endpoints.router,
            document_endpoints.router,
            audit_endpoints.router,
        )

    # -------------------------------------------------------------- life

    async def prepare(self) -> None:
        """The schema only: what a command needs that serves nothing."""
        await migrate(self.database)

    async def start(self) -> None:
        await self.prepare()
        await self.events.start()
        if self.settings.admin_password_file is not None:
            await self.make_first_admin()
        self._tasks = [spawn(_for_ever(loop), name) for name, loop in self._loops]

    async def stop(self) -> None:
        for task in self._tasks:
            await stop(task)
        await self.events.stop()
        await self.database.close()

    async def make_first_admin(self) -> Secret | None:
        """The password: that of the file, else one made up. None: somebody administers already."""
        file = self.settings.admin_password_file
        given = None if file is None else Secret(file.read_text(encoding="utf-8").strip())
        return await self.first_admin.make(self.settings.admin_name, given)


async def _for_ever(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()


def _validation(world: World) -> Sequence[Problem]:
    return [*identity_validation.check(world), *policy_validation.check(world)]
