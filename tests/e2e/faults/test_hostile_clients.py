"""Garbage, oversized frames and peers that say nothing cost one connection, while a session beside them works on."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.faults.client import Client, connected
from tests.support.stack import HOST, REQUESTER, Stack

PROTOCOL_3 = 196608
LISTENING = 40
GARBAGE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": b"\xff" * 400,
    "an oversized start": struct.pack("!II", 0x7FFFFFFF, PROTOCOL_3),
    "a start too short": struct.pack("!II", 4, PROTOCOL_3),
    "an unknown version": struct.pack("!II", 8, 0x00090009),
    "a TLS record that is none": b"\x16\x03\x01\xff\xff" + b"\0" * 300,
    "half a start": struct.pack("!II", 100, PROTOCOL_3) + b"user\0",
}


@pytest.fixture
def neighbour(calm: Stack) -> Iterator[Client]:
    with connected(calm, "bank") as client:
        yield client
        assert client.ask("SELECT count(*) FROM ledger") == 200


def dial(stack: Stack) -> socket.socket:
    return socket.create_connection((HOST, stack.port("bank")), timeout=20)


def everything(peer: socket.socket) -> bytes:
    """What it says until it closes."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := peer.recv(65536):
            found += data
    return found


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE)
def test_garbage_instead_of_a_start_ends_that_connection(calm: Stack, neighbour: Client, sent: bytes) -> None:
    with dial(calm) as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        said = everything(peer)
    assert said == b"" or said[:1] in {b"E", b"\x15"}, said  # an ErrorResponse or a TLS alert, if anything
    assert neighbour.ask("SELECT 1") == 1


def signed_in(stack: Stack) -> socket.socket:
    peer = dial(stack)
    start = struct.pack("!I", PROTOCOL_3) + f"user\0{REQUESTER}\0database\0bank\0\0".encode()
    password = stack.token.encode() + b"\0"
    peer.sendall(struct.pack("!I", len(start) + 4) + start)
    assert peer.recv(9) == b"R" + struct.pack("!II", 8, 3)
    peer.sendall(b"p" + struct.pack("!I", len(password) + 4) + password)
    said = b""
    while b"Z\0\0\0\x05I" not in said:
        said += peer.recv(65536)
    return peer


FRAMES = {
    "an oversized query": b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"SELECT 1",
    "a negative length": b"Q" + struct.pack("!I", 0xFFFFFFFF),
    "a length below its own": b"Q" + struct.pack("!I", 3),
    "an unknown type": b"\x01" + struct.pack("!I", 4),
    "a query without end": b"Q" + struct.pack("!I", 12) + b"SELECT 1",
}


@pytest.mark.parametrize("sent", FRAMES.values(), ids=FRAMES)
def test_a_malformed_frame_is_a_protocol_error_and_ends_that_session(
    calm: Stack, neighbour: Client, sent: bytes
) -> None:
    with signed_in(calm) as peer:
        peer.sendall(sent)
        said = everything(peer)
    assert said[:1] == b"E", said
    assert b"FATAL" in said
    assert neighbour.ask("SELECT 1") == 1


def test_peers_that_say_nothing_keep_nobody_out(calm: Stack, neighbour: Client) -> None:
    with ExitStack() as stack:
        for number in range(LISTENING):
            peer = stack.enter_context(dial(calm))
            peer.sendall(b"\0\0\0"[: number % 4])
        with connected(calm, "bank") as client:
            assert client.ask("SELECT 1") == 1
        assert neighbour.ask("SELECT 1") == 1


def test_a_megabyte_of_noise_on_many_connections_leaves_the_agent_standing(calm: Stack, neighbour: Client) -> None:
    for _ in range(10):
        with dial(calm) as peer, contextlib.suppress(OSError):
            peer.sendall(os.urandom(100_000))
    assert neighbour.ask("SELECT 1") == 1
    assert calm.agent.plane.process.poll() is None
