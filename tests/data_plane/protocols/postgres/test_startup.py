"""The client's start-up: whole, byte by byte, with bytes behind it, and garbage."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.protocols.postgres import startup, startup_parameters
from data_plane.protocols.postgres.answers import CancelKey, Negotiation
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.protocols.postgres.messages import PROTOCOL_3_0, PROTOCOL_3_2, GSSENCRequest
from data_plane.protocols.postgres.startup import Answer, Cancel, Refused, StartTls, Startup, StartupCore, State
from data_plane.protocols.postgres.target_startup import SSL_REQUEST, encode_cancel, encode_startup

GSS_REQUEST = struct.pack("!II", 8, GSSENCRequest)
PINS = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}


def startup_packet(version: int = PROTOCOL_3_0, **parameters: str) -> bytes:
    packet = encode_startup(parameters.pop("user", "robot"), parameters.pop("database", "orders"), parameters)
    return packet[:4] + struct.pack("!I", version) + packet[8:]


def asked(version: int = PROTOCOL_3_0, negotiation: Negotiation | None = None, rest: bytes = b"", **settings: str):
    return Startup(version, "robot", "orders", settings | PINS, settings.get("application_name", ""), negotiation, rest)


def whole(data: bytes, **named) -> list[startup.Step | None]:
    return [
        StartupCore(offers_tls=named.get("offers_tls", True), secured=named.get("secured", False)).client_sent(data)
    ]


def byte_by_byte(data: bytes, **named) -> list[startup.Step | None]:
    core = StartupCore(offers_tls=named.get("offers_tls", True), secured=named.get("secured", False))
    steps = [core.client_sent(data[at : at + 1]) for at in range(len(data))]
    assert not any(steps[:-1]), "a step came before the packet was whole"
    return steps[-1:]


CONVERSATIONS = [
    (startup_packet(), asked()),
    (startup_packet(PROTOCOL_3_2), asked(PROTOCOL_3_2)),
    (startup_packet(application_name="psql", DateStyle="ISO"), asked(application_name="psql", datestyle="ISO")),
    (SSL_REQUEST, StartTls(b"S")),
    (GSS_REQUEST, Answer(b"N")),
    (encode_cancel(CancelKey(7, b"1234")), Cancel(CancelKey(7, b"1234"))),
    (encode_cancel(CancelKey(-7, b"x" * 32)), Cancel(CancelKey(-7, b"x" * 32))),
    (startup_packet(PROTOCOL_3_0 | 9999), asked(PROTOCOL_3_2, Negotiation(PROTOCOL_3_2, ()))),
    (startup_packet(PROTOCOL_3_0 | 1), asked(PROTOCOL_3_0, Negotiation(PROTOCOL_3_0, ()))),
    (startup_packet(**{"_pq_.new": "x"}), asked(PROTOCOL_3_0, Negotiation(PROTOCOL_3_0, ("_pq_.new",)))),
]


@pytest.mark.parametrize("feed", [whole, byte_by_byte])
@pytest.mark.parametrize(("data", "step"), CONVERSATIONS)
def test_each_packet_gives_its_step(feed, data: bytes, step: startup.Step) -> None:
    assert feed(data) == [step]


def test_bytes_behind_the_startup_message_are_handed_on() -> None:
    assert whole(startup_packet() + b"p\0\0\0") == [asked(rest=b"p\0\0\0")]


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSS_REQUEST])
@pytest.mark.parametrize("offers_tls", [True, False])
@pytest.mark.parametrize("behind", [b"\0", startup_packet()])
def test_bytes_behind_a_request_for_encryption_end_the_connection(
    request_: bytes, offers_tls: bool, behind: bytes
) -> None:
    (step,) = whole(request_ + behind, offers_tls=offers_tls)
    assert isinstance(step, Refused)


def test_libpqs_usual_way_in() -> None:
    core = StartupCore(offers_tls=True)
    assert core.client_sent(GSS_REQUEST) == Answer(b"N")
    assert core.client_sent(SSL_REQUEST) == StartTls(b"S")
    core.secured()
    assert core.client_sent(startup_packet()) == asked()
    assert core.state is State.DONE


def test_without_tls_the_client_is_told_and_may_go_on() -> None:
    core = StartupCore(offers_tls=False)
    assert core.client_sent(SSL_REQUEST) == Answer(b"N")
    assert core.client_sent(GSS_REQUEST) == Answer(b"N")
    assert core.client_sent(startup_packet()) == asked()


@pytest.mark.parametrize(("first", "second"), [(SSL_REQUEST, SSL_REQUEST), (GSS_REQUEST, GSS_REQUEST)])
def test_each_request_is_answered_at_most_once(first: bytes, second: bytes) -> None:
    core = StartupCore(offers_tls=False)
    core.client_sent(first)
    assert isinstance(core.client_sent(second), Refused)


@pytest.mark.parametrize("inside", [SSL_REQUEST, GSS_REQUEST])
def test_no_request_for_encryption_inside_tls(inside: bytes) -> None:
    (step,) = whole(inside, secured=True)
    assert isinstance(step, Refused)


def test_nothing_may_come_while_tls_is_set_up_or_after_the_end() -> None:
    core = StartupCore(offers_tls=True)
    core.client_sent(SSL_REQUEST)
    assert isinstance(core.client_sent(startup_packet()), Refused)
    assert isinstance(core.client_sent(startup_packet()), Refused)
    with pytest.raises(ValueError):
        core.secured()


@pytest.mark.parametrize(
    ("packet", "sqlstate"),
    [
        (startup_packet(replication="database"), "42501"),
        (startup_packet(replication="false"), "42501"),
        (startup_packet(user=""), "28000"),
        (startup_packet(session_preload_libraries="x"), "42501"),
        (startup_packet(standard_conforming_strings="off"), "42501"),
        (startup_packet(options="-c role=postgres"), "42501"),
        (startup_packet(search_path="public, pg_catalog"), "42501"),
        (startup_packet(options=r"-c search_path=public,\"pg_catalog\""), "42501"),
        (startup_packet(default_transaction_read_only="off"), "42501"),
        (startup_packet(options="-d 5"), "42501"),
        (startup_packet(options="-c search_path"), "42501"),
        (startup_packet(application_name="a\x1bb"), "22021"),
        (startup_packet(2 << 16), "0A000"),
        (struct.pack("!II", 8, PROTOCOL_3_0), "08P01"),
        (struct.pack("!II", 9, PROTOCOL_3_0) + b"\0", "28000"),
        (struct.pack("!II", 7, PROTOCOL_3_0), "08P01"),
        (struct.pack("!II", 10_001, PROTOCOL_3_0), "08P01"),
    ],
)
def test_what_is_wrong_is_refused_with_its_sqlstate(packet: bytes, sqlstate: str) -> None:
    (step,) = whole(packet)
    assert isinstance(step, Refused)
    assert step.sqlstate == sqlstate


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c search_path=a,b", {"search_path": "a,b"}),
        ("-csearch_path=a  --statement-timeout=5s", {"search_path": "a", "statement_timeout": "5s"}),
        (r"-c search_path=a\ b\\c", {"search_path": "a b\\c"}),
        (r"-c assentry.reason=ticket\ 7", {"assentry.reason": "ticket 7"}),
        ("--DateStyle=ISO", {"datestyle": "ISO"}),
        ("", {}),
    ],
)
def test_options_are_read_as_the_server_reads_them(options: str, expected: dict[str, str]) -> None:
    assert startup_parameters.settings({"options": options}) == expected | PINS


def test_an_explicit_parameter_wins_over_options_and_pins_win_over_all() -> None:
    wanted = {"options": "-c DateStyle=SQL -c client_encoding=LATIN1", "datestyle": "ISO", "client_encoding": "SJIS"}
    assert startup_parameters.settings(wanted) == {"datestyle": "ISO"} | PINS


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_settings_are_allowed_ones_or_refused(parameters: dict[str, str]) -> None:
    """Invariant: nothing that is not on the list ever comes out."""
    with contextlib.suppress(RemoteProtocolError):
        found = startup_parameters.settings(parameters)
        assert set(found) <= startup_parameters.ALLOWED | set(PINS)
        assert found.items() >= PINS.items()


@given(
    st.lists(
        st.sampled_from([SSL_REQUEST, GSS_REQUEST, startup_packet(), b"\0", b"\xff", b"\x16\x03"])
        | st.binary(max_size=40),
        max_size=6,
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_conversation_ends_in_a_step_or_waits(pieces: list[bytes], offers_tls: bool, secured: bool) -> None:
    """Invariant: no exception, and after a final step nothing but a refusal comes; memory stays bounded."""
    core = StartupCore(offers_tls=offers_tls, secured=secured)
    final = False
    for piece in pieces:
        step = core.client_sent(piece)
        assert not final or isinstance(step, Refused)
        final = final or isinstance(step, Startup | Cancel | Refused)
        if isinstance(step, StartTls):
            assert offers_tls
            core.secured()
        assert len(core._buffer) <= startup.LONGEST_PACKET


@given(st.data())
def test_how_a_conversation_is_cut_changes_nothing(data: st.DataObject) -> None:
    """Invariant: the same bytes in other pieces give the same step."""
    packet, step = data.draw(st.sampled_from(CONVERSATIONS))
    core = StartupCore(offers_tls=True)
    steps = []
    while packet:
        size = data.draw(st.integers(1, len(packet)))
        steps.append(core.client_sent(packet[:size]))
        packet = packet[size:]
    assert steps == [None] * (len(steps) - 1) + [step]
