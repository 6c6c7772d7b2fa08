"""Everything of access reviews, put together from what the other features offer. `who` makes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from control_plane.access_reviews.deadlines import Deadlines
from control_plane.access_reviews.report import AccessReport
from control_plane.access_reviews.service import AccessReviews
from control_plane.access_reviews.sources import lasting
from control_plane.access_reviews.uses import Uses
from control_plane.identities.ending import Ending
from control_plane.identities.service import IdentityService
from control_plane.kit.clock import Clock
from control_plane.kit.unit_of_work import Units


class AccessReviewsFeature:
    def __init__(self, *, units: Units, clock: Clock, identities: IdentityService, ending: Ending) -> None:
        sources = lasting(ending)
        self.uses = Uses(units, clock)
        self.report = AccessReport(sources)
        self.reviews = AccessReviews(identities, self.report, sources)
        self.deadlines = Deadlines(units, self.reviews)

    def parts(self) -> Sequence[object]:
        return (self.report, self.reviews)

    @property
    def loops(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        return (("access-reviews", self.deadlines.run), ("uses", self.uses.run))
