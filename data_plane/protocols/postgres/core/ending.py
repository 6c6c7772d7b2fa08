"""What ends a session from within: the reason for the record, and the last words to its client."""

from __future__ import annotations

from data_plane.protocols.postgres.core.outcomes import PinBrokenError
from data_plane.protocols.postgres.core.refusals import fatal
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.recording.interface import RecordingError

Broken = RemoteProtocolError | RecordingError | PinBrokenError


def of_client(error: Broken) -> tuple[str, bytes]:
    """The client broke the protocol, or what it does cannot be recorded."""
    if isinstance(error, RemoteProtocolError):
        return "client-broke-protocol", fatal(error.sqlstate, str(error))
    return of_target(error)


def of_target(error: Broken) -> tuple[str, bytes]:
    if isinstance(error, RemoteProtocolError):
        return "target-broke-protocol", fatal("08P01", f"the target broke the protocol: {error}")
    if isinstance(error, PinBrokenError):
        return "pin-broken", fatal("57P01", f"terminating connection: {error}")
    return "recording-failed", fatal("58030", f"the session cannot be recorded any more: {error}")
