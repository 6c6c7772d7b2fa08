"""What a provider announces of itself, and how often it is asked. No real provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import KeySet, RSAKey

from control_plane.kit.outside import OutsideError
from control_plane.sign_on import oidc_metadata
from control_plane.sign_on.oidc_metadata import Announced, Providers, discover
from control_plane.sign_on.oidc_tokens import UnknownKeyError
from tests.control_plane.conftest import ManualClock
from tests.support.sinks import Got, http_sink

ISSUER = "https://id.example.com"
GOOD = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}


async def announced(**changes: Any) -> Any:
    async def get(url: str) -> dict[str, Any]:
        assert url == f"{ISSUER}/.well-known/openid-configuration"
        return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}

    return await discover(ISSUER, get)


async def test_what_is_missing_has_the_value_that_the_specification_gives_it():
    found = await announced()
    assert found.algorithms == {"RS256"}
    assert found.token_endpoint_auth_methods_supported == ("client_secret_basic",)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"issuer": "https://evil.example"}, "is of the issuer 'https://evil.example'"),
        ({"issuer": f"{ISSUER}/"}, "write it exactly so"),
        ({"issuer": None}, "missing required field `issuer`"),
        ({"token_endpoint": None}, "its token_endpoint is missing"),
        ({"token_endpoint": "http://id.example.com/token"}, "its token_endpoint is missing or no https address"),
        ({"jwks_uri": "file:///etc/passwd"}, "its jwks_uri is missing or no https address"),
        ({"jwks_uri": 7}, "Expected `str`"),
        ({"userinfo_endpoint": "ftp://id.example.com"}, "its userinfo_endpoint"),
        ({"end_session_endpoint": "javascript:alert(1)"}, "its end_session_endpoint"),
        ({"code_challenge_methods_supported": ["plain"]}, "does not take PKCE with S256"),
        ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "no asymmetric algorithm"),
    ],
)
async def test_what_does_not_fit_is_refused_and_named(changes: dict[str, Any], cause: str):
    with pytest.raises(OutsideError) as refused:
        await announced(**changes)
    assert cause in str(refused.value)


# ---------------------------------------------------------------- a provider that counts


class Provider:
    """Announces itself on loopback, with the keys that the test gives it."""

    def __init__(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "one"})]
        self.asked: list[str] = []
        self.url = ""

    def answer(self, got: Got) -> web.Response:
        self.asked.append(got.path)
        if got.path == "/jwks":
            return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})
        fixed = {name: value.replace(ISSUER, self.url) for name, value in GOOD.items()}
        return web.json_response(fixed)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    async with http_sink(made.answer) as sink:
        made.url = sink.url
        yield made


def wanting(kid: str) -> Any:
    def verify(keys: KeySet) -> str:
        if kid not in [key.get("kid") for key in keys.keys]:
            raise UnknownKeyError(kid)
        return kid

    return verify


async def test_a_provider_is_asked_once_an_hour(provider: Provider):
    clock = ManualClock()
    providers = Providers(clock)
    for _ in range(3):
        await providers.verified(provider.url, wanting("one"))
        clock.advance(minutes=19)
    assert len(provider.asked) == 2
    clock.advance(minutes=10)
    await providers.verified(provider.url, wanting("one"))
    assert len(provider.asked) == 4


async def test_many_sign_ins_at_once_ask_once(provider: Provider):
    providers = Providers(ManualClock())
    await asyncio.gather(*(providers.verified(provider.url, wanting("one")) for _ in range(20)))
    assert sorted(provider.asked) == ["/.well-known/openid-configuration", "/jwks"]


async def test_a_new_key_is_learned_and_made_up_ones_do_not_make_the_provider_be_asked_each_time(provider: Provider):
    clock = ManualClock()
    providers = Providers(clock)
    await providers.verified(provider.url, wanting("one"))
    clock.advance(seconds=31)
    provider.keys = [RSAKey.generate_key(2048, {"kid": "two"})]
    assert await providers.verified(provider.url, wanting("two")) == "two"
    before = len(provider.asked)
    for _ in range(50):
        with pytest.raises(UnknownKeyError):
            await providers.verified(provider.url, wanting("made-up"))
    assert len(provider.asked) == before
    with pytest.raises(UnknownKeyError):
        await providers.verified(provider.url, wanting("one"))


async def test_nobody_waits_for_another_provider_and_what_was_in_vain_is_not_tried_again_for_a_while(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    clock, slow, gone_on = ManualClock(), "https://slow.example.com", asyncio.Event()
    providers, tried = Providers(clock), 0

    async def discovered(issuer: str) -> Announced:
        nonlocal tried
        if issuer != slow:
            return await discover(issuer)
        tried += 1
        await gone_on.wait()
        raise OutsideError("it does not answer")

    monkeypatch.setattr(oidc_metadata, "discover", discovered)
    waiting = [asyncio.create_task(providers.announced(slow)) for _ in range(5)]
    assert (await asyncio.wait_for(providers.announced(provider.url), 5)).issuer == provider.url
    gone_on.set()
    assert {type(found) for found in await asyncio.gather(*waiting, return_exceptions=True)} == {OutsideError}
    assert tried == 1
    clock.advance(seconds=30)
    with pytest.raises(OutsideError, match="does not answer"):
        await providers.announced(slow)
    assert tried == 2


async def test_keys_that_cannot_be_had_are_not_asked_for_again_for_a_while(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    clock, asked = ManualClock(), list[str]()
    providers = Providers(clock)

    async def fetched(address: str) -> dict[str, Any]:
        asked.append(address)
        raise OutsideError("it does not answer")

    monkeypatch.setattr(oidc_metadata, "fetch_object", fetched)
    for seconds in (0, 29, 1):
        clock.advance(seconds=seconds)
        with pytest.raises(OutsideError):
            await providers.verified(provider.url, wanting("one"))
    assert asked == [f"{provider.url}/jwks"] * 2
