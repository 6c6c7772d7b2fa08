"""Whether what a request stands on is still there: the requester, the credential, and the documents that held it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from control_plane.approvals import delegation_rows, repository, shown
from control_plane.approvals.domain import (
    Ineligible,
    Person,
    Place,
    Request,
    State,
    asked,
    ineligible,
    place_for,
    place_of,
    unanswerable,
)
from control_plane.approvals.domain.emergency import unfit_to_break
from control_plane.approvals.kinds import Kind
from control_plane.approvals.ports import CredentialFacts, People, Rulebook, Subject
from control_plane.approvals.tables import ApprovalRow, BreakGlassRow, DelegationRow, VoteRow
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import UnitOfWork


class Seen(msgspec.Struct, frozen=True):
    """A request and its people, as they are at this moment."""

    request: Request
    votes: Sequence[VoteRow]
    people: Mapping[str, Person]  # those who have decided, and whoever else was asked for
    requester: Subject | None  # None: gone
    delegations: Sequence[DelegationRow] = ()  # that hold now and cover it


class Decider(msgspec.Struct, frozen=True):
    """Somebody who could decide now, and as what."""

    person: Person
    place: Place | None  # of the chain
    in_place_of: str = ""  # by delegation: whose name the place bears


class Judged(Seen, frozen=True, kw_only=True):
    """With everything that deciding needs."""

    fault: str  # why it no longer stands; empty: it does
    broken_by: str = ""  # who overrode its chain


class Standing:
    def __init__(self, people: People, rulebook: Rulebook) -> None:
        self._people = people
        self._rulebook = rulebook

    async def judged(self, uow: UnitOfWork, row: ApprovalRow, *others: str) -> Judged:
        broken = None if row.state == State.PENDING else await uow.session.get(BreakGlassRow, row.id)
        broken_by = broken.broken_by_id if broken else ""
        (seen,) = await self.seen(uow, [row], *others, broken_by)
        fault = await self._fault(uow, row, seen.requester)
        return Judged(**msgspec.structs.asdict(seen), fault=fault, broken_by=broken_by)

    async def seen(self, uow: UnitOfWork, rows: Sequence[ApprovalRow], *others: str) -> list[Seen]:
        """Many at once, with few questions to the database: for lists."""
        votes = await repository.votes_of(uow.session, [row.id for row in rows])
        given = [vote for some in votes.values() for vote in some]
        asked = {one for vote in given for one in (vote.identity_id, vote.for_id)}.union(others)
        delegations = await delegation_rows.holding(uow.session, milliseconds(uow.now))
        asked |= {one for row in delegations for one in (row.delegator_id, row.delegate_id)}
        revoked = await delegation_rows.revoked(uow.session, {vote.delegation_id for vote in given})
        people, requesters = await self._people.parties(uow, asked, {row.requester_id for row in rows})
        world = _World({person.id: person for person in people}, requesters, delegations, revoked)
        return [_seen(row, votes.get(row.id, []), world, await self._behind(uow, row)) for row in rows]

    async def _behind(self, uow: UnitOfWork, row: ApprovalRow) -> Sequence[str]:
        """Who was nobody known here when it was asked on their behalf may have been linked since."""
        if all(one.id for one in shown.decode(row.shown).behalf):
            return ()
        credential = await self._asked_with(uow, row)
        return credential.owner_ids if credential else ()

    async def _asked_with(self, uow: UnitOfWork, row: ApprovalRow) -> CredentialFacts | None:
        if row.kind == Kind.OPERATION:
            return await self._people.credential(uow, row.credential_id)
        return await self._people.sign_in(uow, row.credential_id)

    async def deciders(self, uow: UnitOfWork, row: ApprovalRow) -> list[Decider]:
        """Everybody who could decide on it now, whether in a place of their own or in somebody else's, by name."""
        (seen,) = await self.seen(uow, [row])
        if not seen.request.waits:
            return []
        stages = seen.request.chain.stages[: seen.request.progress(seen.people).stage + 1]
        named = {one.id: one for one in await self._people.named_in(uow, asked(*stages))}
        people = {**named, **seen.people}
        found = []
        for person in people.values():
            lent = place_of(seen.request, person, people)
            if not isinstance(lent, Ineligible):
                holder = people[lent.delegator_id] if lent else person
                place = place_for(seen.request, holder, people)
                found.append(Decider(person, place if isinstance(place, Place) else None, holder.name if lent else ""))
        return sorted(found, key=lambda one: one.person.name)

    async def skipped(self, uow: UnitOfWork, seen: Seen) -> list[Person]:
        """Everybody whom the chain asks, who could decide on it and has not."""
        request, every = seen.request, asked(*seen.request.chain.stages)
        found = [*await self._people.named_in(uow, every)]
        named = {one.id for one in found}
        delegates = [one.delegate_id for one in seen.delegations if one.delegator_id in named]
        found += [seen.people[one] for one in delegates if one in seen.people]
        decided = {one for vote in request.votes if not vote.void for one in vote.whose}
        able = {one.id: one for one in found if one.id not in decided and ineligible(request.parties, one) is None}
        return sorted(able.values(), key=lambda one: one.name)

    async def _fault(self, uow: UnitOfWork, row: ApprovalRow, subject: Subject | None) -> str:
        if subject is None or not subject.enabled:
            return "the requester is disabled or gone"
        credential = await self._asked_with(uow, row)
        if credential is None or not credential.valid:
            return "the requester's credential is revoked or has expired"
        if await self._fingerprint(uow, row, subject) != row.fingerprint:
            since = "the operation was held" if row.kind == Kind.OPERATION else "it was asked for"
            return f"a policy, the approval chain or the target has changed since {since}"
        return ""

    async def _fingerprint(self, uow: UnitOfWork, row: ApprovalRow, subject: Subject) -> str:
        chain = repository.chain_of(row).name
        if row.kind == Kind.ACCESS:
            return await self._rulebook.offer_fingerprint(uow, row.rule, chain, row.target)
        return await self._rulebook.fingerprint(uow, subject, chain, row.target)

    async def lost_support(self, uow: UnitOfWork, judged: Judged) -> str:
        """Whether those who agreed, or those who could, are no longer enough. Empty: they are."""
        request = judged.request
        if request.state is not State.PENDING:
            if judged.broken_by:
                unfit = unfit_to_break(request.parties, judged.people.get(judged.broken_by))
                return f"who broke the glass for it may no longer do so: {unfit}" if unfit else ""
            agreed = request.progress(judged.people).satisfied
            return "" if agreed else "somebody who approved it may no longer approve it"
        people = await self._people.named_in(uow, asked(*request.chain.stages), request.approve_by_ms)
        able = _with_turns(judged, {one.id: one for one in people})
        return unanswerable(request.chain, request.parties, able) or ""


