"""The channels as they are configured now, made from their documents; and those that assembly brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.notifications.documents import AppriseSpec, ChannelKind, NotificationChannel, Selection, Spec, parse
from control_plane.notifications.kinds import ALARMS, matches
from control_plane.notifications.ports import Channel, Facts, Notice, Told


class Courier(Protocol):
    """What a type of channel is: it delivers. What it is asked to deliver is chosen by its document."""

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        """As `Channel.deliver`."""


Makers = Mapping[type[Any], Callable[[str, Any], Courier]]  # type of spec -> name and spec -> courier


class Selected:
    """A Channel: a courier, and what it tells of."""

    def __init__(self, name: str, selection: Selection, courier: Courier) -> None:
        self.name = name
        self._selection = selection
        self._events = selection.events or default_events(selection)
        self._courier = courier

    def wants(self, notice: Notice, facts: Facts) -> bool:
        """What is about no approval has no environment, no target and no chain: it is chosen by its kind alone."""
        if not matches(self._events, notice.kind):
            return False
        if facts.view is None:
            return True
        target, chain, chosen = facts.view.shown.target, facts.view.shown.chain.name, self._selection
        return (
            (not chosen.environments or target.environment in chosen.environments)
            and all(target.labels.get(name) == value for name, value in chosen.labels.items())
            and (not chosen.chains or chain in chosen.chains)
        )

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        return await self._courier.deliver(notice, facts)


def default_events(selection: Selection) -> Sequence[str]:
    """People are not to be woken by everything; a system that follows along wants to hear all of it."""
    return ALARMS if isinstance(selection, AppriseSpec) else ("*",)


class ConfiguredChannels:
    """The port Channels. `fixed` ones come from settings and are always there."""

    def __init__(self, kind: ChannelKind, makers: Makers, fixed: Sequence[Channel] = ()) -> None:
        self._kind = kind
        self._makers = makers
        self._fixed = {channel.name: channel for channel in fixed}
        self._made: dict[str, tuple[str, Channel]] = {}  # by name: the text that it was made from

    def add(self, channel: Channel) -> None:
        """One more that is always there; before anything runs."""
        self._fixed[channel.name] = channel

    def remove(self, name: str) -> None:
        self._fixed.pop(name, None)

    async def present(self, uow: UnitOfWork) -> Mapping[str, Channel]:
        texts = dict(await self._kind.all(uow))
        self._made = {name: self._of(name, text) for name, text in texts.items()}
        return {**{name: channel for name, (_, channel) in self._made.items()}, **self._fixed}

    def _of(self, name: str, text: str) -> tuple[str, Channel]:
        known = self._made.get(name)
        if known is not None and known[0] == text:
            return known
        return text, self._make(name, parse(text))

    def _make(self, name: str, document: NotificationChannel) -> Channel:
        spec: Spec = document.spec
        return Selected(name, spec, self._makers[type(spec)](name, spec))
