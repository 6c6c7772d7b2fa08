"""Puts the control plane together: the only place that knows every feature and every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher
from fastapi import APIRouter

from control_plane.access import endpoints as access_endpoints
from control_plane.access import validation as access_validation
from control_plane.access.documents import OfferKind
from control_plane.access.service import AccessService
from control_plane.access.windows import LentGroups
from control_plane.accounts import endpoints as account_endpoints
from control_plane.accounts.service import AccountService
from control_plane.agents import endpoints as agent_endpoints
from control_plane.agents.feature import AgentsFeature, open_authority
from control_plane.agents.ports import Neighbours
from control_plane.agents.stream import Timing
from control_plane.agents.wire import Encoder
from control_plane.approvals import act_endpoints, break_glass_endpoints, delegation_endpoints, lock_endpoints
from control_plane.approvals import endpoints as approval_endpoints
from control_plane.approvals.directory import KnownPeople, KnownRulebook, KnownSessions
from control_plane.approvals.feature import ApprovalsFeature
from control_plane.audit import endpoints as audit_endpoints
from control_plane.audit.service import AuditService
from control_plane.audit.trail import ChainedTrail
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.db.migrate import migrate
from control_plane.documents import endpoints as document_endpoints
from control_plane.documents.domain import World
from control_plane.documents.service import DocumentService
from control_plane.identities.ssh_authority import SshAuthority
from control_plane.kit.clock import Clock, SystemClock
from control_plane.kit.events import Events, LocalEvents
from control_plane.kit.keys import SigningKeys
from control_plane.kit.postgres_events import PostgresEvents
from control_plane.kit.sealing import SealError
from control_plane.kit.secret import Secret
from control_plane.kit.starting import StartError
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import Units
from control_plane.notifications import endpoints as notification_endpoints
from control_plane.notifications import validation as notification_validation
from control_plane.notifications.config import variable
from control_plane.notifications.directory import KnownTellings
from control_plane.notifications.documents import ChannelKind
from control_plane.notifications.feature import NotificationsFeature
from control_plane.plans import endpoints as plan_endpoints
from control_plane.plans.service import PlanService
from control_plane.policies import endpoints as policy_endpoints
from control_plane.policies import validation as policy_validation
from control_plane.policies.service import PolicyService
from control_plane.recordings import endpoints as recording_endpoints
from control_plane.recordings.local_store import LocalStore
from control_plane.recordings.service import RecordingService
from control_plane.rotation import endpoints as rotation_endpoints
from control_plane.rotation.feature import RotationFeature
from control_plane.secrets import endpoints as secret_endpoints
from control_plane.secrets import validation as secret_validation
from control_plane.secrets.feature import Sealing, SecretsFeature
from control_plane.secrets.own import OwnSecrets
from control_plane.sessions import endpoints as recorded_session_endpoints
from control_plane.sessions.directory import KnownNames
from control_plane.sessions.service import SessionService
from control_plane.slack import endpoints as slack_endpoints
from control_plane.slack.config import configuration as slack_configuration
from control_plane.slack.feature import SlackFeature
from control_plane.targets import endpoints as target_endpoints
from control_plane.targets import examination_endpoints
from control_plane.targets.examination import ExaminationService
from control_plane.targets.service import TargetService
from control_plane.who import VALIDATIONS, Who
from data_plane.policy.documents import Problem


class ControlPlane:
    """One control plane, made but not started. Its services are attributes, for tests and for the console."""

    def __init__(self, settings: Settings, clock: Clock | None = None, hasher: PasswordHasher | None = None) -> None:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings = settings
        self.clock = clock or SystemClock()
        self.database = Database(settings.database)
        self.events: Events = LocalEvents() if self.database.single_writer else PostgresEvents(self.database.url)
        self.sealing = Sealing(settings.wrapping_keys, settings.state_dir, settings.deployment)
        self._own_keys()
        self.units = Units(self.database, self.clock, self.events, ChainedTrail())
        self._loops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._identities(hasher)
        self._secrets()
        self._documents()
        self._audit()
        self._approvals()
        self._notifications()
        self._slack()
        self._agents()

    def _own_keys(self) -> None:
        """Raises StartError."""
        files, state = self.sealing.files, self.settings.state_dir
        try:
            self.keys = SigningKeys.open(state / "keys", files)
            self.authority = open_authority(state, self.clock, files)
            self.ssh_authority = SshAuthority.open(state / "ssh-ca", files)
        except SealError as error:
            raise StartError(str(error)) from error

    # -------------------------------------------------------------- features

    def _identities(self, hasher: PasswordHasher | None) -> None:
        self.targets = TargetService()
        own = (self.keys, self.targets, self.authority, self.ssh_authority)
        self.who = Who(self.units, self.settings, *own, hasher, self.clock, self.sealing.files, self._own_secrets())
        self.identities, self.credentials = self.who.identities, self.who.credentials
        self.cookies, self.authenticator = self.who.cookies, self.who.authenticator
        self.sign_ins, self.first_admin = self.who.sign_ins, self.who.first_admin
        self._loops += self.who.loops

    def _own_secrets(self) -> OwnSecrets:
        return OwnSecrets(self.units, self.sealing.envelope, self.settings.deployment)

    def _secrets(self) -> None:
        self.secrets = SecretsFeature(
            units=self.units,
            events=self.events,
            targets=self.targets,
            deployment=self.settings.deployment,
            sealing=self.sealing,
        )
        self.secrets.service.used_by(self.who.providers.users_of)
        self._loops += self.secrets.loops

    def _documents(self) -> None:
        self.policies = PolicyService()
        self.offers = OfferKind()
        self.notification_channels = ChannelKind()
        self.lent_groups = LentGroups(self.offers, self.identities, self.policies)
        kinds = (
            *self.who.kinds(),
            self.targets.targets,
            self.policies.masks,
            self.policies.schedules,
            self.policies.chains,
            self.policies.policies,
            self.offers,
            self.notification_channels,
        )
        self.documents = DocumentService(kinds, _validation, self.secrets.service)

    def _audit(self) -> None:
        self.audit = AuditService(self.units, self.keys, self.settings.deployment)
        self._loops.append(("audit-checkpoints", self.audit.sign_at_intervals))

    def _approvals(self) -> None:
        self.recordings = RecordingService(LocalStore(self.settings.state_dir / "recordings"))
        subjects = self.who.workloads.subjects
        self.people = KnownPeople(self.identities, self.credentials, self.lent_groups, self.policies, subjects)
        self.approvals = ApprovalsFeature(
            units=self.units,
            events=self.events,
            clock=self.clock,
            keys=self.keys,
            deployment=self.settings.deployment,
            public_url=self.settings.url,
            encoder=Encoder(),
            people=self.people,
            rulebook=KnownRulebook(self.policies, self.targets, self.lent_groups),
            sessions=KnownSessions(),
            limits=self.settings.limits,
            tellings=KnownTellings(),
        )
        self.access = AccessService(self.offers, self.lent_groups, self.approvals.petitions)
        self.plans = PlanService(self.approvals.petitions, self.targets)
        self.accounts = AccountService()
        names = KnownNames(self.identities, self.targets, self.credentials)
        self.sessions = SessionService(names, self.approvals.service)
        self.who.ending.follow(self.approvals.endings)
        self.who.ending.follow(self.sessions)
        self._loops += self.approvals.loops

    def _notifications(self) -> None:
        self.notifications = NotificationsFeature(
            units=self.units,
            events=self.events,
            clock=self.clock,
            kind=self.notification_channels,
            review=self.approvals.review,
            people=self.identities,
            public_url=self.settings.url,
            secrets_dir=self.settings.secrets_dir,
            environment=variable,
            networks=self.settings.networks,
            alone=self.database.single_writer,
        )
        self._loops += self.notifications.loops

    def _slack(self) -> None:
        self.slack = SlackFeature(
            configuration=slack_configuration(self.settings),
            units=self.units,
            clock=self.clock,
            review=self.approvals.review,
            cards=self.approvals.cards,
            identities=self.identities,
        )
        if self.slack.channel is not None:
            self.notifications.channels.add(self.slack.channel)
        self._loops += self.slack.loops

    def _agents(self) -> None:
        policies = self.policies
        self.agents = AgentsFeature(
            units=self.units,
            events=self.events,
            clock=self.clock,
            keys=self.keys,
            deployment=self.settings.deployment,
            authority=self.authority,
            neighbours=Neighbours(
                documents=(self.targets.targets, policies.masks, policies.chains, policies.policies),
                identities=self.lent_groups,
                approvals=self.approvals.service,
                sessions=self.sessions,
                accounts=self.accounts,
                recordings=self.recordings,
                served=self.targets,
                secrets=self.secrets.delivery,
            ),
            link_address=self.settings.grpc_address,
            enrolment_address=self.settings.enrolment_address,
            timing=_timing(self.settings.lease_seconds),
        )
        self.rotation = RotationFeature(
            units=self.units,
            targets=self.targets,
            errands=self.agents.errands,
            uses=self.sessions,
            sealed=self.secrets.service,
        )
        self._loops += self.rotation.loops

    # -------------------------------------------------------------- given to the application

    def parts(self) -> Mapping[type[Any], object]:
        """What endpoints get by type."""
        known = (
            self.units,
            *self.who.parts(),
            self.targets,
            self.policies,
            self.documents,
            self.audit,
            self.approvals.review,
            self.approvals.cards,
            self.approvals.feed,
            self.notifications.service,
            self.notifications.callbacks,
            self.slack,
            self.approvals.participation,
            self.approvals.delegations,
            self.approvals.broken_glass,
            self.approvals.petitions,
            self.approvals.pressure,
            self.plans,
            self.access,
            self.sessions,
            self.accounts,
            self.recordings,
            self.agents.service,
            self.authority,
            *self._target_accounts(),
        )
        return {type(part): part for part in known}

    def _target_accounts(self) -> Sequence[object]:
        """Of what agents sign in with at targets."""
        return (
            self.secrets.service,
            self.secrets.rewrapping,
            self.agents.errands,
            ExaminationService(self.units, self.agents.errands),
            self.rotation.service,
            self.rotation.report,
        )

    def routers(self) -> Sequence[APIRouter]:
        return (
            *self.who.routers(),
            examination_endpoints.router,
            target_endpoints.router,
            policy_endpoints.router,
            document_endpoints.router,
            audit_endpoints.router,
            act_endpoints.router,  # before what takes any name for a request's
            approval_endpoints.router,
            notification_endpoints.router,
            slack_endpoints.router,
            delegation_endpoints.router,
            break_glass_endpoints.router,
            lock_endpoints.router,
            plan_endpoints.router,
            access_endpoints.offers,
            access_endpoints.router,
            recorded_session_endpoints.router,
            account_endpoints.router,
            recording_endpoints.router,
            agent_endpoints.router,
            rotation_endpoints.router,
            secret_endpoints.router,
        )

    # -------------------------------------------------------------- life

    async def prepare(self) -> None:
        """The schema only: what a command needs that serves nothing. Raises StartError without a database."""
        await self.database.reach()
        await migrate(self.database)

    async def open(self) -> None:
        """Everything works, nothing runs by itself: what tests need."""
        await self.prepare()
        await self.events.start()
        if self.settings.admin_password_file is not None:
            await self.make_first_admin()

    async def serve(self) -> None:
        """After `open`: the agents' side, and what happens by itself: nothing of it, when a port is taken."""
        await self.agents.server.start()
        self._tasks = [spawn(_for_ever(loop), name) for name, loop in self._loops]

    async def close(self) -> None:
        await self.agents.server.stop()
        for task in self._tasks:
            await stop(task)
        await self.rotation.service.close()
        await self.slack.close()
        await self.events.stop()
        await self.database.close()

    async def make_first_admin(self) -> Secret | None:
        """The password: that of the file, else one made up. None: somebody administers already."""
        file = self.settings.admin_password_file
        given = None if file is None else Secret(file.read_text(encoding="utf-8").strip())
        return await self.first_admin.make(self.settings.admin_name, given)


def _timing(lease_seconds: int) -> Timing:
    """Several heartbeats to a lease: one that is lost ends nothing."""
    return Timing(lease_seconds, heartbeat_seconds=max(1, min(10, lease_seconds // 5)))


async def _for_ever(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()


def _validation(world: World) -> Sequence[Problem]:
    checks = (*VALIDATIONS, policy_validation, access_validation, notification_validation, secret_validation)
    return [problem for each in checks for problem in each.check(world)]
