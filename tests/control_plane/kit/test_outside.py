"""HTTP to the outside: what may be asked, and how much of an answer is taken."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web

from control_plane.kit import outside
from control_plane.kit.outside import MOST_BYTES, OutsideError, address_problem, allowed, fetch, fetch_object
from tests.support.sinks import Got, HttpSink, http_sink


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://id.example.com/x", True),
        ("http://127.0.0.1:1/x", True),
        ("http://[::1]:1/x", True),
        ("http://localhost/x", True),
        ("http://id.example.com", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", False),
        ("https://user:password@id.example.com", False),
        ("https://id.example.com\n", False),
        ("https://id.example.com:port", False),
        ("https://", False),
        ("//id.example.com", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_only_https_is_asked_or_this_machine(url: str, may: bool):
    assert allowed(url) is may


async def fetched(sink: HttpSink) -> str:
    with pytest.raises(OutsideError) as refused:
        await fetch_object(f"{sink.url}/x")
    return str(refused.value)


async def test_no_redirect_is_followed():
    async with http_sink(lambda _got: web.Response(status=302, headers={"location": "/elsewhere"})) as sink:
        assert "answered 302" in await fetched(sink)
        assert [got.path for got in sink.got] == ["/x"]


async def test_an_answer_without_an_end_is_cut_off():
    async with http_sink(lambda _got: web.Response(body=b" " * (MOST_BYTES + 1))) as sink:
        assert f"more than {MOST_BYTES} bytes" in await fetched(sink)


async def test_whoever_asks_may_take_less():
    async with http_sink(lambda _got: web.Response(body=b" " * 11)) as sink:
        assert len((await fetch(f"{sink.url}/x", most=11)).content) == 11
        with pytest.raises(OutsideError, match="more than 10 bytes"):
            await fetch(f"{sink.url}/x", most=10)


async def test_an_authority_that_is_none_is_an_answer_that_cannot_be_had():
    async with http_sink(lambda _got: web.Response()) as sink:
        with pytest.raises(OutsideError, match="SSLError"):
            await fetch(f"{sink.url}/x", ca="-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(("text", "cause"), [("<html>", "no JSON"), ("[]", "no JSON object"), ('{"a":', "no JSON")])
async def test_what_is_no_json_object_is_refused(text: str, cause: str):
    async with http_sink(lambda _got: web.Response(text=text)) as sink:
        assert cause in await fetched(sink)


async def test_a_packed_answer_is_neither_asked_for_nor_unpacked():
    """A megabyte of it could become a gigabyte."""
    packed = web.Response(body=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
    async with http_sink(lambda _got: packed) as sink:
        assert "packed" in await fetched(sink)
    async with http_sink(lambda _got: web.json_response({})) as sink:
        await fetch_object(f"{sink.url}/x")
        assert sink.got[0].headers["accept-encoding"] == "identity"


async def test_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outside, "TOTAL_SECONDS", 0.3)
    never = asyncio.Event()

    async def drip(_got: Got) -> web.Response:
        await never.wait()
        return web.Response()

    async with http_sink(drip) as sink:
        assert "TimeoutError" in await fetched(sink)
        never.set()


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.mallory.example/keys",
        "http://10.0.0.1/keys",
        "ftp://127.0.0.1/keys",
        "https://user:password@issuer.example/keys",
        "https:///keys",
        "https://issuer.example/keys#some",
        "https://issuer.example/ke ys",
        "/keys",
        "",
    ],
)
def test_addresses_that_nothing_is_fetched_from(url: str):
    assert address_problem(url) != ""


@pytest.mark.parametrize(
    "url", ["https://issuer.example/keys", "http://127.0.0.1:8080/k", "http://localhost/k", "http://[::1]/k"]
)
def test_addresses_that_something_may_be_fetched_from(url: str):
    assert address_problem(url) == ""
