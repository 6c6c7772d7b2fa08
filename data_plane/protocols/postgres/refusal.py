"""What a client is told when there is no session, or no more: SQLSTATE and words that help no attacker. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from data_plane.gate.admission import Refused as NotAdmitted
from data_plane.gate.interface import Code
from data_plane.protocols.postgres import answers
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.protocols.postgres.target_startup import Failed
from data_plane.recording.interface import RecordingError


class Refusal(msgspec.Struct, frozen=True):
    sqlstate: str
    message: str
    hint: str = ""

    def encode(self) -> bytes:
        return answers.encode_error(self.sqlstate, self.message, hint=self.hint, severity="FATAL")


_BY_CODE: Final[Mapping[Code, str]] = {
    Code.UNAVAILABLE: "57P03",  # cannot connect now
    Code.LIMIT: "53300",
    Code.ENDED: "57P01",
    Code.POLICY: "42501",
}

# What a target says of the client's own wishes, and may be passed on.
_FOR_THE_CLIENT: Final = frozenset({"3D000", "22023", "42501", "53300", "57P01", "57P03"})


def not_admitted(refused: NotAdmitted, *, certificate: bool) -> Refusal:
    if refused.authentication:
        if certificate:
            return Refusal("28000", refused.message)
        return Refusal("28P01", refused.message, "The password is a short-lived token: get one with `assentry token`.")
    return Refusal(_BY_CODE.get(refused.code, "28000"), refused.message)


def target_failed(failed: Failed) -> Refusal:
    if not failed.by_target:
        return Refusal(failed.sqlstate, failed.message)
    if failed.sqlstate in _FOR_THE_CLIENT:
        return Refusal(failed.sqlstate, failed.message)
    if failed.sqlstate.startswith("28"):
        return Refusal("08004", "the target refused the agent's own credential", "The operator of the agent must act.")
    return Refusal("08001", "the target refused the connection")


def farewell(error: Exception) -> bytes:
    """The last message of a session that an exception ended."""
    if isinstance(error, RemoteProtocolError):
        return Refusal(error.sqlstate, str(error)).encode()
    if isinstance(error, RecordingError):
        return Refusal("58030", "the session cannot be recorded any more and has ended").encode()
    return Refusal("XX000", "the gateway failed and has ended the session").encode()