def _with_turns(seen: Seen, people: dict[str, Person]) -> list[Person]:
    """Whoever agreed on call has that place, although it is another's turn by now."""
    for vote in seen.request.votes:
        holder = vote.for_id or vote.identity_id
        known = people.get(holder) or seen.people.get(holder)
        if known is not None and vote.on_call and not vote.void:
            people[holder] = msgspec.structs.replace(known, on_call=known.on_call.union(vote.on_call))
    return list(people.values())


class _World(msgspec.Struct, frozen=True):
    people: Mapping[str, Person]
    requesters: Mapping[str, Subject]
    delegations: Sequence[DelegationRow]
    revoked: frozenset[str]


def _seen(row: ApprovalRow, votes: Sequence[VoteRow], world: _World, behind: Sequence[str]) -> Seen:
    requester = world.requesters.get(row.requester_id)
    owners = [*(sorted(requester.answerable) if requester else ()), *behind]
    chain = repository.chain_of(row).name
    covering = [one for one in world.delegations if delegation_rows.covers(one, chain, row.environment)]
    stand_ins = [delegation_rows.stand_in(one) for one in covering]
    parties = repository.parties_of(row, owners)
    request = repository.request_of(row, votes, parties, stand_ins, world.revoked)
    return Seen(request, votes, world.people, requester, covering)
