"""Whether what a request stands on is still there: the requester, the credential, and the documents that held it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from control_plane.approvals import repository
from control_plane.approvals.domain import Parties, Person, Request, State, progress, unanswerable
from control_plane.approvals.ports import People, Rulebook, Subject
from control_plane.approvals.tables import ApprovalRow, VoteRow
from control_plane.kit.unit_of_work import UnitOfWork


class Judged(msgspec.Struct, frozen=True):
    """A request with everything that deciding needs, as it is at this moment."""

    request: Request
    votes: Sequence[VoteRow]
    people: Mapping[str, Person]  # those who have decided, and whoever else was asked for
    fault: str  # why it no longer stands; empty: it does


class Standing:
    def __init__(self, people: People, rulebook: Rulebook) -> None:
        self._people = people
        self._rulebook = rulebook

    async def judged(self, uow: UnitOfWork, row: ApprovalRow, *others: str) -> Judged:
        votes = await repository.votes(uow.session, row.id)
        subject = await self._people.subject(uow, row.requester_id)
        owners = [subject.owner_id] if subject and subject.owner_id else []
        request = repository.request_of(row, votes, repository.parties_of(row, owners))
        asked = sorted({*(vote.identity_id for vote in votes), *others})
        people = {person.id: person for person in await self._people.people(uow, asked)}
        fault = await self._fault(uow, row, subject)
        return Judged(request, votes, people, fault)

    async def _fault(self, uow: UnitOfWork, row: ApprovalRow, subject: Subject | None) -> str:
        if subject is None or not subject.enabled:
            return "the requester is disabled or gone"
        credential = await self._people.credential(uow, row.credential_id)
        if credential is None or not credential.valid:
            return "the requester's credential is revoked or has expired"
        chain = repository.chain_of(row).name
        if await self._rulebook.fingerprint(uow, subject, chain, row.target) != row.fingerprint:
            return "a policy, the approval chain or the target has changed since the operation was held"
        return ""

    async def lost_support(self, uow: UnitOfWork, judged: Judged) -> str:
        """Whether those who agreed, or those who could, are no longer enough. Empty: they are."""
        request = judged.request
        if request.state is State.APPROVED:
            now = progress(request.chain, request.parties, request.votes, judged.people)
            return "" if now.satisfied else "somebody who approved it may no longer approve it"
        return await self._nobody_left(uow, request.parties, request)

    async def _nobody_left(self, uow: UnitOfWork, parties: Parties, request: Request) -> str:
        groups = sorted({group for stage in request.chain.stages for group in stage.groups})
        return unanswerable(request.chain, parties, await self._people.people_in(uow, groups)) or ""
