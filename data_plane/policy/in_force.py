"""What holds at the moment. A module of its own because it is compiled: every statement looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from data_plane.policy.model import MaskSpec
    from data_plane.policy.snapshot import Snapshot


@mypyc_attr(allow_interpreted_subclasses=True)
class InForce:
    """The current snapshot, and its masks: each the same object for as long as the snapshot stands."""

    def __init__(self, masks: Mapping[str, MaskSpec]) -> None:
        self.current: Snapshot | None = None
        self.masks = masks
