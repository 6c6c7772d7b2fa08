"""Everything of approvals, put together from what the other features offer. `assembly` makes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from control_plane.approvals.agreement import Agreement
from control_plane.approvals.broken_glass import BrokenGlass
from control_plane.approvals.cards import Cards
from control_plane.approvals.delegations import Delegations
from control_plane.approvals.endings import Endings
from control_plane.approvals.grants import GrantIssuer
from control_plane.approvals.limits import Limits
from control_plane.approvals.news import NewsFeed
from control_plane.approvals.participation import Participation
from control_plane.approvals.petitions import PetitionService
from control_plane.approvals.planned import Planned
from control_plane.approvals.ports import GrantEncoder, People, Rulebook, Sessions
from control_plane.approvals.pressure import Pressure
from control_plane.approvals.requesting import Gatherer
from control_plane.approvals.review import ReviewService
from control_plane.approvals.service import ApprovalService
from control_plane.approvals.standing import Standing
from control_plane.approvals.telling import Tellings
from control_plane.approvals.timers import DeadlineKeeper
from control_plane.approvals.upkeep import Upkeep
from control_plane.kit.clock import Clock
from control_plane.kit.events import Events
from control_plane.kit.keys import SigningKeys
from control_plane.kit.unit_of_work import Units


class ApprovalsFeature:
    """`service` is for agents and sessions; `review` and `feed` are parts for endpoints; `loops` run for ever."""

    def __init__(
        self,
        *,
        units: Units,
        events: Events,
        clock: Clock,
        keys: SigningKeys,
        deployment: str,
        public_url: str,
        encoder: GrantEncoder,
        people: People,
        rulebook: Rulebook,
        sessions: Sessions,
        tellings: Tellings | None = None,
        limits: Limits = Limits(),  # noqa: B008 - a value that never changes
    ) -> None:
        standing = Standing(people, rulebook)
        agreement = Agreement(GrantIssuer(deployment, keys, encoder))
        planned = Planned(standing, agreement)
        self.pressure = Pressure(limits, people)
        self.service = ApprovalService(Gatherer(people, rulebook, sessions), planned, self.pressure, public_url)
        self.petitions = PetitionService(people, rulebook, self.pressure)
        self.review = ReviewService(standing, agreement, tellings)
        self.cards = Cards(self.review)
        self.participation = Participation()
        self.delegations = Delegations(people, rulebook, standing)
        self.endings = Endings(standing, self.delegations)
        self.broken_glass = BrokenGlass(standing, agreement)
        self.feed = NewsFeed(units, events, people)
        self.keeper = DeadlineKeeper(units, events, clock)
        self.upkeep = Upkeep(units, events, standing)

    @property
    def loops(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        return (("approval-deadlines", self.keeper.run), ("approval-upkeep", self.upkeep.run))
