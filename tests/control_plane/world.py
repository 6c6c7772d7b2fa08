"""A control plane without its network: approvals, sessions and recordings over a real database, with a clock of its own.

The neighbours (identities, documents) are played by dictionaries, so a test says in one line that somebody lost a role.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from control_plane.approvals.broken_glass import BrokenGlass
from control_plane.approvals.delegations import Delegations
from control_plane.approvals.directory import KnownSessions
from control_plane.approvals.domain import Asked, Chain, Person, Ruling, Stage, Verb
from control_plane.approvals.endings import Endings
from control_plane.approvals.feature import ApprovalsFeature
from control_plane.approvals.news import NewsFeed
from control_plane.approvals.participation import Participation
from control_plane.approvals.petitions import PetitionService
from control_plane.approvals.ports import CredentialFacts, GrantContents, PlanRule, Subject, TargetFacts
from control_plane.approvals.reports import Answer, ReportedOperation, RequestedReport, Resource
from control_plane.approvals.review import ReviewService, View, Word
from control_plane.approvals.service import ApprovalService
from control_plane.approvals.timers import DeadlineKeeper
from control_plane.approvals.upkeep import Upkeep
from control_plane.audit import repository as audit
from control_plane.audit.tables import AuditRow
from control_plane.audit.trail import ChainedTrail
from control_plane.db.engine import Database, parse_url
from control_plane.kit.access import Principal, permissions_of
from control_plane.kit.clock import milliseconds
from control_plane.kit.events import Events, LocalEvents
from control_plane.kit.keys import SigningKeys
from control_plane.kit.pagination import Paging
from control_plane.kit.postgres_events import PostgresEvents
from control_plane.kit.unit_of_work import UnitOfWork, Units
from control_plane.notifications.directory import KnownTellings
from control_plane.recordings.local_store import LocalStore
from control_plane.recordings.service import RecordingService
from control_plane.sessions.ports import Described
from control_plane.sessions.reports import OpenedReport, Reporter
from control_plane.sessions.service import SessionService

DEPLOYMENT = "test"
INSTANCE = "ins_one"
REPORTER = Reporter("demo", INSTANCE, "boot-1")
DIGEST = bytes(range(32))


class OwnClock:
    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def advance(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)

    @property
    def ms(self) -> int:
        return milliseconds(self.instant)


def person(name: str, *groups: str, **changes: Any) -> Person:
    known = {"kind": "person", "may_review": True, "enabled": True, **changes}
    return Person(id=f"idn_{name}", name=name, groups=frozenset(groups), **known)


class Neighbours:
    """People, Rulebook and Directory from dictionaries."""

    def __init__(self) -> None:
        everybody = (person("ada", "dba"), person("bob", "dba"), person("eve", "security"), person("owner", "dba"))
        self.persons = {one.id: one for one in everybody}
        bot = Subject("idn_bot", "bot", "machine", ("ai-agents",), "idn_owner", "owner", enabled=True)
        self.subjects = {bot.id: bot}
        self.credentials = {"crd_1": CredentialFacts("token", valid=True)}
        self.chains = {"dba": chain("dba")}
        self.targets = {"orders": TargetFacts("orders", "postgres", "production", {"team": "shop"})}
        self.revision = 1

    def change(self, name: str, **changes: Any) -> None:
        known = self.persons[f"idn_{name}"]
        self.persons[known.id] = msgspec.structs.replace(known, **changes)

    async def people(self, _uow: UnitOfWork, identity_ids: Sequence[str]) -> Sequence[Person]:
        return [self.persons[one] for one in identity_ids if one in self.persons]

    async def parties(
        self, uow: UnitOfWork, identity_ids: Collection[str], requester_ids: Collection[str]
    ) -> tuple[Sequence[Person], Mapping[str, Subject]]:
        found = [await self.subject(uow, one) for one in requester_ids]
        return await self.people(uow, sorted(identity_ids)), {one.id: one for one in found if one is not None}

    async def named_in(self, _uow: UnitOfWork, asked: Asked, _until_ms: int | None = None) -> Sequence[Person]:
        everybody = self.persons.values()
        return [
            one
            for one in everybody
            if one.groups & asked.groups or one.name in asked.people or one.on_call & asked.on_call
        ]

    async def people_named(self, _uow: UnitOfWork, names: Sequence[str]) -> Sequence[Person]:
        return [one for one in self.persons.values() if one.name in names]

    async def subject(self, _uow: UnitOfWork, identity_id: str) -> Subject | None:
        known = self.persons.get(identity_id)
        if known is None:
            return self.subjects.get(identity_id)
        return Subject(known.id, known.name, known.kind, tuple(known.groups), None, "", known.enabled)

    async def credential(self, _uow: UnitOfWork, credential_id: str) -> CredentialFacts | None:
        return self.credentials.get(credential_id)

    async def sign_in(self, _uow: UnitOfWork, credential_id: str) -> CredentialFacts:
        return self.credentials.get(credential_id, CredentialFacts("sign-in", valid=True))

    async def offer_fingerprint(self, _uow: UnitOfWork, offer: str, _chain: str, _target: str) -> str:
        return f"{offer} {self.revision}"

    async def plan_rules(self, _uow: UnitOfWork, _subject: Subject, _target: str) -> Sequence[PlanRule]:
        return [PlanRule("production", "dba", 20)]

    async def chain(self, _uow: UnitOfWork, name: str) -> Chain | None:
        return self.chains.get(name)

    async def target(self, _uow: UnitOfWork, name: str) -> TargetFacts | None:
        return self.targets.get(name)

    async def fingerprint(self, _uow: UnitOfWork, _subject: Subject | None, _chain: str, _target: str) -> str:
        return str(self.revision)

    async def describe(self, uow: UnitOfWork, requester_id: str, target: str) -> Described:
        subject = await self.subject(uow, requester_id)
        found = self.targets.get(target)
        return Described(
            subject.name if subject else "", subject.owner_id if subject else None, found.environment if found else ""
        )

    async def used(self, _uow: UnitOfWork, _credential_id: str) -> None:
        """Credentials are not in this world."""


def chain(name: str, *, groups: tuple[str, ...] = ("dba",), required: int = 1, timeout: float = 900) -> Chain:
    return Chain(name, (Stage(groups, required, timeout),), 300)


class JsonGrants:
    """A GrantEncoder: any deterministic text will do here."""

    def encode_grant(self, contents: GrantContents) -> bytes:
        return msgspec.json.encode(contents, order="deterministic")


@dataclass
class World:
    database: Database
    units: Units
    events: Events
    clock: OwnClock
    neighbours: Neighbours
    keys: SigningKeys
    approvals: ApprovalService
    review: ReviewService
    petitions: PetitionService
    participation: Participation
    delegations: Delegations
    endings: Endings
    broken_glass: BrokenGlass
    feed: NewsFeed
    sessions: SessionService
    recordings: RecordingService
    keeper: DeadlineKeeper
    upkeep: Upkeep
    store_folder: Path
    numbers: list[int] = field(default_factory=lambda: [0])

    # ---------------------------------------------------------- what agents do

    async def open_session(self, session_id: str = "ses_1", **changes: Any) -> OpenedReport:
        report = OpenedReport(
            session_id=session_id,
            at_ms=self.clock.ms,
            target="orders",
            protocol="postgres",
            requester_id="idn_bot",
            credential_id="crd_1",
            client_address="10.0.0.9:5000",
            application_name="psql",
            snapshot_version=7,
            boot_id=REPORTER.boot_id,
        )
        report = msgspec.structs.replace(report, **changes)
        async with self.units() as uow:
            await self.sessions.opened(uow, REPORTER, report)
        return report

    def request(self, approval_id: str = "", *, session_id: str = "ses_1", **changes: Any) -> RequestedReport:
        self.numbers[0] += 1
        operation = changes.pop("operation", None) or operation_of(session_id, digest=digest_of(self.numbers[0]))
        report = RequestedReport(
            approval_id=approval_id or f"apr_{self.numbers[0]:020d}",
            at_ms=self.clock.ms,
            operation=operation,
            policy="production",
            rule="writes",
            chain="dba",
            policy_version=7,
            wait_until_ms=self.clock.ms + 600_000,
            ticket=False,
            in_transaction=False,
            requester_id="idn_bot",
            credential_id="crd_1",
        )
        return msgspec.structs.replace(report, **changes)

    async def ask(self, report: RequestedReport | None = None, instance: str = INSTANCE) -> Answer:
        async with self.units() as uow:
            return await self.approvals.requested(uow, instance, report or self.request())

    async def held(self, **changes: Any) -> str:
        """A session with one pending request; its id."""
        await self.open_session()
        return (await self.ask(self.request(**changes))).approval_id

    async def answer(self, approval_id: str) -> Answer | None:
        async with self.units.reading() as uow:
            return await self.approvals.decision_for(uow, INSTANCE, approval_id)

    # ---------------------------------------------------------- what people do

    def principal(self, name: str, *roles: str) -> Principal:
        known = self.neighbours.persons[f"idn_{name}"]
        return Principal(
            identity=known.id,
            name=known.name,
            kind=known.kind,
            groups=tuple(known.groups),
            permissions=permissions_of(set(roles or ("reviewer",))),
            credential_id=f"sgn_{name}",
            authenticated_at=self.clock.now(),
        )

    async def view(self, approval_id: str, name: str = "ada") -> View:
        async with self.units.reading() as uow:
            view = await self.review.view(uow, self.principal(name), approval_id)
        assert view is not None
        return view

    async def say(
        self,
        name: str,
        verb: Verb,
        approval_id: str,
        *,
        shown: bytes | None = None,
        reason: str = "",
        channel: str = "console",
        by: Principal | None = None,
    ) -> Ruling | None:
        if shown is None:
            shown = (await self.view(approval_id)).row.shown_digest
        word = Word(verb, shown, channel, reason)
        async with self.units() as uow:
            return await self.review.decide(uow, by or self.principal(name), approval_id, word)

    async def approve(self, name: str, approval_id: str, **more: Any) -> Ruling | None:
        return await self.say(name, Verb.APPROVE, approval_id, **more)

    async def deny(self, name: str, approval_id: str, reason: str = "not today", **more: Any) -> Ruling | None:
        return await self.say(name, Verb.DENY, approval_id, reason=reason, **more)

    async def ids(self, name: str, mode: Any, **paging: Any) -> list[str]:
        async with self.units.reading() as uow:
            views, _ = await self.review.listed(uow, self.principal(name), mode, Paging(**paging))
        return [view.row.id for view in views]

    # ---------------------------------------------------------- what is left

    async def state(self, approval_id: str) -> str:
        return (await self.view(approval_id)).row.state

    async def audited(self, prefix: str = "") -> list[AuditRow]:
        """Oldest first."""
        async with self.units.reading() as uow:
            rows = await audit.newest(uow.session, audit.Filter(), None, 10_000)
        return [row for row in reversed(rows) if row.kind.startswith(prefix)]

    async def audited_kinds(self, prefix: str = "approval.") -> list[str]:
        return [row.kind for row in await self.audited(prefix)]

    def on_another_replica(self) -> World:
        """The same database, other processes' memory: its own units, and for SQLite its own connections."""
        database = Database(self.database.url)
        units = Units(database, self.clock, self.events, ChainedTrail())
        keeper = DeadlineKeeper(units, self.events, self.clock)
        return replace(self, database=database, units=units, keeper=keeper)


