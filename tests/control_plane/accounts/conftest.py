"""The fixture of a control plane without its network."""

from tests.control_plane.world import world

__all__ = ["world"]
