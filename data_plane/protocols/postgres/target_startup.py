"""How the agent opens a connection to a PostgreSQL target and proves who it is. Sans-io; the target is not trusted.

Follows "Start-up", "SSL Session Encryption" and "SASL Authentication" (55.2.1, 55.2.10, 55.3): SSLRequest unless TLS is
disabled (never "prefer"), StartupMessage 3.0 with the client's settings and our pins, SCRAM-SHA-256(-PLUS), MD5 or
password, then ParameterStatus and BackendKeyData up to ReadyForQuery, then one query of our own that reads what the
target does not report by itself (search_path, role). It refuses every message outside its place in the table: an
AuthenticationOk before the target has proved that it knows the password, bytes that come together with the answer to
SSLRequest (CVE-2021-23222), unknown methods, pins that did not take. A cleartext password is sent inside TLS or on this
machine only.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from data_plane.protocols.postgres import answers
from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.framing import HEADER, RemoteProtocolError, cstring, encode, frame_length
from data_plane.protocols.postgres.messages import (
    PROTOCOL_3_0,
    Authentication,
    AuthenticationCleartextPassword,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    BackendKeyData,
    CancelRequest,
    CommandComplete,
    DataRow,
    ErrorResponse,
    NoticeResponse,
    ParameterStatus,
    PasswordMessage,
    ReadyForQuery,
    RowDescription,
    SSLRequest,
    encode_password,
    encode_query,
    target_startup_caps,
)
from data_plane.protocols.postgres.scram import Scram
from data_plane.protocols.postgres.startup_parameters import PINNED
from data_plane.runtime.secret import Secret

TlsMode = Literal["disable", "require", "verify-ca", "verify-full"]


class State(enum.Enum):
    BEGINNING = "beginning"
    TLS_ASKED = "tls-asked"
    TLS_PENDING = "tls-pending"
    STARTED = "started"  # StartupMessage is sent
    SASL_BEGUN = "sasl-begun"
    SASL_PROVED = "sasl-proved"  # our proof is sent, the target's is due
    VERIFIED = "verified"  # nothing but AuthenticationOk is left
    AUTHENTICATED = "authenticated"
    ASKING = "asking"  # our own query runs
    READY = "ready"
    FAILED = "failed"


# Where each authentication request is in its place.
AUTHENTICATION: Final[Mapping[int, tuple[State, ...]]] = {
    AuthenticationOk: (State.STARTED, State.VERIFIED),
    AuthenticationCleartextPassword: (State.STARTED,),
    AuthenticationMD5Password: (State.STARTED,),
    AuthenticationSASL: (State.STARTED,),
    AuthenticationSASLContinue: (State.SASL_BEGUN,),
    AuthenticationSASLFinal: (State.SASL_PROVED,),
}

# Where every other message is. NoticeResponse and ErrorResponse may come at any time once we have started.
MESSAGES: Final[Mapping[int, tuple[State, ...]]] = {
    ParameterStatus: (State.AUTHENTICATED, State.ASKING),
    BackendKeyData: (State.AUTHENTICATED,),
    RowDescription: (State.ASKING,),
    DataRow: (State.ASKING,),
    CommandComplete: (State.ASKING,),
    ReadyForQuery: (State.AUTHENTICATED, State.ASKING),
}

STATE_QUERY: Final = (
    "SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'), current_user"
)
_STATE_NAMES: Final = ("search_path", "role", "user")
_MOST_PARAMETERS: Final = 200
_CAPS: Final = target_startup_caps()


class TargetLogin(msgspec.Struct, frozen=True):
    username: str
    password: Secret
    database: str
    settings: Mapping[str, str]
    tls: TlsMode
    local: bool  # loopback or Unix socket: a cleartext password may go without TLS
    nonce: str  # fresh and random, for SCRAM


class Send(msgspec.Struct, frozen=True):
    data: bytes

    def __repr__(self) -> str:  # it may hold a password
        return f"Send({len(self.data)} bytes)"


class StartTls(msgspec.Struct, frozen=True):
    """Do the TLS handshake, then call `secured` with the target's certificate."""


