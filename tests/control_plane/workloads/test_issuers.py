"""The keys of issuers: fetched where they may be, kept for a time, asked for again when they change, and not more often."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey

from control_plane.workloads import tokens
from control_plane.workloads.documents import WorkloadTrustSpec
from control_plane.workloads.issuers import AGAIN, FRESH, LARGEST_ANSWER, STALE, IssuerKeys
from control_plane.workloads.tokens import TokenError
from tests.control_plane.workloads.platforms import Key, Published, ec, key_set, published, rsa, signed
from tests.support.sinks import http_sink

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def issuer() -> Iterator[Published]:
    with published(rsa()) as told:
        yield told


def token(key: Key) -> tokens.ReadToken:
    return tokens.read(signed({"sub": "x"}, key))


def spec(issuer: Published, **more: Any) -> WorkloadTrustSpec:
    return WorkloadTrustSpec(identity="bot", issuer=issuer.url, **more)


async def test_keys_are_found_by_discovery_and_kept(issuer: Published):
    keys = IssuerKeys()
    for _ in range(3):
        found = await keys.keys_for(spec(issuer), token(rsa()), NOW)
        tokens.verify(token(rsa()), found)
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_new_key_is_fetched_at_once_but_not_for_everybody_who_asks(issuer: Published):
    keys = IssuerKeys()
    await keys.keys_for(spec(issuer), token(rsa()), NOW)
    issuer.keys = key_set(ec())
    for _ in range(5):
        await keys.keys_for(spec(issuer), token(ec()), NOW + AGAIN / 2)
    assert issuer.asked.count("/keys") == 1
    found = await keys.keys_for(spec(issuer), token(ec()), NOW + AGAIN)
    tokens.verify(token(ec()), found)
    with pytest.raises(TokenError, match="announces no key"):
        tokens.verify(token(rsa()), found)


async def test_a_key_that_is_withdrawn_is_forgotten_when_keys_are_asked_for_anew(issuer: Published):
    keys = IssuerKeys()
    await keys.keys_for(spec(issuer), token(rsa()), NOW)
    issuer.keys = key_set(ec())
    with pytest.raises(TokenError, match="announces no key"):
        tokens.verify(token(rsa()), await keys.keys_for(spec(issuer), token(rsa()), NOW + FRESH))


async def test_an_issuer_that_is_away_is_believed_for_an_hour(issuer: Published):
    keys = IssuerKeys()
    await keys.keys_for(spec(issuer), token(rsa()), NOW)
    issuer.status = 500
    assert await keys.keys_for(spec(issuer), token(rsa()), NOW + STALE - timedelta(seconds=1))
    with pytest.raises(TokenError, match="cannot be fetched"):
        await keys.keys_for(spec(issuer), token(rsa()), NOW + STALE)


async def test_an_issuer_that_never_answered_is_not_asked_without_end(issuer: Published):
    issuer.status = 500
    keys = IssuerKeys()
    for _ in range(5):
        with pytest.raises(TokenError):
            await keys.keys_for(spec(issuer), token(rsa()), NOW)
    assert len(issuer.asked) == 1


async def test_redirects_are_not_followed(issuer: Published):
    issuer.status = 302
    with pytest.raises(TokenError, match="answered 302"):
        await IssuerKeys().keys_for(spec(issuer), token(rsa()), NOW)
    assert len(issuer.asked) == 1


async def test_keys_that_come_packed_are_not_unpacked():
    packed = web.Response(body=gzip.compress(key_set(rsa()).encode()), headers={"content-encoding": "gzip"})
    async with http_sink(lambda _got: packed) as sink:
        known = WorkloadTrustSpec(identity="bot", issuer=sink.url, jwks_url=f"{sink.url}/keys")
        with pytest.raises(TokenError, match="packed"):
            await IssuerKeys().keys_for(known, token(rsa()), NOW)


@pytest.mark.parametrize(
    ("discovery", "why"),
    [
        ({"issuer": "https://other.example"}, "says that it is 'https://other.example'"),
        ({"issuer": None}, "says that it is"),
        ({"jwks_uri": 7}, "says not where its keys are"),
        ({"jwks_uri": "http://keys.example/"}, "is not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "does not begin with https"),
    ],
)
async def test_a_discovery_document_that_is_not_as_it_should_be_is_refused(
    issuer: Published, discovery: dict[str, Any], why: str
):
    issuer.discovery = discovery
    with pytest.raises(TokenError, match=why):
        await IssuerKeys().keys_for(spec(issuer), token(rsa()), NOW)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("not JSON", "no JWK set"),
        ("[]", "no JWK set"),
        ('{"keys": []}', "none of its keys"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-1"}]}', "none of its keys"),
        (key_set(rsa(), use="enc"), "none of its keys"),
        ('{"keys": [' + ",".join(["{}"] * 101) + "]}", "at most 100 keys"),
        (" " * (LARGEST_ANSWER + 1), "more than"),
    ],
)
async def test_keys_that_are_of_no_use_are_refused(issuer: Published, keys: str, why: str):
    issuer.keys = keys
    with pytest.raises(TokenError, match=why):
        await IssuerKeys().keys_for(spec(issuer, jwks_url=f"{issuer.url}/keys"), token(rsa()), NOW)


def test_a_short_key_is_no_key():
    with pytest.warns(SecurityWarning):
        short = RSAKey.generate_key(1024, {"kid": "short"})
    assert tokens.public_key(short.as_dict(private=False)) is None
    assert tokens.public_key(rsa().as_dict(private=False)) is not None
