"""Approvals that a security key signs, over REST on a whole control plane: what was seen is what was signed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest

from control_plane.assembly import ControlPlane
from control_plane.audit.verification import verify
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.security_keys.signed import Signed, decoded, encoded, problem
from tests.control_plane.approvals.test_act_endpoints import Hold, holding, kind_of
from tests.control_plane.approvals.test_endpoints import Held
from tests.control_plane.conftest import ManualClock
from tests.control_plane.security_keys.conftest import ORIGIN, Console, console_of
from tests.support.authenticator import SoftwareKey, flipped

__all__ = ["console_of", "holding"]
WINDOW = {"window": {"longest": "30m", "most": 5}, "shape": b"s" * 32}
SIGNED = {"reauthenticate": {"method": "security-key"}}


@dataclass
class Signer:
    """A reviewer in the console with a key, and a request that waits for a signature."""

    console: Console
    key: SoftwareKey
    held: Held

    async def challenge(self, **changes: Any) -> tuple[str, dict[str, Any]]:
        body = {"verb": "approve", "digest": (await self.held.shown())["digest"], **changes}
        return await self.console.options(f"/v1/approvals/{self.held.id}/challenges", body)

    async def signature(self, **changes: Any) -> dict[str, Any]:
        challenge, options = await self.challenge(**changes)
        return {"challenge_id": challenge, "credential": self.key.sign(options)}

    async def say(self, verb: str, **body: Any) -> httpx.Response:
        return await self.held.say(verb, self.console.client, **body)

    async def waits(self) -> bool:
        return bool((await self.held.shown())["state"] == "pending")


@pytest.fixture
async def signing(holding: Hold, console_of: Any, clock: ManualClock) -> Any:
    async def make(**spec: Any) -> Signer:
        held = await holding(**{**SIGNED, **spec})
        console, key = await console_of("reviewer"), SoftwareKey(ORIGIN)
        assert (await console.register(key)).status_code == 201
        clock.advance(minutes=2)
        return Signer(console, key, held)

    return make


async def test_what_was_seen_is_signed_kept_and_audited_and_checked_by_whoever_has_it(signing: Any) -> None:
    """DESIGN invariant 2: what the reviewer saw and what was signed are one object."""
    signer = await signing()
    before = await signer.held.shown()
    assert before["how"]["security_key"] is True
    assert before["how"]["channels"] == ["console"]
    answer = await signer.say("approve", signature=await signer.signature())
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    (decision,) = answer.json()["decisions"]
    signed = msgspec.convert(decision["signature"], Signed)
    assert problem(signed) == ""
    statement = json.loads(signed.statement)
    assert statement["decision"] == {
        "verb": "approve",
        "requests": [
            {"approval": signer.held.id, "shown": before["digest"], "operation": before["operation"]["digest"]}
        ],
        "window": None,
    }
    assert (statement["person"], statement["person_id"]) == ("reviewer", decision["identity_id"])
    challenge = hashlib.sha256(b"assentry-security-key-v1\0" + signed.statement.encode()).digest()
    assert json.loads(decoded(signed.client_data))["challenge"] == encoded(challenge)
    (agreed,) = await signer.console.audited("approval.agreed")
    assert agreed.data["signature"] == decision["signature"]


async def test_an_export_of_the_audit_log_is_verified_with_the_signatures_in_it(
    signing: Any, control_plane: ControlPlane, auditor: httpx.AsyncClient
) -> None:
    signer = await signing(**WINDOW)
    window = {"uses": 3, "minutes": 10}
    given = await signer.signature(window=window)
    assert (await signer.say("approve", signature=given, window=window)).is_success
    export = (await auditor.get("/v1/audit/export")).content.splitlines()
    keys = {key.key_id: key.raw for key in control_plane.audit.public_keys()}
    verified = verify(export, keys)
    assert (verified.problems, verified.signed) == ((), 1)


async def test_without_a_signature_nothing_is_approved_and_it_is_said_where_to_give_one(signing: Any) -> None:
    signer = await signing()
    refused = await signer.say("approve")
    assert kind_of(refused) == (403, "security-key-required")
    assert "open it in the console" in refused.json()["detail"]
    assert await signer.waits()


@pytest.mark.parametrize("channel", ["cli", "rest"])
async def test_the_command_line_is_told_that_only_the_console_takes_it(signing: Any, channel: str) -> None:
    signer = await signing()
    refused = await signer.held.say("approve", channel=channel)
    assert kind_of(refused) == (403, "channel-not-allowed")
    assert f"through console only, not through {channel}" in refused.json()["detail"]


async def test_a_denial_needs_no_key_for_it_lets_nothing_run(signing: Any) -> None:
    signer = await signing()
    denied = await signer.say("deny", reason="not today")
    assert (denied.status_code, denied.json()["state"]) == (200, "denied")


async def test_a_signature_is_good_for_one_decision(signing: Any) -> None:
    signer = await signing(stages=[{"groups": ["reviewers"], "require": 1, "timeout": "15m"}])
    given = await signer.signature()
    assert (await signer.say("approve", signature=given)).is_success
    again = await signer.say("approve", signature=given)
    assert again.status_code in {403, 409}
    assert "unknown, used or too old" in (await signer.console.audited("security-key.refused"))[0].data["why"]


async def refused(signer: Signer, answer: httpx.Response) -> None:
    assert kind_of(answer) == (403, "security-key-required")
    assert await signer.waits()
    (entry, *_) = await signer.console.audited("approval.decision-refused")
    assert entry.data["why"] == "security-key"
    assert "signature" not in entry.data


async def test_a_signature_that_is_not_the_keys_approves_nothing(signing: Any) -> None:
    signer = await signing()
    given = await signer.signature()
    response = given["credential"]["response"]
    response["signature"] = flipped(response["signature"])
    await refused(signer, await signer.say("approve", signature=given))
    assert (await signer.console.audited("security-key.refused"))[0].subject


async def test_a_signature_that_proves_who_one_is_approves_nothing(signing: Any) -> None:
    signer = await signing()
    challenge, options = await signer.console.options("/v1/security-keys/challenges")
    given = {"challenge_id": challenge, "credential": signer.key.sign(options)}
    await refused(signer, await signer.say("approve", signature=given))


async def test_a_signature_over_a_decision_proves_not_who_one_is(signing: Any) -> None:
    signer = await signing()
    given = await signer.signature()
    answer = await signer.console.prove_with(given["challenge_id"], given["credential"])
    assert kind_of(answer) == (403, "not-proven")


async def test_a_signature_to_break_the_glass_is_none_to_approve(signing: Any) -> None:
    signer = await signing(break_glass=True)
    await refused(signer, await signer.say("approve", signature=await signer.signature(verb="break-glass")))


async def test_a_signature_for_one_operation_opens_no_window(signing: Any) -> None:
    signer = await signing(**WINDOW)
    other = {"window": {"uses": 4, "minutes": 10}}
    for given in (await signer.signature(), await signer.signature(**other)):
        answer = await signer.say("approve", signature=given, window={"uses": 5, "minutes": 10})
        await refused(signer, answer)


async def test_nothing_is_signed_that_was_not_looked_at(signing: Any) -> None:
    signer = await signing()
    body = {"verb": "approve", "digest": "0" * 64}
    assert kind_of(await signer.console.post(f"/v1/approvals/{signer.held.id}/challenges", body)) == (
        412,
        "stale-digest",
    )
    assert (await signer.console.post("/v1/approvals/apr_nothing/challenges", body)).status_code == 404


async def test_whoever_may_not_see_it_is_not_asked_to_sign_it(signing: Any, console_of: Any) -> None:
    signer = await signing()
    stranger = await console_of("eve", "requester")
    await stranger.register(SoftwareKey(ORIGIN))
    body = {"verb": "approve", "digest": (await signer.held.shown())["digest"]}
    assert (await stranger.post(f"/v1/approvals/{signer.held.id}/challenges", body)).status_code == 404


async def test_whoever_has_no_key_is_told_to_register_one(signing: Any, console_of: Any) -> None:
    signer = await signing()
    other = await console_of("other", "reviewer")
    body = {"verb": "approve", "digest": (await signer.held.shown())["digest"]}
    answer = await other.post(f"/v1/approvals/{signer.held.id}/challenges", body)
    assert kind_of(answer) == (409, "no-security-key")


async def test_another_reviewers_signature_is_not_ones_own(signing: Any, console_of: Any) -> None:
    signer = await signing()
    other, theirs = await console_of("other", "reviewer"), SoftwareKey(ORIGIN)
    await other.register(theirs)
    given = await signer.signature()
    answer = await signer.held.say("approve", other.client, signature=given)
    assert kind_of(answer) == (403, "security-key-required")
    assert await signer.waits()


async def test_the_glass_is_broken_with_a_signature_too(signing: Any, console_of: Any) -> None:
    signer = await signing(break_glass=True)
    max_, key = await console_of("max", "break-glass"), SoftwareKey(ORIGIN)
    await max_.register(key)
    path = f"/v1/approvals/{signer.held.id}"
    digest = (await signer.held.shown())["digest"]
    body = {"digest": digest, "reason": "the shop is down"}
    assert kind_of(await max_.post(f"{path}/break-glass", body)) == (403, "security-key-required")
    challenge, options = await max_.options(f"{path}/challenges", {"verb": "break-glass", "digest": digest})
    signature = {"challenge_id": challenge, "credential": key.sign(options)}
    broken = await max_.post(f"{path}/break-glass", {**body, "signature": signature})
    assert (broken.status_code, broken.json()["state"]) == (200, "approved")
    (entry,) = await max_.audited("approval.glass-broken")
    assert problem(msgspec.convert(entry.data["signature"], Signed)) == ""


# ------------------------------------------------------------------ how strong a sign-in


async def test_a_chain_asks_for_a_context_and_a_key_gives_it(holding: Hold, console_of: Any) -> None:
    held = await holding(reauthenticate={"acr": ["phr", "phrh"], "amr": ["mfa"]})
    console, key = await console_of("reviewer"), SoftwareKey(ORIGIN)
    refusal = await held.say("approve", console.client)
    assert kind_of(refusal) == (403, "reauthentication-required")
    assert "context (acr) phr or phrh" in refusal.json()["detail"]
    await console.register(key)
    assert (await console.prove(key)).is_success
    assert (await held.say("approve", console.client)).json()["state"] == "approved"


async def test_a_password_makes_no_strong_sign_in_of_this_morning_fresh(
    holding: Hold, console_of: Any, control_plane: ControlPlane, clock: ManualClock
) -> None:
    held = await holding(reauthenticate={"within": "5m", "acr": ["phr"]})
    chosen = await control_plane.sign_ins.reset_password(SYSTEM, "reviewer")
    console, key = await console_of("reviewer"), SoftwareKey(ORIGIN)
    await console.register(key)
    assert (await console.prove(key)).is_success
    clock.advance(minutes=6)
    renewed = await console.post("/v1/session/reauthenticate", {"method": "password", "password": chosen.reveal()})
    assert renewed.is_success
    held.reviewer = console.client  # the new password has ended the other sign-in
    refusal = await held.say("approve")
    assert kind_of(refusal) == (403, "reauthentication-required")
    assert "acr" in refusal.json()["detail"]
