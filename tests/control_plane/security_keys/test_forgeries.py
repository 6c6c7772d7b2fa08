"""Everything that somebody could send in the place of what a key and its browser send: forged, mangled, replayed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from control_plane.security_keys.service import LIFETIME
from tests.control_plane.conftest import ManualClock
from tests.control_plane.security_keys.conftest import CHALLENGES, ORIGIN, REGISTRATIONS, Console, kind_of
from tests.support.authenticator import PRESENT, VERIFIED, SoftwareKey, flipped

# Nothing here depends on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


# ------------------------------------------------------------------ forged registrations


REGISTRATION_FORGERIES: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "https://assentry.example.org.evil.test"},
    "plain http": {"origin": "http://assentry.example.org"},
    "another site": {"rp_id": "evil.test"},
    "nobody verified": {"flags": PRESENT},
    "nobody present": {"flags": VERIFIED},
    "another challenge": {"client": {"challenge": "AAAA"}},
    "a signature's data": {"client": {"type": "webauthn.get"}},
    "inside another page": {"client": {"crossOrigin": True}},
    "inside another page, named": {"client": {"topOrigin": "https://evil.test"}},
}


@pytest.mark.parametrize("forgery", REGISTRATION_FORGERIES.values(), ids=REGISTRATION_FORGERIES)
async def test_a_forged_registration_is_refused_audited_and_tells_nothing(ada: Console, forgery: dict[str, Any]):
    refused = await ada.register(SoftwareKey(**{"origin": ORIGIN, **forgery}))
    assert kind_of(refused) == (403, "security-key-refused")
    assert refused.json()["detail"] == "the security key was not registered; begin again"
    assert (await ada.client.get("/v1/security-keys")).json() == []
    (entry,) = await ada.audited("security-key.refused")
    assert entry.data["purpose"] == "register"
    assert len(entry.data["why"]) > 5


async def test_a_registration_is_good_once(ada: Console, key: SoftwareKey):
    challenge, options = await ada.options(REGISTRATIONS)
    body = {"name": "blue", "challenge_id": challenge, "credential": key.make(options)}
    assert (await ada.post("/v1/security-keys", body)).status_code == 201
    await ada.prove(key)
    assert kind_of(await ada.post("/v1/security-keys", body)) == (403, "security-key-refused")


async def test_a_key_is_one_persons_only(keyed: Console, key: SoftwareKey, console_of: Any):
    bob = await console_of("bob")
    assert kind_of(await bob.register(key)) == (403, "security-key-refused")
    (entry, *_) = await bob.audited("security-key.refused")
    assert entry.data["why"] == "this key is registered already"


# ------------------------------------------------------------------ forged signatures


FORGERIES: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "https://evil.test"},
    "another site": {"rp_id": "evil.test"},
    "nobody verified": {"flags": PRESENT},
    "nobody present": {"flags": VERIFIED},
    "another challenge": {"client": {"challenge": "AAAA"}},
    "a registration's data": {"client": {"type": "webauthn.create"}},
    "inside another page": {"client": {"crossOrigin": True}},
    "no challenge at all": {"client": {"challenge": None}},
    "a challenge that is no text": {"client": {"challenge": {"a": 1}}},
}
RESPONSES: dict[str, Any] = {
    "somebody else's handle": {"userHandle": "aWRuX3NvbWVib2R5"},
    "no signature": {"signature": ""},
    "a signature that is no base64url": {"signature": "%%%"},
    "client data that is no JSON": {"clientDataJSON": "AAAA"},
    "client data that is a list": {"clientDataJSON": "W10"},
    "short data": {"authenticatorData": "AAAA"},
    "no data": {"authenticatorData": None},
    "data of another kind": {"authenticatorData": 7},
}


async def refused(console: Console, answer: httpx.Response, begun: str) -> str:
    """The cause, as the audit log has it; whoever sent it is told none."""
    assert kind_of(answer) == (403, "not-proven")
    assert answer.json()["detail"] == "the security-key is wrong; the sign-in stays as old as it was"
    assert await console.proven_at() == begun
    return str((await console.audited("security-key.refused"))[0].data["why"])


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
async def test_a_forged_signature_renews_nothing(keyed: Console, key: SoftwareKey, forgery: dict[str, Any]):
    begun = await keyed.proven_at()
    for name, value in forgery.items():
        setattr(key, name, value)
    assert await refused(keyed, await keyed.prove(key), begun)


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
async def test_a_mangled_answer_renews_nothing(keyed: Console, key: SoftwareKey, response: dict[str, Any]):
    begun = await keyed.proven_at()
    assert await refused(keyed, await keyed.prove(key, **response), begun)


@pytest.mark.parametrize("part", ["signature", "authenticatorData", "clientDataJSON"])
async def test_one_bit_changed_anywhere_renews_nothing(keyed: Console, key: SoftwareKey, part: str):
    begun = await keyed.proven_at()
    challenge, options = await keyed.options(CHALLENGES)
    credential = key.sign(options)
    credential["response"][part] = flipped(credential["response"][part], 36 if part == "authenticatorData" else -3)
    assert await refused(keyed, await keyed.prove_with(challenge, credential), begun)


@pytest.mark.parametrize(
    "credential",
    [{}, {"id": 7}, {"id": ""}, {"id": "a" * 40_000}, {"id": "x", "response": []}, {"id": None, "response": None}],
    ids=["empty", "a number", "no id", "very long", "a list", "nothing"],
)
async def test_what_is_no_credential_at_all_renews_nothing(keyed: Console, credential: dict[str, Any]):
    begun = await keyed.proven_at()
    challenge, _ = await keyed.options(CHALLENGES)
    assert await refused(keyed, await keyed.prove_with(challenge, credential), begun)


async def test_a_signature_is_good_once(keyed: Console, key: SoftwareKey, clock: ManualClock):
    challenge, options = await keyed.options(CHALLENGES)
    credential = key.sign(options)
    assert (await keyed.prove_with(challenge, credential)).is_success
    clock.advance(minutes=1)
    begun = await keyed.proven_at()
    why = await refused(keyed, await keyed.prove_with(challenge, credential), begun)
    assert why == "the challenge is unknown, used or too old"
    other, _ = await keyed.options(CHALLENGES)
    assert "challenge was not expected" in await refused(keyed, await keyed.prove_with(other, credential), begun)


async def test_a_refused_answer_spends_its_challenge(keyed: Console, key: SoftwareKey):
    begun = await keyed.proven_at()
    challenge, options = await keyed.options(CHALLENGES)
    good = key.sign(options)
    bad = json.loads(json.dumps(good))
    bad["response"]["signature"] = flipped(bad["response"]["signature"])
    await refused(keyed, await keyed.prove_with(challenge, bad), begun)
    await refused(keyed, await keyed.prove_with(challenge, good), begun)


async def test_a_challenge_ends(keyed: Console, key: SoftwareKey, clock: ManualClock):
    begun = await keyed.proven_at()
    challenge, options = await keyed.options(CHALLENGES)
    clock.advance(seconds=LIFETIME.total_seconds())
    why = await refused(keyed, await keyed.prove_with(challenge, key.sign(options)), begun)
    assert why == "the challenge is unknown, used or too old"


async def test_a_challenge_is_for_the_sign_in_that_asked(keyed: Console, key: SoftwareKey, console_of: Any):
    other = await console_of("ada")
    begun = await other.proven_at()
    challenge, options = await keyed.options(CHALLENGES)
    why = await refused(other, await other.prove_with(challenge, key.sign(options)), begun)
    assert why == "the challenge is another sign-in's"


async def test_another_persons_key_proves_nothing(keyed: Console, console_of: Any):
    bob, theirs = await console_of("bob"), SoftwareKey(ORIGIN)
    await bob.register(theirs)
    begun = await keyed.proven_at()
    assert await refused(keyed, await keyed.prove(theirs), begun) == "no key of this person"


async def test_a_challenge_to_register_proves_nothing(ada: Console, key: SoftwareKey):
    assert (await ada.register(key)).is_success
    await ada.prove(key)
    begun = await ada.proven_at()
    challenge, options = await ada.options(REGISTRATIONS)
    asked = {"challenge": options["challenge"], "rpId": options["rp"]["id"]}
    assert await refused(ada, await ada.prove_with(challenge, key.sign(asked)), begun) == "the challenge is to register"


async def test_a_counter_that_goes_back_blocks_the_key_for_good(keyed: Console, key: SoftwareKey):
    assert (await keyed.prove(key)).is_success
    begun, ahead = await keyed.proven_at(), key.counter
    key.counter = ahead - 1
    why = await refused(keyed, await keyed.prove(key), begun)
    assert why == "its counter went back: the key has been copied"
    key.counter = ahead + 5
    challenge_refused = await keyed.post(CHALLENGES)
    assert kind_of(challenge_refused) == (409, "no-security-key")
    (entry,) = await keyed.audited("security-key.blocked")
    assert (entry.data["counter"], entry.data["seen_before"]) == (ahead, ahead)
    (listed,) = (await keyed.client.get("/v1/security-keys")).json()
    assert listed["blocked_at"] is not None


async def test_a_bad_signature_with_an_old_counter_blocks_nothing(keyed: Console, key: SoftwareKey):
    """Else whoever has a cookie could block a key that they have not."""
    assert (await keyed.prove(key)).is_success
    begun, ahead = await keyed.proven_at(), key.counter
    forged = SoftwareKey(ORIGIN, counter=1, credential_id=key.credential_id)
    await refused(keyed, await keyed.prove(forged), begun)
    key.counter = ahead
    assert (await keyed.prove(key)).is_success


async def test_a_key_that_does_not_count_is_taken_again_and_again(ada: Console):
    key = SoftwareKey(ORIGIN, counter=0)
    await ada.register(key)
    for _ in range(2):
        assert (await ada.prove(key)).is_success


async def test_only_the_newest_challenges_of_a_person_wait(keyed: Console, key: SoftwareKey, clock: ManualClock):
    first, options = await keyed.options(CHALLENGES)
    for _ in range(20):
        clock.advance(seconds=1)
        await keyed.options(CHALLENGES)
    begun = await keyed.proven_at()
    assert await refused(keyed, await keyed.prove_with(first, key.sign(options)), begun)


async def test_a_cookie_without_its_csrf_token_begins_nothing(ada: Console):
    del ada.client.headers["x-csrf-token"]
    assert (await ada.post(REGISTRATIONS)).status_code == 403


async def test_a_machines_key_reaches_none_of_it(machine: httpx.AsyncClient):
    for method, path in (("GET", "/v1/security-keys"), ("POST", REGISTRATIONS), ("POST", CHALLENGES)):
        assert (await machine.request(method, path)).status_code == 403
