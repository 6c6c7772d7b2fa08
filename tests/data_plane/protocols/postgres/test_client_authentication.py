"""How a client shows who it is, and where it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.gate.admission import CertificateCredential, TokenCredential
from data_plane.protocols.postgres.client_authentication import (
    LONGEST_PASSWORD,
    Ask,
    Channel,
    ClientAuthentication,
    Refused,
    Shown,
)
from data_plane.protocols.postgres.messages import encode_password, encode_query
from data_plane.runtime.secret import Secret

ASK = Ask(b"R\0\0\0\x08\0\0\0\x03")
TLS = Channel(secured=True, local=False)


def token(text: str, rest: bytes = b"") -> Shown:
    return Shown(TokenCredential(Secret(text)), rest)


@pytest.mark.parametrize("channel", [TLS, Channel(secured=False, local=True), Channel(secured=True, local=True)])
def test_the_token_is_asked_for_inside_tls_and_on_this_machine(channel: Channel) -> None:
    core = ClientAuthentication(channel)
    assert core.begin() == ASK
    assert core.client_sent(encode_password("token")) == token("token")


@pytest.mark.parametrize(
    "channel", [Channel(secured=False, local=False), Channel(secured=False, local=True, tls_required=True)]
)
def test_it_is_never_asked_for_in_clear(channel: Channel) -> None:
    core = ClientAuthentication(channel)
    step = core.begin()
    assert isinstance(step, Refused)
    assert step.sqlstate == "28000"
    assert isinstance(core.client_sent(encode_password("token")), Refused)


def test_a_certificate_needs_no_token() -> None:
    core = ClientAuthentication(Channel(secured=True, local=False, certificate=b"DER"))
    assert core.begin(b"rest") == Shown(CertificateCredential(b"DER"), b"rest")


def test_a_password_comes_byte_by_byte_and_what_is_behind_is_handed_on() -> None:
    core = ClientAuthentication(TLS)
    core.begin()
    message = encode_password("token")
    assert [core.client_sent(message[at : at + 1]) for at in range(len(message) - 1)] == [None] * (len(message) - 1)
    assert core.client_sent(message[-1:] + b"X\0\0\0\4") == token("token", b"X\0\0\0\4")


@pytest.mark.parametrize(
    "message",
    [
        encode_query("select 1"),
        b"p\0\0\0\x03",
        b"p\0\0\0\x06ab",
        b"p\0\0\0\x08ab\0\0",
        b"p" + (LONGEST_PASSWORD + 1).to_bytes(4, "big"),
        encode_password(""),
        encode_password("tökén"),
    ],
)
def test_anything_else_is_refused_and_says_nothing_of_it(message: bytes) -> None:
    core = ClientAuthentication(TLS)
    core.begin()
    step = core.client_sent(message)
    assert isinstance(step, Refused)
    assert "ab" not in step.message.split()


@pytest.mark.parametrize(
    ("password", "what"), [("assentry_k_hunter2", "a service-account key"), ("assentry_s_hunter2", "a sign-in")]
)
def test_a_key_in_place_of_a_token_is_named_and_told_how_to_get_one(password: str, what: str) -> None:
    core = ClientAuthentication(TLS)
    core.begin()
    step = core.client_sent(encode_password(password))
    assert isinstance(step, Refused)
    assert step.sqlstate == "28P01"
    assert f"the password is {what}" in step.message
    assert "assentry token" in step.hint
    assert "hunter2" not in step.message + step.hint


def test_nothing_may_come_before_it_is_asked_for() -> None:
    assert isinstance(ClientAuthentication(TLS).begin(encode_password("token")), Refused)


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_garbage_never_shows_a_credential_by_accident(pieces: list[bytes]) -> None:
    """Invariant: only a whole PasswordMessage with a token does; memory is bounded; nothing is raised."""
    core = ClientAuthentication(TLS)
    core.begin()
    for piece in pieces:
        step = core.client_sent(piece)
        if isinstance(step, Shown):
            assert b"".join(pieces).startswith(b"p")
            return
        assert len(core._buffer) <= LONGEST_PASSWORD + 1
