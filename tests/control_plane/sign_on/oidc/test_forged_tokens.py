"""The judge of ID tokens and logout tokens against a table of forgeries, each told by its exact cause. No provider."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from control_plane.sign_on.oidc_metadata import key_set
from control_plane.sign_on.oidc_tokens import Expected, TokenError, UnknownKeyError, id_token, logout_token

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
ISSUER, CLIENT, NONCE = "https://id.example.com", "assentry", "the nonce of this sign-in"
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"

KEYS: dict[str, Any] = {
    "rsa": RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}),
    "pinned": RSAKey.generate_key(2048, {"kid": "pinned", "use": "sig", "alg": "RS256"}),
    "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
    "ed": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
    "enc": RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"}),
    "stranger": RSAKey.generate_key(2048, {"kid": "rsa"}),
}
KNOWN = ("rsa", "pinned", "ec", "ed", "enc")
ANNOUNCED = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
EXPECTED = Expected(ISSUER, CLIENT, ANNOUNCED, NOW)


def published(*names: str) -> KeySet:
    return key_set({"keys": [KEYS[name].as_dict(private=False) for name in names or KNOWN]})


def claims(**changes: Any) -> dict[str, Any]:
    """None takes a claim away."""
    fixed = {"iss": ISSUER, "aud": CLIENT, "sub": "ada", "iat": AT, "exp": AT + 300, "nonce": NONCE, **changes}
    return {name: value for name, value in fixed.items() if value is not None}


def signed(payload: dict[str, Any] | bytes, key: str = "rsa", alg: str = "RS256", **header: Any) -> str:
    told = {"alg": alg, "kid": KEYS[key].get("kid"), **header}
    protected = {name: value for name, value in told.items() if value is not None}
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    own = {name: value for name, value in KEYS[key].as_dict(private=True).items() if name not in {"use", "alg"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(protected, raw, type(KEYS[key]).import_key(own), registry=registry)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    return f"{part(header)}.{part(payload)}.{part(signature)}"


def confused() -> str:
    """HS256 with the public key's PEM as the shared secret."""
    head = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims())}"
    pem = KEYS["rsa"].as_pem(private=False)
    return f"{head}.{part(hmac.digest(pem, head.encode(), hashlib.sha256))}"


def own_key_in_header() -> str:
    return signed(claims(), "stranger", jwk=KEYS["stranger"].as_dict(private=False))


def changed_payload() -> str:
    head, _, signature = signed(claims()).split(".")
    return f"{head}.{part(claims(sub='root'))}.{signature}"


def spaced() -> str:
    return signed(claims()).replace(".", " .")


def judged(text: str, keys: KeySet | None = None, **options: Any) -> Any:
    return id_token(text, keys or published(), EXPECTED, **{"nonce": NONCE, **options})


# ---------------------------------------------------------------- what is taken


