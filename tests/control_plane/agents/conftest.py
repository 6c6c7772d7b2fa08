"""A control plane without its network, with approvals, sessions and recordings."""

from tests.control_plane.world import world

__all__ = ["world"]
