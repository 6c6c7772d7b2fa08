"""Where the agent's own configuration says that a target is. Pure.

Whoever may change targets at the control plane could otherwise have the agent sign in at a host of their own. A target
whose document says anything else than its pin is not served, as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from data_plane.policy.model import TargetSpec

_VERIFIED: Final = ("verify-ca", "verify-full")


class Pin(msgspec.Struct, frozen=True):
    """`ca`: PEM, by which alone the target's certificate is verified; empty: the document says how."""

    address: str
    ca: str = ""

    def problem(self, spec: TargetSpec) -> str:
        """Empty: the document says the same."""
        if spec.address != self.address:
            return f"its document says {spec.address}, this agent's configuration {self.address}"
        if self.ca and (spec.tls.mode not in _VERIFIED or spec.tls.ca.split() != self.ca.split()):
            return "its document does not have its certificate verified by the authority of this agent's configuration"
        return ""


NO_PINS: Final[Mapping[str, Pin]] = {}
