"""Everything of notifications, put together from what the other features offer. `assembly` makes one."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from control_plane.approvals.review import ReviewService
from control_plane.kit.clock import Clock
from control_plane.kit.events import Events
from control_plane.kit.unit_of_work import Units
from control_plane.notifications.apprise_channel import AppriseCourier
from control_plane.notifications.attempts import Attempts
from control_plane.notifications.callbacks import Callbacks, People
from control_plane.notifications.channels import ConfiguredChannels, Makers
from control_plane.notifications.directory import KnownApprovals
from control_plane.notifications.dispatcher import Dispatcher, FanOut
from control_plane.notifications.documents import AppriseSpec, ChannelKind, JiraSpec, ServiceNowSpec, WebhookSpec
from control_plane.notifications.jira import Jira
from control_plane.notifications.outgoing import Network, Outgoing
from control_plane.notifications.ports import TIME_LIMIT_SECONDS
from control_plane.notifications.secrets import Environment, Secrets
from control_plane.notifications.service import NotificationService
from control_plane.notifications.servicenow import ServiceNow
from control_plane.notifications.tickets import TicketCourier
from control_plane.notifications.webhook import WebhookCourier


class NotificationsFeature:
    """`channels.add` takes channels that settings bring; `service` and `callbacks` are parts for endpoints."""

    def __init__(
        self,
        *,
        units: Units,
        events: Events,
        clock: Clock,
        kind: ChannelKind,
        review: ReviewService,
        people: People,
        public_url: str,
        secrets_dir: Path,
        environment: Environment,
        networks: Sequence[Network],
        alone: bool,
        limit_seconds: float = TIME_LIMIT_SECONDS,
    ) -> None:
        self.secrets = Secrets(secrets_dir, environment)
        self.outgoing = Outgoing(networks)
        self.channels = ConfiguredChannels(kind, _makers(self.outgoing, self.secrets, clock))
        approvals = KnownApprovals(review, people, public_url)
        self.fan_out = FanOut(units, self.channels, approvals)
        self.attempts = Attempts(units, approvals, random.random, limit_seconds)
        self.dispatcher = Dispatcher(
            units=units,
            events=events,
            clock=clock,
            channels=self.channels,
            fan_out=self.fan_out,
            attempts=self.attempts,
            alone=alone,
        )
        self.service = NotificationService(units, self.channels)
        self.callbacks = Callbacks(units, kind, self.secrets, people, review)

    @property
    def loops(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        return (
            ("notifications", self.dispatcher.run),
            ("notification-upkeep", self.service.forget_at_intervals),
        )


def _makers(outgoing: Outgoing, secrets: Secrets, clock: Clock) -> Makers:
    return {
        AppriseSpec: lambda _name, spec: AppriseCourier(spec, secrets),
        WebhookSpec: lambda _name, spec: WebhookCourier(spec, outgoing, secrets, clock),
        JiraSpec: lambda _name, spec: TicketCourier(Jira(spec, outgoing, secrets)),
        ServiceNowSpec: lambda _name, spec: TicketCourier(ServiceNow(spec, outgoing, secrets)),
    }
