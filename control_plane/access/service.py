"""Access windows as people and machines know them: what is offered to them, asked for, open and ended."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from control_plane.access.documents import AccessOffer, OfferKind, parse
from control_plane.access.errors import NotOfferedError
from control_plane.access.tables import AccessWindowRow
from control_plane.access.windows import LentGroups
from control_plane.approvals.petitions import Petition, PetitionService
from control_plane.approvals.shown import Access, Rule
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import FieldProblem, InvalidError
from control_plane.kit.unit_of_work import UnitOfWork
from data_plane.policy import durations


class Offered(msgspec.Struct, frozen=True):
    """One offer to somebody who may ask for it. `policies` select its group."""

    name: str
    description: str
    target: str
    group: str
    longest_seconds: int
    policies: tuple[str, ...]


class AccessService:
    def __init__(self, offers: OfferKind, lent: LentGroups, petitions: PetitionService) -> None:
        self._offers = offers
        self._lent = lent
        self._petitions = petitions

    async def offered(self, uow: UnitOfWork, principal: Principal) -> Sequence[Offered]:
        """In order of names."""
        offers = [parse(row.json_text) for row in await self._offers.rows(uow)]
        return [await self._described(uow, offer) for offer in offers if _may_ask(principal, offer)]

    async def ask(self, uow: UnitOfWork, by: Principal, offer_name: str, length: str, reason: str) -> ApprovalRow:
        """Raises a ProblemError; then nobody is asked."""
        row = await self._offers.row(uow, offer_name)
        offer = parse(row.json_text) if row else None
        if row is None or offer is None or not _may_ask(by, offer):
            raise NotOfferedError(f"no access is offered to you by the name {offer_name!r}")
        offered = await self._described(uow, offer)
        seconds = _seconds(length, offered)
        petition = Petition(
            rule=Rule("access", offer_name, row.version),
            target=offered.target,
            chain=offer.spec.approval,
            reason=reason,
            access=Access(offer_name, offered.group, seconds, offered.policies),
        )
        request = await self._petitions.ask(uow, by, petition)
        uow.session.add(
            AccessWindowRow(
                approval_id=request.id,
                identity_id=by.identity,
                group_name=offered.group,
                offer=offer_name,
                seconds=seconds,
            )
        )
        return request

    async def _described(self, uow: UnitOfWork, offer: AccessOffer) -> Offered:
        spec = offer.spec
        return Offered(
            name=offer.metadata.name,
            description=offer.metadata.description,
            target=spec.target,
            group=spec.group,
            longest_seconds=int(durations.seconds(spec.longest)),
            policies=tuple(await self._lent.opened(uow, spec.group)),
        )


def _may_ask(principal: Principal, offer: AccessOffer) -> bool:
    return not set(offer.spec.ask).isdisjoint(principal.groups)


def _seconds(length: str, offered: Offered) -> int:
    try:
        seconds = int(durations.seconds(length))
    except durations.DurationError as error:
        raise InvalidError("for how long?", [FieldProblem(path="$.for", message=str(error))]) from error
    if not 1 <= seconds <= offered.longest_seconds:
        problem = FieldProblem(path="$.for", message=f"at least 1s and at most {offered.longest_seconds}s is offered")
        raise InvalidError("for how long?", [problem])
    return seconds
