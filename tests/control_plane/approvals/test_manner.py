"""How a decision may be given, and who may break glass: the pure rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control_plane.approvals.domain import Chain, Parties, Person, Refusal, Refused, Request, Stage, State
from control_plane.approvals.domain.emergency import Broken, break_glass
from control_plane.approvals.domain.manner import Manner, unfit
from tests.control_plane.world import person

NOW = 10_000_000
SHOWN = bytes(32)
CHAIN = Chain("dba", (Stage(("dba",), 1, 900),), 300)
PARTIES = Parties("idn_bot", frozenset({"idn_owner"}))
BREAKER = person("max", may_review=False, may_break_glass=True)


def chain(**changes: Any) -> Chain:
    return msgspec.structs.replace(CHAIN, **changes)


def test_a_chain_that_says_nothing_takes_decisions_from_anywhere():
    assert all(unfit(CHAIN, Manner(one, 0), NOW) is None for one in ("console", "cli", "rest", "slack", "webhook"))


def test_another_channel_is_told_which_ones_count():
    refused = unfit(chain(channels=("console", "cli")), Manner("slack", NOW), NOW)
    assert refused is not None
    assert refused.why is Refusal.CHANNEL
    assert "console or cli only, not through slack" in refused.detail
    assert unfit(chain(channels=("console", "cli")), Manner("cli", NOW), NOW) is None


@pytest.mark.parametrize(
    ("age", "fresh"), [(0, True), (300_000, True), (300_001, False), (-1, False)], ids=["now", "edge", "old", "future"]
)
def test_an_old_sign_in_is_told_what_to_do(age: int, fresh: bool):
    refused = unfit(chain(reauthenticate_seconds=300), Manner("console", NOW - age), NOW)
    assert (refused is None) == fresh
    if refused:
        assert refused.why is Refusal.REAUTHENTICATE
        assert "not older than 5 minutes" in refused.detail
        assert "/v1/session/reauthenticate" in refused.detail


@pytest.mark.parametrize("channel", ["slack", "webhook", "rest"])
def test_where_nobody_signs_in_here_nobody_decides_what_needs_a_fresh_sign_in(channel: str):
    refused = unfit(chain(reauthenticate_seconds=300), Manner(channel, NOW), NOW)
    assert refused is not None
    assert refused.why is Refusal.CHANNEL


@pytest.mark.parametrize("proof", [{"acr": ("phr",)}, {"amr": ("mfa",)}, {"security_key": True}])
@pytest.mark.parametrize("channel", ["slack", "webhook", "rest"])
def test_nobody_decides_from_elsewhere_what_asks_for_any_proof(channel: str, proof: dict[str, Any]):
    refused = unfit(chain(**proof), Manner(channel, NOW, "phr", ("mfa",), ""), NOW)
    assert refused is not None
    assert refused.why is Refusal.CHANNEL


@pytest.mark.parametrize(
    ("wanted", "acr", "amr", "fits"),
    [
        ({"acr": ("phr", "phrh")}, "phrh", (), True),
        ({"acr": ("phr", "phrh")}, "silver", ("pop",), False),
        ({"acr": ("phr",)}, "", (), False),
        ({"amr": ("pop", "mfa")}, "", ("mfa", "user", "pop"), True),
        ({"amr": ("pop", "mfa")}, "", ("pop",), False),
        ({"acr": ("phr",), "amr": ("mfa",)}, "phr", ("pop",), False),
    ],
)
def test_one_of_the_contexts_and_all_of_the_methods(wanted: dict[str, Any], acr: str, amr: tuple[str, ...], fits: bool):
    refused = unfit(chain(**wanted), Manner("console", NOW, acr, amr), NOW)
    assert (refused is None) == fits
    assert refused is None or refused.why is Refusal.REAUTHENTICATE


def test_a_chain_that_wants_a_key_takes_what_a_key_has_signed_and_nothing_else():
    assert unfit(chain(security_key=True), Manner("console", NOW, unsigned=""), NOW) is None
    refused = unfit(chain(security_key=True), Manner("console", NOW), NOW)
    assert refused is not None
    assert refused.why is Refusal.SECURITY_KEY


# ------------------------------------------------------------------ breaking glass


def broken(
    who: Person = BREAKER, age: int = 0, reason: str = "down", shown: bytes = SHOWN, **changes: Any
) -> Broken | Refused:
    asked = Request(State.PENDING, chain(break_glass=True), PARTIES, SHOWN, NOW + 1)
    asked = msgspec.structs.replace(asked, **changes)
    return break_glass(asked, who, Manner("break-glass", NOW - age), shown=shown, at_ms=NOW, reason=reason)


def test_a_person_with_the_permission_need_not_be_a_reviewer():
    ruling = broken()
    assert isinstance(ruling, Broken)
    assert (ruling.vote.identity_id, ruling.vote.channel, ruling.reason) == ("idn_max", "break-glass", "down")


@pytest.mark.parametrize("name", ["bot", "owner"])
def test_neither_the_requester_nor_an_owner_breaks_glass_for_their_own(name: str):
    """DESIGN invariant 5 holds in an emergency too."""
    ruling = broken(person(name, may_break_glass=True))
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.NOT_ENTITLED


@pytest.mark.parametrize("changed", [{"may_break_glass": False}, {"enabled": False}, {"kind": "machine"}])
def test_only_a_living_human_with_the_permission_breaks_glass(changed: dict[str, Any]):
    ruling = broken(msgspec.structs.replace(BREAKER, **changed))
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.NOT_ENTITLED


def test_a_reviewer_without_the_permission_does_not_break_glass():
    assert isinstance(broken(person("ada", "dba")), Refused)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chain": CHAIN}, Refusal.NOT_ENTITLED),
        ({"state": State.DENIED}, Refusal.OVER),
        ({"approve_by_ms": NOW}, Refusal.OVER),
        ({"shown": bytes(31) + b"1"}, Refusal.STALE),
        ({"reason": " "}, Refusal.REASON_MISSING),
        ({"age": 300_001}, Refusal.REAUTHENTICATE),
    ],
    ids=["not offered", "denied", "too late", "something else shown", "no reason", "old sign-in"],
)
def test_what_stops_it(changes: dict[str, Any], why: Refusal):
    ruling = broken(**changes)
    assert isinstance(ruling, Refused)
    assert ruling.why is why


def test_a_chain_that_asks_for_a_fresher_sign_in_gets_it():
    strict = chain(break_glass=True, reauthenticate_seconds=60)
    assert isinstance(broken(age=60_000, chain=strict), Broken)
    assert isinstance(broken(age=60_001, chain=strict), Refused)


@pytest.mark.parametrize(
    ("asked", "why"), [({"security_key": True}, Refusal.SECURITY_KEY), ({"acr": ("phr",)}, Refusal.REAUTHENTICATE)]
)
def test_an_emergency_is_proven_as_well_as_an_approval(asked: dict[str, Any], why: Refusal):
    ruling = broken(chain=chain(break_glass=True, **asked))
    assert isinstance(ruling, Refused)
    assert ruling.why is why
