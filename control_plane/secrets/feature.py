"""Everything of secrets, put together. `assembly` makes one; what the keys of the control plane need comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from control_plane.kit.events import Events
from control_plane.kit.unit_of_work import Units
from control_plane.secrets.config import open_envelope
from control_plane.secrets.delivery import SecretDelivery
from control_plane.secrets.rewrapping import Rewrapping
from control_plane.secrets.sealed_files import SealedFiles
from control_plane.secrets.service import SecretService
from control_plane.secrets.wrapping import open_wrapper
from control_plane.targets.service import TargetService


class Sealing:
    """What seals, before there is a database or an event loop. Raises StartError."""

    def __init__(self, wrapping_keys: str, state_dir: Path, deployment: str) -> None:
        self.state_dir = state_dir
        self.envelope = open_envelope(wrapping_keys, state_dir, open_wrapper)
        self.files = SealedFiles(self.envelope, deployment)


class SecretsFeature:
    """`service` and `rewrapping` are parts for endpoints; `delivery` is the port of agents."""

    def __init__(
        self, *, units: Units, events: Events, targets: TargetService, deployment: str, sealing: Sealing
    ) -> None:
        self.sealing = sealing
        self.service = SecretService(units, sealing.envelope, targets, deployment)
        self.delivery = SecretDelivery(sealing.envelope, self.service, targets)
        self.rewrapping = Rewrapping(units, events, sealing.envelope, self.service, sealing.files)

    @property
    def loops(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        return (("secret-rewrap", self.rewrapping.run),)
