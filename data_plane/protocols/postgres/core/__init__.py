"""The sans-io heart of a PostgreSQL session: follows both wires, asks for verdicts, lets nothing else through."""

from data_plane.protocols.postgres.core.ports import Limits, Output
from data_plane.protocols.postgres.core.session import SessionCore

__all__ = ["Limits", "Output", "SessionCore"]
