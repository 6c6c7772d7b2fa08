"""Everything of Slack, put together from what the other features offer. Without a configuration it is nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from control_plane.approvals.cards import Cards
from control_plane.approvals.review import ReviewService
from control_plane.identities.service import IdentityService
from control_plane.kit.clock import Clock
from control_plane.kit.unit_of_work import Units
from control_plane.slack.answering import Answering
from control_plane.slack.api import WebApi
from control_plane.slack.channel import SlackChannel
from control_plane.slack.config import SlackConfiguration
from control_plane.slack.inbox import Inbox
from control_plane.slack.people import People
from control_plane.slack.signature import Verifier
from control_plane.slack.socket import Socket


class SlackFeature:
    """`channel` goes to notifications; `verifier` and `answering` are for the endpoint; `loops` run for ever."""

    def __init__(
        self,
        *,
        configuration: SlackConfiguration | None,
        units: Units,
        clock: Clock,
        review: ReviewService,
        cards: Cards,
        identities: IdentityService,
    ) -> None:
        self.channel: SlackChannel | None = None
        self.answering: Answering | None = None
        self.verifier: Verifier | None = None
        self.loops: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = ()
        self._api: WebApi | None = None
        if configuration is None:
            return
        self._api = WebApi(configuration.bot_token, configuration.api_url)
        self.channel = SlackChannel(configuration, self._api, units)
        people = People(configuration.identity, identities, self._api)
        self.answering = Answering(Inbox(units, clock, review, cards, people), self._api)
        self.loops = (("slack-inbox", self.answering.run),)
        if configuration.mode == "http":
            self.verifier = Verifier(configuration.signing_secret, clock)
        else:
            self.loops = (*self.loops, ("slack-socket", Socket(configuration, self.answering).run))

    async def close(self) -> None:
        """After the loops have ended."""
        if self.answering is not None:
            await self.answering.close()
        if self._api is not None:
            await self._api.close()
