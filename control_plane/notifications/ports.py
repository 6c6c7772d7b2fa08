"""The port that every channel implements, and what it is given. A channel owns no transaction and decides nothing.

Rules for a channel:

- It shows the *present* state (`Facts.view`), so a notice that comes twice or late harms nothing. The notice itself
  only says what to draw attention to.
- A notice is delivered at least once. `Facts.idempotency_key` is the same at every attempt of one delivery;
  `Facts.reference` is what the channel returned for this key the last time, on whichever replica that was.
- For one channel the notices of one key come one after the other, in order; those of different keys at the same time.
- `deliver` is cancelled after `TIME_LIMIT_SECONDS`. It does not block the event loop.
- What it raises as text stands in the delivery log: never a secret, never an address that holds one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from control_plane.approvals.review import View
from control_plane.kit.unit_of_work import Json, UnitOfWork

TIME_LIMIT_SECONDS: Final = 20.0

Luck = Callable[[], float]  # 0 to 1, as random.random


class Notice(msgspec.Struct, frozen=True):
    """What happened. `key` is the approval's id for everything about approvals."""

    id: int
    kind: str  # approval.pending, approval.commented, review.opened …
    key: str
    data: Mapping[str, Json]
    at_ms: int


class Recipient(msgspec.Struct, frozen=True):
    """Somebody who could decide now."""

    id: str
    name: str
    email: str


class Facts(msgspec.Struct, frozen=True):
    """How things are at this moment. `view` None: the key is no approval (any more)."""

    view: View | None
    recipients: Sequence[Recipient]
    url: str  # of the approval in the console
    idempotency_key: str
    attempt: int  # the first is 1
    reference: str = ""


class Told(msgspec.Struct, frozen=True):
    """What a channel may say after a delivery. `note` stands in the delivery log; `reference` is given back at the
    key's next notice; `url` with its `label` is shown on the approval (a ticket)."""

    note: str = ""
    reference: str = ""
    label: str = ""
    url: str = ""


class Later(Exception):  # noqa: N818 - an instruction to the dispatcher, as its name reads there
    """Try again, not before so many seconds (0: as the dispatcher likes). Any other exception means this too."""

    def __init__(self, seconds: float = 0, why: str = "") -> None:
        super().__init__(why)
        self.seconds = seconds
        self.why = why


class Never(Exception):  # noqa: N818
    """It will not work however often it is tried: the other side refused it for good."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Channel(Protocol):
    @property
    def name(self) -> str:
        """Unique; a part of the delivery log, and of audit."""

    def wants(self, notice: Notice, facts: Facts) -> bool:
        """Asked once, before the first attempt, with `idempotency_key` and `reference` empty."""

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        """Returns when the other side has taken it. Raises Later or Never."""


class Approvals(Protocol):
    """What notifications ask of approvals."""

    async def facts(self, uow: UnitOfWork, key: str, *, recipients: bool = True) -> Facts:
        """Without what belongs to one delivery. `recipients` False: nobody asks for them, so they are not looked up."""


class Channels(Protocol):
    async def present(self, uow: UnitOfWork) -> Mapping[str, Channel]:
        """By name, as they are configured now. The same object as long as its configuration is the same."""
