"""How a PostgreSQL client shows who it is: a client certificate, or a short-lived token sent as its password. Sans-io.

Follows "AuthenticationCleartextPassword" (55.2.1). The password message is asked for only inside TLS or when the client
is on this machine (loopback, Unix socket), and never where the endpoint demands TLS. Whether the credential is good is
the admission's business; this module only gets it out of the wire. It refuses everything but one PasswordMessage.
Tokens sit in `Secret`s and are in no message that is raised or logged.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from data_plane.gate.admission import CertificateCredential, Credential, TokenCredential
from data_plane.protocols.postgres.answers import encode_authentication
from data_plane.protocols.postgres.framing import Fields, RemoteProtocolError, frame_length
from data_plane.protocols.postgres.messages import (
    AuthenticationCleartextPassword,
    PasswordMessage,
)
from data_plane.runtime.secret import Secret

LONGEST_PASSWORD: Final = 16 * 1024
_GET_ONE: Final = "Get a token with `assentry token`; it is the password."
_NO_TOKENS: Final = {  # by how they begin; nothing of them is repeated
    "assentry_k_": (
        "the password is a service-account key, not a token",
        "Get a token with the key: ASSENTRY_TOKEN=(the key) assentry token. Replace a key that others may have seen.",
    ),
    "assentry_s_": ("the password is a sign-in of the command line, not a token", _GET_ONE),
}


class State(enum.Enum):
    BEGINNING = "beginning"
    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


class Channel(msgspec.Struct, frozen=True):
    """What is known of the connection. `certificate` is DER and was verified in the TLS handshake."""

    secured: bool
    local: bool  # loopback or Unix socket
    certificate: bytes | None = None
    tls_required: bool = False


class Ask(msgspec.Struct, frozen=True):
    """Send this and wait for the password."""

    data: bytes


class Shown(msgspec.Struct, frozen=True):
    credential: Credential
    rest: bytes  # came in after the password


class Refused(msgspec.Struct, frozen=True):
    sqlstate: str
    message: str
    hint: str = ""


Step = Ask | Shown | Refused

_caps = tuple(LONGEST_PASSWORD if type_ == PasswordMessage else 0 for type_ in range(256))


class ClientAuthentication:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self.state = State.BEGINNING

    def begin(self, early: bytes = b"") -> Step | None:
        """`early`: what came in right behind the StartupMessage."""
        if self.state is not State.BEGINNING:
            raise ValueError(f"authentication is {self.state.value}")
        if self._channel.tls_required and not self._channel.secured:
            return self._fail("28000", "this endpoint accepts TLS connections only: use sslmode=require or stricter")
        if self._channel.certificate is not None:
            self.state = State.DONE
            return Shown(CertificateCredential(self._channel.certificate), early)
        if not self._channel.secured and not self._channel.local:
            return self._fail("28000", "a token is accepted inside TLS only: use sslmode=require or stricter")
        if early:
            return self._fail("08P01", "the client sent data before it was asked to authenticate")
        self.state = State.ASKED
        return Ask(encode_authentication(AuthenticationCleartextPassword))

    def client_sent(self, data: bytes) -> Step | None:
        if self.state is not State.ASKED:
            return self._fail("08P01", "nothing was expected from the client here")
        self._buffer += data
        try:
            return self._password()
        except RemoteProtocolError as error:
            return self._fail(error.sqlstate, "expected one password message")

    def _password(self) -> Step | None:
        length = frame_length(self._buffer, 0, _caps)
        if not length or len(self._buffer) < length:
            return None
        fields, rest = Fields(bytes(self._buffer[5:length])), bytes(self._buffer[length:])
        password = fields.raw_string()
        fields.end()
        self._buffer.clear()
        if not password or not password.isascii():
            return self._fail("28P01", "the password must be a token", _GET_ONE)
        for beginning, told in _NO_TOKENS.items():
            if password.startswith(beginning.encode()):
                return self._fail("28P01", *told)
        self.state = State.DONE
        return Shown(TokenCredential(Secret(password.decode("ascii"))), rest)

    def _fail(self, sqlstate: str, message: str, hint: str = "") -> Refused:
        self.state = State.FAILED
        self._buffer.clear()
        return Refused(sqlstate, message, hint)
