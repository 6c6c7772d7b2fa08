"""Detectors: what they find, what they leave, and that a batch is never clean when a field is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.masking.detectors import DETECTORS, Detectors
from data_plane.masking.marks import MARK, Marks
from data_plane.policy.model import DetectorMask, DetectorName

KEYED = Marks(b"k" * 32)
PEM = b"-----BEGIN " + b"RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"

FOUND: dict[DetectorName, list[bytes]] = {
    "email": [
        b"bob@example.com",
        b"o'brien+tag@mail.example.co.uk",
        b"a@b.io",
        "jürgen@müller.de".encode(),
        b"x_y@sub-domain.example.museum",
    ],
    "card": [
        b"4111111111111111",
        b"4111 1111 1111 1111",
        b"4111-1111-1111-1111",
        b"378282246310005",
        b"5555555555554444",
    ],
    "iban": [
        b"DE89370400440532013000",
        b"DE89 3704 0044 0532 0130 00",
        b"GB82 WEST 1234 5698 7654 32",
        b"de89370400440532013000",
        b"NO9386011117947",
    ],
    "national-id": [
        b"078-05-1120",
        b"AB123456C",
        b"AB 12 34 56 C",
        b"86095742719",
        b"86 095 742 719",
        b"255081416802538",
        b"2 55 08 14 168 025 38",
        b"12345678Z",
        b"X1234567L",
        b"111222333",
        b"44051401359",
        b"RSSMRA85T10A562S",
        b"811218-9876",
    ],
    "jwt": [b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl", b"eyJhbGciOiJSU0EifQ.a2V5.aXY.Y2lwaGVy.dGFn"],
    "cloud-key": [
        b"AKIAIOSFODNN7EXAMPLE",
        b"ASIAIOSFODNN7EXAMPLE",
        b"AIzaSyA" + b"1" * 32,
        b"ghp_" + b"a" * 36,
        b"github_pat_" + b"A1" * 20,
        b"xoxb-" + b"1234567890-abcdef",
        b"sk_live_" + b"4eC39HqLyjWDarjtT1zdp7dc",
        b"glpat-" + b"x" * 20,
        b"npm_" + b"z" * 36,
        b'"secretAccessKey": "' + b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        b"AccountKey=" + b"A" * 86 + b"==",
    ],
    "private-key": [PEM, PEM.replace(b"\n", b"\\n"), b"-----BEGIN " + b"PRIVATE KEY-----\nMIIE cut off"],
    "phone": [b"+4930123456", b"+49 30 1234567", b"+1 (212) 555-0100", b"+44 20 7946 0958"],
    "ip": [b"192.168.1.7", b"2001:db8::8a2e:370:7334", b"::1", b"::ffff:10.1.2.3", b"2001:0db8:0:0:0:0:0:1", b"fe80::"],
}
LEFT: dict[DetectorName, list[bytes]] = {
    "email": [b"a @ b", b"@example.com", b"user@localhost", b"x@", b"price @10.5"],
    "card": [b"4111111111111112", b"1234567890123", b"41111111111111110000000", b"0000000000000000"],
    "iban": [b"DE89370400440532013001", b"XX00 1234 1234 1234", b"GB82", b"AB12 this is a text and not a number"],
    "national-id": [b"000-12-3456", b"123456789", b"12345678A", b"2024-10-11", b"AB123456E", b"99999999999"],
    "jwt": [b"eyJhbGciOi", b"eyJ.a.b", b"hello.world.again"],
    "cloud-key": [b"AKIA", b"xoxo", b"sk-short", b"the task-force", b"ghp_short"],
    "private-key": [b"-----BEGIN CERTIFICATE-----\nMIIE", b"PRIVATE KEY", b"-----BEGIN PUBLIC KEY-----"],
    "phone": [b"+1234", b"1+1=2", b"2024-05-05 10:11:12+02", b"+0123456789", b"+" + b"1" * 20],
    "ip": [b"999.1.1.1", b"1.2.3", b"12:34:56", b"x::text", b"std::vector", b"a::date"],
}


def detectors(*names: DetectorName, strategy: str = "redact") -> Detectors:
    return Detectors([DetectorMask(detect=name, strategy=strategy) for name in names], KEYED)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FOUND.items() for value in values])
def test_a_value_is_found_alone_and_inside_a_text(name: DetectorName, value: bytes) -> None:
    found = detectors(name)
    assert found.suspicious(value)
    masked = found.mask(value)
    assert masked is not None
    assert MARK in masked
    assert value not in masked
    for before, after in ((b"call ", b" now"), (b"(", b")"), (b'{"a": "', b'"}'), ("ü: ".encode(), b"\n")):
        inside = found.mask(before + value + after)
        assert inside is not None
        assert value not in inside
        assert MARK in inside


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in LEFT.items() for value in values])
def test_what_only_looks_like_one_is_left_as_it_is(name: DetectorName, value: bytes) -> None:
    assert detectors(name).mask(value) is value


def test_each_of_several_values_in_a_text_is_replaced() -> None:
    text = b"4111111111111111 4012888888881881, bob@example.com and 1234567890123456 and 5555555555554444"
    masked = detectors("card", "email").mask(text)
    assert masked == MARK + b" " + MARK + b", " + MARK + b" and 1234567890123456 and " + MARK


def test_strategies_of_detectors() -> None:
    assert detectors("card", strategy="partial").mask(b"x 4111111111111111") == "x ‹masked:…1111›".encode()
    assert detectors("card", strategy="null").mask(b"x 4111111111111111") is None
    hashed = detectors("card", strategy="hash")
    assert hashed.mask(b"4111111111111111") == KEYED.hashed(b"4111111111111111")


def test_of_two_strategies_for_one_detector_the_stricter_holds() -> None:
    masks = [DetectorMask(detect="email", strategy="partial"), DetectorMask(detect="email", strategy="redact")]
    assert Detectors(masks, KEYED).mask(b"bob@example.com") == MARK


def test_a_mark_is_found_by_no_detector() -> None:
    every = detectors(*DETECTORS)
    for mark in (MARK, KEYED.hashed(b"x"), "‹masked:…1111›".encode()):
        assert every.mask(mark) is mark


@given(
    st.sampled_from([value for values in FOUND.values() for value in values]),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_a_batch_is_suspicious_wherever_a_field_is(value: bytes, before: bytes, after: bytes) -> None:
    """Lengths before a field and the next message behind it may be any bytes, also letters and digits."""
    every = detectors(*DETECTORS)
    at = len(before)
    spans = list(every.suspects(before + value + after))
    assert any(start < at + len(value) and end > at for start, end in spans)


@given(st.binary(max_size=300))
def test_any_bytes_are_masked_without_an_error(data: bytes) -> None:
    detectors(*DETECTORS).mask(data)


@pytest.mark.parametrize(
    "evil", [b"1" * 200_000, b"1 " * 100_000, b"a@" * 100_000, b"::" * 100_000, b"-----BEGIN " * 20_000]
)
def test_hostile_fields_take_linear_time(evil: bytes) -> None:
    every = detectors(*DETECTORS)
    begun = time.process_time()
    every.mask(evil)
    assert time.process_time() - begun < 10
