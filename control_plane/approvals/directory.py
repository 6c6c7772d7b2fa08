"""The ports of approvals, answered by the neighbouring features through their services."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from control_plane.approvals.domain import Asked, Chain, Person, Scope
from control_plane.approvals.ports import CredentialFacts, PlanRule, SessionFacts, Subject, TargetFacts
from control_plane.approvals.written import chain_of
from control_plane.identities import credentials as identities
from control_plane.identities.credentials import CredentialService
from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.kit.access import Permission, permissions_of
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.policies.service import PolicyService, Versioned
from control_plane.sessions import service as sessions
from control_plane.targets.service import Target, TargetService
from data_plane.gate import interface as gate
from data_plane.identifiers import CredentialId, IdentityId, SessionId, TargetName
from data_plane.policy import model
from data_plane.policy.on_call import Schedule
from data_plane.policy.rules import selects


class Windows(Protocol):
    """What the feature `access`, which stands on this one, tells of it."""

    async def lent_to(self, uow: UnitOfWork, identity_id: str) -> Sequence[str]:
        """Groups that an identity is in for a time, as its agents are told."""

    async def grounds(self, uow: UnitOfWork, offer: str) -> Sequence[str]:
        """Texts of an offer and of what its group opens."""


class Subjects(Protocol):
    """What the feature `workloads` tells of those whom only an issuer knew when it was asked on their behalf."""

    async def of_issuer(self, uow: UnitOfWork, issuer: str, subject: str) -> Identity | None:
        """Who that is here, as people are linked now."""


class KnownPeople:
    """The port People."""

    def __init__(
        self,
        identities: IdentityService,
        credentials: CredentialService,
        windows: Windows,
        policies: PolicyService,
        subjects: Subjects,
    ) -> None:
        self._identities = identities
        self._policies = policies
        self._credentials = credentials
        self._windows = windows
        self._subjects = subjects

    async def people(self, uow: UnitOfWork, identity_ids: Sequence[str]) -> Sequence[Person]:
        people, _ = await self.parties(uow, identity_ids, ())
        return people

    async def parties(
        self, uow: UnitOfWork, identity_ids: Collection[str], requester_ids: Collection[str]
    ) -> tuple[Sequence[Person], Mapping[str, Subject]]:
        found = await self._identities.find_all(uow, {*identity_ids, *requester_ids})
        turns = _turns(await self._policies.on_call(uow), uow.now)
        people = [_person(one, turns) for one in found.values() if one.id in identity_ids]
        return people, {one: await self._subject(uow, found[one]) for one in requester_ids if one in found}

    async def named_in(self, uow: UnitOfWork, asked: Asked, until_ms: int | None = None) -> Sequence[Person]:
        until = uow.now if until_ms is None else max(uow.now, from_milliseconds(until_ms))
        turns = _turns(await self._policies.on_call(uow), uow.now, until)
        on_call = {name for name, schedules in turns.items() if not schedules.isdisjoint(asked.on_call)}
        found = [*await self._identities.members_of(uow, asked.groups)] if asked.groups else []
        found += await self._identities.find_named(uow, asked.people | on_call)
        return [_person(one, turns) for one in {one.id: one for one in found}.values()]

    async def people_named(self, uow: UnitOfWork, names: Sequence[str]) -> Sequence[Person]:
        turns = _turns(await self._policies.on_call(uow), uow.now)
        return [_person(one, turns) for one in await self._identities.find_named(uow, names)]

    async def subject(self, uow: UnitOfWork, identity_id: str) -> Subject | None:
        found = await self._identities.find(uow, identity_id)
        return None if found is None else await self._subject(uow, found)

    async def _subject(self, uow: UnitOfWork, found: Identity) -> Subject:
        groups = dict.fromkeys([*found.groups, *await self._windows.lent_to(uow, found.id)])
        return Subject(
            id=found.id,
            name=found.name,
            kind=found.kind,
            groups=tuple(groups),
            owner_id=found.owner_id,
            owner_name=found.owner,
            enabled=found.able,
            key_makers=tuple(await self._credentials.makers_of_keys(uow, found.id)),
        )

    async def credential(self, uow: UnitOfWork, credential_id: str) -> CredentialFacts | None:
        found = await self._credentials.find(uow, credential_id)
        return None if found is None else await self._facts(uow, found)

    async def sign_in(self, uow: UnitOfWork, credential_id: str) -> CredentialFacts:
        key = await self._credentials.key(uow, credential_id)
        return await self._facts(uow, key) if key else CredentialFacts("sign-in", valid=True)

    async def _facts(self, uow: UnitOfWork, found: identities.CredentialFacts) -> CredentialFacts:
        """Who made it, everybody on whose behalf it is, and who answers for the machines among those or could act as
        them. A stranger who has been linked since is one of them, and ends it with themselves."""
        linked = await self._linked(uow, found.chain)
        behind = [*(one["id"] for one in found.chain if one.get("id")), *(one.id for one in linked)]
        known = await self._identities.find_all(uow, behind) if behind else {}
        owners = [one.owner_id for one in known.values()]
        machines = [one.id for one in known.values() if one.kind == "machine"]
        makers = [maker for one in machines for maker in await self._credentials.makers_of_keys(uow, one)]
        barred = dict.fromkeys(one for one in (found.made_by, *behind, *owners, *makers) if one)
        valid = found.valid and all(one.able for one in linked)
        return CredentialFacts(found.kind, valid, tuple(barred), found.chain)

    async def _linked(self, uow: UnitOfWork, chain: Sequence[Mapping[str, str]]) -> list[Identity]:
        """Those of the chain whom only their issuer knew then, and who are somebody here by now."""
        told = [(one["issuer"], one["subject"]) for one in chain if one.get("subject")]
        found = [await self._subjects.of_issuer(uow, issuer, subject) for issuer, subject in told]
        return [one for one in found if one is not None]


class KnownRulebook:
    """The port Rulebook."""

    def __init__(self, policies: PolicyService, targets: TargetService, windows: Windows) -> None:
        self._policies = policies
        self._targets = targets
        self._windows = windows

    async def chain(self, uow: UnitOfWork, name: str) -> Chain | None:
        found = await self._policies.chain(uow, name)
        return None if found is None else chain_of(name, found.document.spec)

    async def target(self, uow: UnitOfWork, name: str) -> TargetFacts | None:
        found = await self._targets.target(uow, name)
        if found is None:
            return None
        return TargetFacts(found.name, found.spec.protocol, found.spec.environment, dict(found.labels))

    async def fingerprint(self, uow: UnitOfWork, subject: Subject | None, chain: str, target: str) -> str:
        found = await self._targets.target(uow, target)
        written, by_chain = await self._policies.policies_and_chain(uow, chain)
        selecting = [] if subject is None else _selecting(subject, found, written)
        return _hashed(*_texts(by_chain, found), *(policy.text for policy in selecting))

    async def offer_fingerprint(self, uow: UnitOfWork, offer: str, chain: str, target: str) -> str:
        found = await self._targets.target(uow, target)
        by_chain = await self._policies.chain(uow, chain)
        return _hashed(*_texts(by_chain, found), *await self._windows.grounds(uow, offer))

    async def plan_rules(self, uow: UnitOfWork, subject: Subject, target: str) -> Sequence[PlanRule]:
        found = await self._targets.target(uow, target)
        return [
            PlanRule(policy.name, plans.approval, plans.most)
            for policy in _selecting(subject, found, await self._policies.all_policies(uow))
            if (plans := policy.document.spec.plans) is not None
        ]


class KnownSessions:
    """The port Sessions."""

    async def session(self, uow: UnitOfWork, session_id: str) -> SessionFacts | None:
        row = await sessions.find(uow, session_id)
        if row is None:
            return None
        return SessionFacts(
            id=row.id,
            agent_name=row.agent_name,
            instance_id=row.instance_id,
            target=row.target,
            requester_id=row.requester_id,
            credential_id=row.credential_id,
            client_address=row.client_address,
            application_name=row.application_name,
            open=row.closed_at_ms is None,
        )


def _texts(chain: Versioned[model.ApprovalChain] | None, target: Target | None) -> Sequence[str]:
    labels = dict(target.labels) if target else {}
    on = [target.spec_text, msgspec.json.encode(labels, order="sorted").decode()] if target else []
    return [chain.text if chain else "", *on]


def _selecting(
    subject: Subject, target: Target | None, written: Sequence[Versioned[model.Policy]]
) -> list[Versioned[model.Policy]]:
    if target is None:
        return []
    session = _session_of(subject, target)
    return [policy for policy in written if selects(policy.document.spec, session)]


def _hashed(*texts: str) -> str:
    return hashlib.sha256(msgspec.json.encode(texts)).hexdigest()


def _turns(schedules: Mapping[str, Schedule], first: datetime, last: datetime | None = None) -> dict[str, set[str]]:
    """By the name of a person, the schedules by which it is their turn."""
    turns: dict[str, set[str]] = {}
    for name, schedule in schedules.items():
        for person in schedule.between(first, last or first):
            turns.setdefault(person, set()).add(name)
    return turns


def _person(identity: Identity, turns: Mapping[str, set[str]]) -> Person:
    return Person(
        id=identity.id,
        name=identity.name,
        kind=identity.kind,
        groups=frozenset(identity.groups),
        may_review=Permission.REVIEW in permissions_of(set(identity.roles)),
        enabled=identity.able,
        may_break_glass=Permission.BREAK_GLASS in permissions_of(set(identity.roles)),
        scopes=tuple(Scope(scope.environments, scope.labels) for scope in identity.reviews),
        on_call=frozenset(turns.get(identity.name, ())),
    )


def _session_of(subject: Subject, target: Target) -> gate.SessionFacts:
    """What selectors look at; the rest of a session does not select policies."""
    return gate.SessionFacts(
        id=SessionId(""),
        target=gate.TargetFacts(
            TargetName(target.name), target.spec.protocol, target.spec.environment, dict(target.labels)
        ),
        requester=gate.Requester(
            IdentityId(subject.id),
            subject.name,
            subject.kind,
            subject.groups,
            IdentityId(subject.owner_id) if subject.owner_id else None,
        ),
        credential_id=CredentialId(""),
        client_address="",
        application_name="",
    )
