"""Opening a target that may be hostile: every message in its place only, and every cut of the conversation."""

from __future__ import annotations

import struct

import pytest
import scramp
from hypothesis import given
from hypothesis import strategies as st

from data_plane.protocols.postgres import answers as a
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres import target_startup
from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.framing import HEADER, encode
from data_plane.protocols.postgres.target_startup import (
    Failed,
    Ready,
    Send,
    StartTls,
    State,
    TargetLogin,
    TargetStartup,
    encode_startup,
)
from data_plane.runtime.secret import Secret

OK = a.encode_authentication(m.AuthenticationOk)
IDLE = a.encode_ready_for_query(m.IDLE)
KEY = CancelKey(4711, b"abcd")
REPORTED = a.encode_parameter_status("client_encoding", "UTF8") + a.encode_parameter_status("server_version", "15.1")
ROW = (
    a.encode_row_description([])
    + a.encode_data_row([b"public", b"none", b"app"])
    + a.encode_command_complete("SELECT 1")
)
AFTER = REPORTED + a.encode_key(KEY) + IDLE
READY = Ready(
    {"client_encoding": "UTF8", "server_version": "15.1"},
    {"search_path": "public", "role": "none", "user": "app"},
    KEY,
    b"",
)
ASK = Send(m.encode_query(target_startup.STATE_QUERY))


def begun(tls: target_startup.TlsMode = "disable", *, local: bool = True) -> TargetStartup:
    login = TargetLogin("app", Secret("secret"), "orders", {"search_path": "public"}, tls, local, "nonce")
    core = TargetStartup(login)
    core.begin()
    return core


def settings() -> dict[str, str]:
    return {"search_path": "public", "client_encoding": "UTF8", "standard_conforming_strings": "on"}


def test_a_target_that_trusts_is_opened() -> None:
    core = begun()
    assert core.target_sent(OK + AFTER) == [ASK]
    assert core.target_sent(ROW + IDLE) == [READY]
    assert core.state is State.READY


def test_the_startup_message_carries_the_settings_and_our_pins() -> None:
    login = TargetLogin(
        "app", Secret("s"), "orders", {"search_path": "public", "client_encoding": "SJIS"}, "disable", True, "n"
    )
    assert TargetStartup(login).begin() == Send(encode_startup("app", "orders", settings()))


def test_what_comes_behind_the_end_is_handed_on() -> None:
    core = begun()
    core.target_sent(OK + AFTER)
    notice = a.encode_notice("late")
    (ready,) = core.target_sent(ROW + IDLE + notice)
    assert isinstance(ready, Ready)
    assert ready.rest == notice