class Ready(msgspec.Struct, frozen=True):
    """`parameters`: as reported, for the client; `state`: what else changes the meaning of statements."""

    parameters: Mapping[str, str]
    state: Mapping[str, str]  # search_path, role, user
    key: CancelKey | None
    rest: bytes


class Failed(msgspec.Struct, frozen=True):
    """`sqlstate` and `message` are the target's own when `by_target`; else they are ours."""

    sqlstate: str
    message: str
    by_target: bool = False


Step = Send | StartTls | Ready | Failed


def encode_startup(user: str, database: str, settings: Mapping[str, str]) -> bytes:
    parameters = {"user": user, "database": database, **settings}
    body = b"".join(cstring(name) + cstring(value) for name, value in parameters.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, PROTOCOL_3_0) + body


def encode_cancel(key: CancelKey) -> bytes:
    return struct.pack("!IIi", 12 + len(key.secret), CancelRequest, key.process_id) + key.secret


SSL_REQUEST: Final = struct.pack("!II", 8, SSLRequest)


class TargetStartup:
    """Call `begin`, then feed it what the target sends; a failed or ready one takes nothing more."""

    def __init__(self, login: TargetLogin) -> None:
        self._login = login
        self._buffer = bytearray()
        self._certificate: bytes | None = None
        self._scram: Scram | None = None
        self._parameters: dict[str, str] = {}
        self._state_row: tuple[bytes | None, ...] = ()
        self._key: CancelKey | None = None
        self.state = State.BEGINNING

    def begin(self) -> Send:
        if self._login.tls == "disable":
            return self._startup()
        self.state = State.TLS_ASKED
        return Send(SSL_REQUEST)

    def secured(self, certificate: bytes) -> Send:
        """The TLS handshake is complete; `certificate` is the target's, DER."""
        if self.state is not State.TLS_PENDING:
            raise ValueError(f"no TLS handshake is due in state {self.state.value}")
        self._certificate = certificate
        return self._startup()

    def target_sent(self, data: bytes) -> list[Step]:
        try:
            return self._tls_answer(data) if self.state is State.TLS_ASKED else self._frames(data)
        except RemoteProtocolError as error:
            self.state = State.FAILED
            return [Failed("08006", str(error))]

    def target_closed(self) -> Failed:
        self.state = State.FAILED
        return Failed("08006", "the target closed the connection while it was opened")

    def _startup(self) -> Send:
        self.state = State.STARTED
        settings = {**self._login.settings, **PINNED}
        return Send(encode_startup(self._login.username, self._login.database, settings))

    def _tls_answer(self, data: bytes) -> list[Step]:
        if data == b"S":
            self.state = State.TLS_PENDING
            return [StartTls()]
        if data == b"N":
            raise RemoteProtocolError("the target offers no TLS, which the target's definition demands")
        raise RemoteProtocolError("the target's answer to SSLRequest is wrong")

    def _frames(self, data: bytes) -> list[Step]:
        if self.state in (State.BEGINNING, State.TLS_PENDING, State.READY, State.FAILED):
            raise RemoteProtocolError(f"the target sent data in state {self.state.value}")
        self._buffer += data
        steps: list[Step] = []
        while self.state not in (State.READY, State.FAILED) and (frame := self._frame()):
            if (step := self._message(frame[0], frame[HEADER:])) is not None:
                steps.append(step)
        return steps

    def _frame(self) -> bytes:
        """The next whole frame, or nothing."""
        length = frame_length(self._buffer, 0, _CAPS)
        if len(self._buffer) < length:
            return b""
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        return frame

    def _message(self, type_: int, payload: bytes) -> Step | None:
        if type_ == NoticeResponse:
            return None
        if type_ == ErrorResponse:
            return self._error(payload)
        if type_ == Authentication:
            return self._authentication(*answers.decode_authentication(payload))
        if self.state not in MESSAGES.get(type_, ()):
            raise RemoteProtocolError(f"message type {chr(type_)} out of place ({self.state.value})")
        if type_ == ParameterStatus:
            self._parameter_status(payload)
        elif type_ == BackendKeyData:
            self._key = answers.decode_key(payload)
        elif type_ == DataRow:
            self._state_row = answers.decode_data_row(payload)
        elif type_ == ReadyForQuery:
            return self._ready_for_query(payload)
        return None

    def _error(self, payload: bytes) -> Failed:
        fields = answers.decode_notice(payload)
        self.state = State.FAILED
        return Failed(fields.get(answers.SQLSTATE, "08006"), fields.get(answers.MESSAGE, ""), by_target=True)

    # -------------------------------------------------------------- authentication

    def _authentication(self, kind: int, data: bytes) -> Step | None:
        if self.state not in AUTHENTICATION.get(kind, ()):
            raise RemoteProtocolError(f"authentication request {kind} is unknown or out of place ({self.state.value})")
        if kind == AuthenticationOk:
            self.state = State.AUTHENTICATED
            return None
        if kind == AuthenticationSASL:
            return self._sasl(data)
        if kind == AuthenticationSASLContinue:
            self.state = State.SASL_PROVED
            return Send(encode(PasswordMessage, self._conversation.final(data)))
        if kind == AuthenticationSASLFinal:
            self._conversation.verify(data)
            self.state = State.VERIFIED
            return None
        self.state = State.VERIFIED
        return self._password() if kind == AuthenticationCleartextPassword else self._md5(data)

    @property
    def _conversation(self) -> Scram:
        if self._scram is None:
            raise RemoteProtocolError("SASL was not begun")
        return self._scram

    def _sasl(self, data: bytes) -> Send:
        mechanisms = answers.decode_mechanisms(data)
        self._scram = Scram(mechanisms, self._login.password, self._login.nonce, self._certificate)
        first = self._scram.first()
        self.state = State.SASL_BEGUN
        return Send(encode(PasswordMessage, cstring(self._scram.mechanism) + struct.pack("!i", len(first)) + first))

    def _password(self) -> Send:
        if self._certificate is None and not self._login.local:
            raise RemoteProtocolError("the target asks for the password in clear outside TLS")
        return Send(encode_password(self._login.password.reveal()))

    def _md5(self, salt: bytes) -> Send:
        if len(salt) != 4:
            raise RemoteProtocolError("the salt of AuthenticationMD5Password has four bytes")
        inner = hashlib.md5((self._login.password.reveal() + self._login.username).encode(), usedforsecurity=False)
        outer = hashlib.md5(inner.hexdigest().encode() + salt, usedforsecurity=False)
        return Send(encode_password("md5" + outer.hexdigest()))

    # -------------------------------------------------------------- after authentication

    def _parameter_status(self, payload: bytes) -> None:
        name, value = answers.decode_parameter_status(payload)
        self._parameters[name] = value
        if len(self._parameters) > _MOST_PARAMETERS:
            raise RemoteProtocolError("the target reports too many parameters")

    def _ready_for_query(self, payload: bytes) -> Step:
        if answers.decode_ready_for_query(payload) != ord("I"):
            raise RemoteProtocolError("a new session of the target is in a transaction")
        if self.state is State.AUTHENTICATED:
            self.state = State.ASKING
            return Send(encode_query(STATE_QUERY))
        for name, value in PINNED.items():
            if self._parameters.get(name, value).upper() != value.upper():
                raise RemoteProtocolError(f"the target does not keep {name} at {value}")
        if len(self._state_row) != len(_STATE_NAMES):
            raise RemoteProtocolError("the target does not tell its search_path and role")
        told = [(value or b"").decode("utf-8", "replace") for value in self._state_row]
        self.state = State.READY
        return Ready(self._parameters, dict(zip(_STATE_NAMES, told, strict=True)), self._key, bytes(self._buffer))
