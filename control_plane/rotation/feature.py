"""Everything of rotation, put together. `assembly` makes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from control_plane.kit.unit_of_work import Units
from control_plane.rotation.keeper import RotationKeeper
from control_plane.rotation.ports import Errands, Sealed, Uses
from control_plane.rotation.report import CredentialReport
from control_plane.rotation.service import RotationService
from control_plane.targets.service import TargetService


class RotationFeature:
    """`service` and `report` are parts for endpoints and pages."""

    def __init__(self, *, units: Units, targets: TargetService, errands: Errands, uses: Uses, sealed: Sealed) -> None:
        self.service = RotationService(units, targets, errands)
        self.report = CredentialReport(targets, uses, sealed)
        self.keeper = RotationKeeper(units, targets, self.service)

    @property
    def loops(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        return (("rotations", self.keeper.run),)