@pytest.mark.parametrize(
    ("key", "alg"), [("rsa", "RS256"), ("rsa", "PS256"), ("pinned", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")]
)
def test_a_token_of_the_provider_is_taken(key: str, alg: str):
    found = judged(signed(claims(acr="two", amr=["otp"], auth_time=AT - 5, sid="s1", extra={"a": [1]}), key, alg))
    assert (found.claims.sub, found.claims.acr, found.claims.amr, found.claims.sid) == ("ada", "two", ("otp",), "s1")
    assert found.everything["extra"] == {"a": [1]}


def test_a_token_without_a_key_id_is_taken_when_the_provider_has_one_key():
    assert judged(signed(claims(), kid=None), published("rsa", "enc")).claims.sub == "ada"


@pytest.mark.parametrize(
    "change",
    [
        {"exp": AT - 59},
        {"iat": AT + 59},
        {"nbf": AT + 59},
        {"auth_time": AT + 59},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
        {"exp": AT + 0.5},
    ],
)
def test_clocks_may_differ_by_a_minute_and_an_audience_may_be_a_list(change: dict[str, Any]):
    assert judged(signed(claims(**change))).claims.sub == "ada"


# ---------------------------------------------------------------- what is not

FORGED: list[tuple[str, Callable[[], str], str]] = [
    ("alg none", lambda: by_hand({"alg": "none", "kid": "rsa"}, claims()), "'none', which is no asymmetric"),
    ("alg None", lambda: by_hand({"alg": "NonE"}, claims()), "'NonE', which is no asymmetric"),
    ("alg missing", lambda: by_hand({"kid": "rsa"}, claims()), "'None', which is no asymmetric"),
    ("alg a list", lambda: by_hand({"alg": ["RS256"]}, claims()), "no asymmetric"),
    ("algorithm confusion", confused, "'HS256', which is no asymmetric"),
    ("not announced", lambda: signed(claims(), alg="RS512"), "RS512, which the provider does not announce"),
    ("another's key", lambda: signed(claims(), "stranger"), "its signature is not good"),
    ("the key in the header", own_key_in_header, "its header has jwk"),
    ("an address of keys", lambda: signed(claims(), "stranger", jku="https://evil.example/jwks"), "its header has jku"),
    ("an address of a chain", lambda: signed(claims(), "stranger", x5u="https://evil.example"), "its header has x5u"),
    ("critical", lambda: by_hand({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": False}, claims()), "crit, b64"),
    ("compressed", lambda: signed(claims(), zip="DEF"), "its header has zip"),
    ("key of another kind", lambda: by_hand({"alg": "ES256", "kid": "rsa"}, claims(), b"x" * 64), "not good"),
    ("key for another algorithm", lambda: signed(claims(), "pinned", "PS256"), "its key is for RS256, not for PS256"),
    ("key for encryption", lambda: signed(claims(), "enc"), "no key 'enc'"),
    ("unknown key", lambda: signed(claims(), kid="made-up"), "no key 'made-up'"),
    ("key id as a path", lambda: signed(claims(), kid="../../etc/passwd"), "no key '../../etc/passwd'"),
    ("key id as SQL", lambda: signed(claims(), kid="' OR 1=1 --"), "no key"),
    ("key id no text", lambda: by_hand({"alg": "RS256", "kid": 7}, claims()), "its key id is no text"),
    ("no key id", lambda: signed(claims(), kid=None), "names no key"),
    ("no signature", lambda: signed(claims()).rsplit(".", 1)[0] + ".", "its signature is not good"),
    ("changed payload", changed_payload, "its signature is not good"),
    ("two parts", lambda: "a.b", "no signed token of three parts"),
    ("five parts", lambda: "a.b.c.d.e", "no signed token of three parts"),
    ("empty", lambda: "", "no signed token of three parts"),
    ("not ASCII", lambda: "ä.b.c", "no signed token of three parts"),
    ("spaces", spaced, "its header is no base64url"),
    ("header no JSON", lambda: f"{part(b'alg')}.{part(claims())}.x", "its header is no JSON"),
    ("header no object", lambda: f"{part([1])}.{part(claims())}.x", "its header is no JSON object"),
    ("deep header", lambda: f"{part(b'[' * 20000)}.{part(claims())}.x", "its header is no JSON"),
    ("oversized", lambda: signed(claims(sub="a" * 70000)), "more than 65536 characters"),
    ("payload no JSON", lambda: signed(b"hello"), "its payload is no JSON"),
    ("payload no object", lambda: signed(b"[]"), "its payload is no JSON object"),
    ("wrong issuer", lambda: signed(claims(iss="https://evil.example")), "its issuer is 'https://evil.example'"),
    ("issuer with a slash", lambda: signed(claims(iss=f"{ISSUER}/")), "its issuer is"),
    ("issuer missing", lambda: signed(claims(iss=None)), "missing required field `iss`"),
    ("wrong audience", lambda: signed(claims(aud="other")), "for another audience"),
    ("audience contains it", lambda: signed(claims(aud=f"{CLIENT}-2")), "for another audience"),
    ("audience missing", lambda: signed(claims(aud=None)), "missing required field `aud`"),
    ("audience a number", lambda: signed(claims(aud=7)), "Expected `str | array"),
    ("two audiences, no party", lambda: signed(claims(aud=[CLIENT, "other"])), "authorized party is not this client"),
    ("party another", lambda: signed(claims(azp="other")), "authorized party is not this client"),
    ("expired", lambda: signed(claims(exp=AT - 60)), "it has expired"),
    ("exp missing", lambda: signed(claims(exp=None)), "it has no exp"),
    ("exp a text", lambda: signed(claims(exp="9999999999")), "Expected `int | float | null`"),
    ("exp true", lambda: signed(claims(exp=True)), "Expected `int | float | null`"),
    ("exp huge", lambda: signed(claims(exp=1e300)), "its exp is no time"),
    ("exp negative", lambda: signed(claims(exp=-1)), "its exp is no time"),
    ("made in the future", lambda: signed(claims(iat=AT + 61)), "it was made in the future"),
    ("iat missing", lambda: signed(claims(iat=None)), "missing required field `iat`"),
    ("not valid yet", lambda: signed(claims(nbf=AT + 61)), "it is not valid yet"),
    ("proven in the future", lambda: signed(claims(auth_time=AT + 61)), "its auth_time lies in the future"),
    ("another nonce", lambda: signed(claims(nonce="another")), "its nonce is not the one"),
    ("no nonce", lambda: signed(claims(nonce=None)), "its nonce is not the one"),
    ("nonce no text", lambda: signed(claims(nonce=1)), "Expected `str | null`"),
    ("no subject", lambda: signed(claims(sub=None)), "its subject is not one"),
    ("empty subject", lambda: signed(claims(sub="")), "its subject is not one"),
    ("long subject", lambda: signed(claims(sub="a" * 256)), "its subject is not one"),
    ("subject with a line end", lambda: signed(claims(sub="ada\nroot")), "its subject is not one"),
    ("subject a list", lambda: signed(claims(sub=["ada"])), "Expected `str`"),
    ("long session", lambda: signed(claims(sid="s" * 256)), "its sid has more"),
    ("a logout token", lambda: signed(claims(events={LOGOUT: {}})), "it is a logout token"),
    ("typed as a logout token", lambda: signed(claims(), typ="logout+jwt"), "it is a logout token"),
]


@pytest.mark.parametrize(("make", "cause"), [row[1:] for row in FORGED], ids=[row[0] for row in FORGED])
def test_a_forged_token_is_refused_with_its_cause(make: Callable[[], str], cause: str):
    with pytest.raises(TokenError) as refused:
        judged(make())
    assert cause in str(refused.value)


def test_every_changed_byte_of_a_token_is_noticed():
    good = signed(claims(), "ed", "EdDSA")
    for index, char in enumerate(good[:-1]):  # the last one has bits that mean nothing
        other = "A" if char != "A" else "B"
        with pytest.raises(TokenError):
            judged(good[:index] + other + good[index + 1 :])


def test_a_token_that_is_cut_off_anywhere_is_refused():
    good = signed(claims(), "ec", "ES256")
    for length in range(len(good)):
        with pytest.raises(TokenError):
            judged(good[:length])


def test_an_unknown_key_is_told_apart_so_that_the_keys_are_asked_for_again():
    with pytest.raises(UnknownKeyError):
        judged(signed(claims(), kid="new"))


def test_the_access_token_is_the_one_that_the_id_token_was_made_with():
    half = base64.urlsafe_b64encode(hashlib.sha256(b"token").digest()[:16]).rstrip(b"=").decode()
    text = signed(claims(at_hash=half))
    assert judged(text, access_token="token").claims.sub == "ada"
    with pytest.raises(TokenError, match="at_hash"):
        judged(text, access_token="another")


def test_eddsa_hashes_the_access_token_by_sha512():
    half = base64.urlsafe_b64encode(hashlib.sha512(b"token").digest()[:32]).rstrip(b"=").decode()
    assert judged(signed(claims(at_hash=half), "ed", "EdDSA"), access_token="token").claims.sub == "ada"


def test_a_symmetric_key_among_the_published_ones_signs_nothing():
    shared = OctKey.import_key("a" * 43, {"kid": "shared"})
    keys = key_set({"keys": [shared.as_dict(), KEYS["rsa"].as_dict(private=False), {"kty": "new"}, {"kty": "RSA"}, 7]})
    assert [key.get("kid") for key in keys.keys] == ["rsa"]


def test_a_small_rsa_key_signs_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        KEYS["small"] = RSAKey.generate_key(1024, {"kid": "small"})
    with pytest.raises(TokenError, match="fewer than 2048 bits"):
        judged(signed(claims(), "small"), published("small"))


# ---------------------------------------------------------------- logout tokens


def logout(**changes: Any) -> dict[str, Any]:
    return claims(**{"nonce": None, "events": {LOGOUT: {}}, "jti": "j1", "sid": "s1", **changes})


@pytest.mark.parametrize("typ", ["logout+jwt", "JWT", None])
@pytest.mark.parametrize("change", [{}, {"sub": None}, {"sid": None}, {"exp": None}])
def test_a_logout_token_is_taken(typ: str | None, change: dict[str, Any]):
    assert logout_token(signed(logout(**change), typ=typ), published(), EXPECTED).jti == "j1"


NO_LOGOUT: list[tuple[str, Callable[[], str], str]] = [
    ("an ID token", lambda: signed(claims()), "does not tell of a logout"),
    ("another type", lambda: signed(logout(), typ="at+jwt"), "no logout token's"),
    ("another event", lambda: signed(logout(events={"other": {}})), "does not tell of a logout"),
    ("event no object", lambda: signed(logout(events={LOGOUT: "x"})), "does not tell of a logout"),
    ("nonce", lambda: signed(logout(nonce="x")), "has no nonce"),
    ("no jti", lambda: signed(logout(jti=None)), "no jti"),
    ("nobody", lambda: signed(logout(sub=None, sid=None)), "neither a subject nor a session"),
    ("old", lambda: signed(logout(iat=AT - 601, exp=None)), "made long ago"),
    ("expired", lambda: signed(logout(exp=AT - 60)), "it has expired"),
    ("another's audience", lambda: signed(logout(aud="other")), "another audience"),
    ("another's issuer", lambda: signed(logout(iss="https://evil.example")), "its issuer is"),
    ("another's key", lambda: signed(logout(), "stranger"), "its signature is not good"),
    ("alg none", lambda: by_hand({"alg": "none"}, logout()), "no asymmetric"),
]


@pytest.mark.parametrize(("make", "cause"), [row[1:] for row in NO_LOGOUT], ids=[row[0] for row in NO_LOGOUT])
def test_what_is_no_logout_token_is_refused_with_its_cause(make: Callable[[], str], cause: str):
    with pytest.raises(TokenError) as refused:
        logout_token(make(), published(), EXPECTED)
    assert cause in str(refused.value)