def digest_of(number: int) -> bytes:
    """Another for each request: identical ones are one card."""
    return bytes((byte + number - 1) % 256 for byte in DIGEST)


def operation_of(session_id: str = "ses_1", **changes: Any) -> ReportedOperation:
    operation = ReportedOperation(
        id="op_1",
        session_id=session_id,
        protocol="postgres",
        target="orders",
        action="write",
        verbs=("DELETE",),
        resources=(Resource("relation", "public.orders", ("write",)),),
        text="DELETE FROM orders WHERE id = 1041",
        digest=DIGEST,
    )
    return msgspec.structs.replace(operation, **changes)


@contextlib.asynccontextmanager
async def running(url: str, folder: Path) -> AsyncIterator[World]:
    """Over a migrated database."""
    database = Database(parse_url(url))
    clock = OwnClock()
    events: Events = LocalEvents() if database.single_writer else PostgresEvents(database.url)
    await events.start()
    world = assembled(database, events, clock, folder)
    try:
        yield world
    finally:
        await events.stop()
        await database.close()


def assembled(database: Database, events: Events, clock: OwnClock, folder: Path) -> World:
    units = Units(database, clock, events, ChainedTrail())
    neighbours = Neighbours()
    keys = SigningKeys({"key_1": Ed25519PrivateKey.generate()})
    feature = ApprovalsFeature(
        units=units,
        events=events,
        clock=clock,
        keys=keys,
        deployment=DEPLOYMENT,
        public_url="https://assentry.example/",
        encoder=JsonGrants(),
        people=neighbours,
        rulebook=neighbours,
        sessions=KnownSessions(),
        tellings=KnownTellings(),
    )
    return World(
        database=database,
        units=units,
        events=events,
        clock=clock,
        neighbours=neighbours,
        keys=keys,
        approvals=feature.service,
        review=feature.review,
        petitions=feature.petitions,
        participation=feature.participation,
        delegations=feature.delegations,
        endings=feature.endings,
        broken_glass=feature.broken_glass,
        feed=feature.feed,
        sessions=SessionService(neighbours, feature.service),
        recordings=RecordingService(LocalStore(folder / "recordings")),
        keeper=feature.keeper,
        upkeep=feature.upkeep,
        store_folder=folder / "recordings",
    )


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with running(database_url, tmp_path) as running_world:
        yield running_world
