"""A port that was given out is nobody else's until its server listens."""

from __future__ import annotations

import random
import socket

import pytest

from control_plane.cli.demo.ports import HOST, free_pair, free_port


def test_no_port_is_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    chance = iter(range(first, first + 100))
    monkeypatch.setattr(random, "randint", lambda *_: next(chance))
    assert free_port() > first


def test_a_port_that_was_given_out_is_refused_to_all_but_a_server() -> None:
    port = free_port()
    with socket.socket() as outgoing, pytest.raises(OSError, match="in use"):
        outgoing.bind((HOST, port))
    with socket.create_server((HOST, port)), socket.create_connection((HOST, port)):
        pass


def test_both_ports_of_a_pair_are_held_back() -> None:
    first = free_pair()
    for port in (first, first + 1):
        with socket.socket() as outgoing, pytest.raises(OSError, match="in use"):
            outgoing.bind((HOST, port))
