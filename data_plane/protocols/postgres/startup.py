"""How a PostgreSQL client opens a connection, up to the point where it must authenticate. Sans-io.

Follows "Start-up", "SSL Session Encryption" and "Canceling Requests in Progress" (55.2.1, 55.2.10, 55.2.8). Speaks
protocol 3.0 and 3.2, SSLRequest, GSSENCRequest (always refused, at most once) and direct TLS (the listener looks at the
first byte and says so with `secured`). It refuses bytes that come together with a request for encryption
(CVE-2021-23214: they would be taken for encrypted ones), SSLRequest inside TLS, replication, an empty user, settings
that are not on the list, and anything longer than a start-up can be. Who the client is, `client_authentication` finds
out.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from data_plane.protocols.postgres import startup_parameters
from data_plane.protocols.postgres.answers import CancelKey, Negotiation
from data_plane.protocols.postgres.framing import Fields, RemoteProtocolError
from data_plane.protocols.postgres.messages import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    CancelRequest,
    GSSENCRequest,
    SSLRequest,
)


class State(enum.Enum):
    OPEN = "open"  # in clear, nothing asked yet
    GSS_REFUSED = "gss-refused"
    TLS_REFUSED = "tls-refused"
    BOTH_REFUSED = "both-refused"
    TLS_PENDING = "tls-pending"  # S was answered, the TLS handshake runs
    SECURED = "secured"
    DONE = "done"
    FAILED = "failed"


class Packet(enum.Enum):
    SSL_REQUEST = SSLRequest
    GSSENC_REQUEST = GSSENCRequest
    CANCEL_REQUEST = CancelRequest
    STARTUP = PROTOCOL_3_0


_FIRST = (State.OPEN, State.GSS_REFUSED, State.TLS_REFUSED, State.BOTH_REFUSED, State.SECURED)

# The state after a packet; SSL_REQUEST leads to TLS_PENDING instead when the endpoint offers TLS. No pair, no service.
TRANSITIONS: Final[Mapping[tuple[State, Packet], State]] = {
    (State.OPEN, Packet.SSL_REQUEST): State.TLS_REFUSED,
    (State.GSS_REFUSED, Packet.SSL_REQUEST): State.BOTH_REFUSED,
    (State.OPEN, Packet.GSSENC_REQUEST): State.GSS_REFUSED,
    (State.TLS_REFUSED, Packet.GSSENC_REQUEST): State.BOTH_REFUSED,
    **dict.fromkeys([(state, Packet.CANCEL_REQUEST) for state in _FIRST], State.DONE),
    **dict.fromkeys([(state, Packet.STARTUP) for state in _FIRST], State.DONE),
}

LONGEST_PACKET: Final = 10_000  # as the server: MAX_STARTUP_PACKET_LENGTH
LONGEST_KEY: Final = 256
_MOST_PARAMETERS: Final = 64


class Answer(msgspec.Struct, frozen=True):
    """Send this in clear and go on receiving."""

    data: bytes


class StartTls(msgspec.Struct, frozen=True):
    """Send `data` in clear, do the TLS handshake, then call `secured`."""

    data: bytes


class Startup(msgspec.Struct, frozen=True):
    """What the client asks for. `settings` are allowed and pinned; `rest` has come in after the message."""

    version: int  # the one that is spoken from here on
    user: str
    database: str
    settings: Mapping[str, str]
    application_name: str
    negotiation: Negotiation | None  # to be sent before any authentication
    rest: bytes


class Cancel(msgspec.Struct, frozen=True):
    key: CancelKey


class Refused(msgspec.Struct, frozen=True):
    """Send an ErrorResponse (FATAL) and close."""

    sqlstate: str
    message: str


Step = Answer | StartTls | Startup | Cancel | Refused


class StartupCore:
    """Feed it what the client sends; it gives the next step, or None while a packet is incomplete."""

    def __init__(self, *, offers_tls: bool, secured: bool = False) -> None:
        self._offers_tls = offers_tls
        self.state = State.SECURED if secured else State.OPEN
        self._buffer = bytearray()

    def client_sent(self, data: bytes) -> Step | None:
        if self.state in (State.TLS_PENDING, State.DONE, State.FAILED):
            return self._fail("08P01", "nothing was expected from the client here")
        self._buffer += data
        try:
            return self._step()
        except RemoteProtocolError as error:
            return self._fail(error.sqlstate, str(error))

    def secured(self) -> None:
        """The TLS handshake that StartTls asked for is complete."""
        if self.state is not State.TLS_PENDING:
            raise ValueError(f"no TLS handshake is due in state {self.state.value}")
        self.state = State.SECURED

    def _fail(self, sqlstate: str, message: str) -> Refused:
        self.state = State.FAILED
        self._buffer.clear()
        return Refused(sqlstate, message)

    def _step(self) -> Step | None:
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if not 8 <= length <= LONGEST_PACKET:
            raise RemoteProtocolError("invalid length of startup packet")
        if len(self._buffer) < length:
            return None
        payload = bytes(self._buffer[4:length])
        del self._buffer[:length]
        return self._packet(payload)

    def _packet(self, payload: bytes) -> Step:
        code = int.from_bytes(payload[:4], "big")
        packet = next((known for known in Packet if known.value == code), Packet.STARTUP)
        following = TRANSITIONS.get((self.state, packet))
        if following is None:
            raise RemoteProtocolError(f"{packet.name} is not allowed in state {self.state.value}")
        self.state = following
        if packet is Packet.STARTUP:
            return self._startup(payload)
        if packet is Packet.CANCEL_REQUEST:
            return _cancel(payload)
        return self._encryption(packet, payload)

    def _encryption(self, packet: Packet, payload: bytes) -> Step:
        if len(payload) != 4:
            raise RemoteProtocolError("invalid length of startup packet")
        if self._buffer:
            raise RemoteProtocolError("received unencrypted data after a request for encryption")
        if packet is Packet.SSL_REQUEST and self._offers_tls:
            self.state = State.TLS_PENDING
            return StartTls(b"S")
        return Answer(b"N")

    def _startup(self, payload: bytes) -> Step:
        fields = Fields(payload)
        version = fields.uint32()
        if version >> 16 != 3:
            raise RemoteProtocolError(
                f"unsupported frontend protocol {version >> 16}.{version & 0xFFFF}: server supports 3.0 and 3.2",
                "0A000",
            )
        parameters = _parameters(fields)
        options = tuple(name for name in parameters if name.startswith("_pq_."))
        for name in options:
            del parameters[name]
        spoken = PROTOCOL_3_2 if version >= PROTOCOL_3_2 else PROTOCOL_3_0
        negotiation = Negotiation(spoken, options) if options or spoken != version else None
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _admissible(spoken, parameters, negotiation, rest)


def _cancel(payload: bytes) -> Cancel:
    secret = payload[8:]
    if not 4 <= len(secret) <= LONGEST_KEY:
        raise RemoteProtocolError("invalid length of cancel request packet")
    return Cancel(CancelKey(int.from_bytes(payload[4:8], "big", signed=True), secret))


def _parameters(fields: Fields) -> dict[str, str]:
    parameters: dict[str, str] = {}
    while name := fields.string():
        if name in parameters or len(parameters) == _MOST_PARAMETERS:
            raise RemoteProtocolError("startup parameters are given twice or are too many")
        parameters[name] = fields.string()
    fields.end()
    for text in (*parameters, *parameters.values()):
        if not text.isprintable():  # control characters, and the surrogates that stand for bytes that are not UTF-8
            raise RemoteProtocolError("startup parameters must be printable UTF-8", "22021")
    return parameters


def _admissible(version: int, parameters: dict[str, str], negotiation: Negotiation | None, rest: bytes) -> Startup:
    user = parameters.pop("user", "")
    if not user:
        raise RemoteProtocolError("no PostgreSQL user name specified in startup packet", "28000")
    if "replication" in parameters:
        raise RemoteProtocolError("replication connections are not allowed through this gateway", "42501")
    database = parameters.pop("database", "") or user
    settings = startup_parameters.settings(parameters)
    return Startup(
        version=version,
        user=user,
        database=database,
        settings=settings,
        application_name=settings.get("application_name", ""),
        negotiation=negotiation,
        rest=rest,
    )