@given(st.data())
def test_how_the_conversation_is_cut_changes_nothing(data: st.DataObject) -> None:
    stream, core, steps = OK + AFTER + ROW + IDLE, begun(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        steps += core.target_sent(stream[:size])
        stream = stream[size:]
    assert steps == [ASK, READY]


def test_tls_is_asked_for_and_then_started() -> None:
    core = begun("verify-full")
    assert core.target_sent(b"S") == [StartTls()]
    assert core.secured(b"DER") == Send(encode_startup("app", "orders", settings()))


@pytest.mark.parametrize("answer", [b"N", b"E", b"SS", b"S" + OK, b"X", b"\0"])
def test_no_tls_or_bytes_behind_the_answer_end_it(answer: bytes) -> None:
    core = begun("require")
    (step,) = core.target_sent(answer)
    assert isinstance(step, Failed)
    assert core.state is State.FAILED


def test_a_password_in_clear_is_not_sent_over_the_network() -> None:
    ask = a.encode_authentication(m.AuthenticationCleartextPassword)
    (refused,) = begun(local=False).target_sent(ask)
    assert isinstance(refused, Failed)
    assert begun(local=True).target_sent(ask) == [Send(m.encode_password("secret"))]
    core = begun("require", local=False)
    core.target_sent(b"S")
    core.secured(b"DER")
    assert core.target_sent(ask) == [Send(m.encode_password("secret"))]


def test_md5_is_answered() -> None:
    (step,) = begun().target_sent(a.encode_authentication(m.AuthenticationMD5Password, b"salt"))
    assert step == Send(m.encode_password("md57f097e06031b34893c20e25a0e68242c"))
    (wrong,) = begun().target_sent(a.encode_authentication(m.AuthenticationMD5Password, b"sal"))
    assert isinstance(wrong, Failed)


def sasl(core: TargetStartup, mechanisms: bytes = b"SCRAM-SHA-256\0\0") -> bytes:
    (step,) = core.target_sent(a.encode_authentication(m.AuthenticationSASL, mechanisms))
    assert isinstance(step, Send)
    return step.data[HEADER:]


def server() -> scramp.core.ScramServer:
    mechanism = scramp.ScramMechanism()
    information = mechanism.make_auth_info("secret", iteration_count=4096)
    return mechanism.make_server(lambda user: information)


def test_scram_is_done_and_the_target_must_prove_itself() -> None:
    core, peer = begun(), server()
    first = sasl(core)
    peer.set_client_first(first[len(b"SCRAM-SHA-256\0") + 4 :].decode())
    continue_ = a.encode_authentication(m.AuthenticationSASLContinue, peer.get_server_first().encode())
    (final,) = core.target_sent(continue_)
    assert isinstance(final, Send)
    peer.set_client_final(final.data[HEADER:].decode())
    proof = peer.get_server_final().encode()
    assert core.target_sent(a.encode_authentication(m.AuthenticationSASLFinal, proof) + OK + AFTER) == [ASK]


def in_the_middle(state: State) -> TargetStartup:
    core, peer = begun(), server()
    first = sasl(core)
    if state is State.SASL_PROVED:
        peer.set_client_first(first[len(b"SCRAM-SHA-256\0") + 4 :].decode())
        core.target_sent(a.encode_authentication(m.AuthenticationSASLContinue, peer.get_server_first().encode()))
    assert core.state is state
    return core


@pytest.mark.parametrize("state", [State.SASL_BEGUN, State.SASL_PROVED])
def test_a_target_cannot_skip_its_proof(state: State) -> None:
    (step,) = in_the_middle(state).target_sent(OK + AFTER)
    assert isinstance(step, Failed)


def test_a_wrong_proof_fails() -> None:
    core = in_the_middle(State.SASL_PROVED)
    (step,) = core.target_sent(a.encode_authentication(m.AuthenticationSASLFinal, b"v=" + b"A" * 43 + b"="))
    assert step == Failed("08006", "the target does not prove that it knows the password")


@pytest.mark.parametrize(
    "first",
    [
        b"r=nonceX,s=c2FsdHNhbHRzYWx0c2FsdA==,i=9999999",
        b"r=other,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096",
        b"r=nonceX,s=c2FsdHNhbHRzYWx0c2FsdA==,i=1",
        b"r=nonceX,s=?,i=4096",
        b"\xff",
        b"",
    ],
)
def test_a_hostile_first_scram_message_fails_quickly(first: bytes) -> None:
    (step,) = in_the_middle(State.SASL_BEGUN).target_sent(a.encode_authentication(m.AuthenticationSASLContinue, first))
    assert isinstance(step, Failed)


@pytest.mark.parametrize(
    "mechanisms", [b"\0", b"SCRAM-SHA-1\0\0", b"SCRAM-SHA-256-PLUS\0\0", b"SCRAM-SHA-256", b"OAUTHBEARER\0\0"]
)
def test_unknown_mechanisms_are_refused(mechanisms: bytes) -> None:
    """SCRAM-SHA-256-PLUS alone, too: without TLS there is no channel to bind to."""
    (step,) = begun().target_sent(a.encode_authentication(m.AuthenticationSASL, mechanisms))
    assert isinstance(step, Failed)


@pytest.mark.parametrize("kind", [1, 2, 6, 7, 8, 9, 13, -1, m.AuthenticationSASLContinue, m.AuthenticationSASLFinal])
def test_unknown_and_misplaced_requests_are_refused(kind: int) -> None:
    (step,) = begun().target_sent(a.encode_authentication(kind))
    assert isinstance(step, Failed)


@pytest.mark.parametrize(
    "early",
    [IDLE, a.encode_key(KEY), REPORTED, ROW, encode(m.CopyInResponse, b"\0\0\0"), encode(m.NotificationResponse, b"x")],
)
def test_nothing_but_authentication_comes_first(early: bytes) -> None:
    (step,) = begun().target_sent(early)
    assert isinstance(step, Failed)


def test_the_targets_error_is_told_as_its_own() -> None:
    error = a.encode_error("3D000", "no such database", severity="FATAL")
    assert begun().target_sent(error) == [Failed("3D000", "no such database", by_target=True)]


@pytest.mark.parametrize("name", ["client_encoding", "standard_conforming_strings"])
def test_a_pin_that_did_not_take_ends_it(name: str) -> None:
    core = begun()
    core.target_sent(OK + a.encode_parameter_status(name, "other") + a.encode_key(KEY) + IDLE)
    (step,) = core.target_sent(ROW + IDLE)
    assert isinstance(step, Failed)


def test_what_a_target_reports_is_bounded() -> None:
    core = begun()
    many = b"".join(a.encode_parameter_status(f"p{number}", "x") for number in range(1000))
    assert isinstance(core.target_sent(OK + many)[-1], Failed)


def test_a_message_without_end_is_refused_by_its_header() -> None:
    assert isinstance(begun().target_sent(b"R" + struct.pack("!I", 1 << 30))[0], Failed)


def test_a_password_is_not_in_what_can_be_printed() -> None:
    core = begun()
    steps = core.target_sent(a.encode_authentication(m.AuthenticationCleartextPassword))
    assert "secret" not in repr(steps)
    assert "secret" not in repr(core._login)


PIECES = [OK, REPORTED, a.encode_key(KEY), IDLE, ROW, a.encode_notice("n"), a.encode_error("28P01", "no"),
          a.encode_authentication(m.AuthenticationSASL, b"SCRAM-SHA-256\0\0"), b"S", b"N", b"R\0", b"\0\0\0\0\0"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=30), max_size=8), st.sampled_from(["disable", "require"]))
def test_no_conversation_breaks_it(pieces: list[bytes], tls: target_startup.TlsMode) -> None:
    """Invariant: no exception; READY only after AuthenticationOk; nothing follows a failure but failures."""
    core, failed = begun(tls), False
    for piece in pieces:
        steps = core.target_sent(piece)
        assert not failed or all(isinstance(step, Failed) for step in steps)
        failed = failed or any(isinstance(step, Failed) for step in steps)
        if steps == [StartTls()]:
            core.secured(b"DER")
        if core.state is State.READY:
            assert OK in b"".join(pieces)
            return
