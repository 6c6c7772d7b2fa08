"""A snapshot is applied whole or refused with the reason; the last good one stays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_plane.policy import documents, signatures
from data_plane.policy.snapshot import (
    Applied,
    NamedJson,
    PolicyState,
    RawTarget,
    Refused,
    SignedSnapshot,
    SnapshotContents,
    required_features,
)
from tests.support.policies import READS, allow, hold, policy

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PINNED = {"k1": KEY.public_key().public_bytes_raw()}
TARGET_JSON = '{"protocol":"postgres","environment":"test","agent":"edge","address":"db:5432"}'


def decode(payload: bytes) -> SnapshotContents:
    return msgspec.msgpack.decode(payload, type=SnapshotContents)


def state() -> PolicyState:
    return PolicyState(deployment="dep", agent_name="edge", keys=PINNED, decode=decode)


def signed(key: Ed25519PrivateKey = KEY, key_id: str = "k1", **changed: Any) -> SignedSnapshot:
    fields = {"deployment": "dep", "version": 1, "issued_at_ms": 0, "agent_name": "edge", **changed}
    payload = msgspec.msgpack.encode(SnapshotContents(**fields))
    return SignedSnapshot(payload, key.sign(signatures.SNAPSHOT + payload), key_id)


def named(*rules: dict) -> tuple[NamedJson, ...]:
    return (NamedJson("p", documents.encode(policy("p", list(rules)))),)


def test_a_good_snapshot_becomes_current() -> None:
    into = state()
    target = RawTarget("orders", {"team": "shop"}, TARGET_JSON)
    outcome = into.apply(signed(policies=named(allow(match=READS)), targets=(target,)))
    assert isinstance(outcome, Applied)
    assert into.current is outcome.snapshot
    assert into.version == 1
    assert [rule.name for each in outcome.snapshot.policies for rule in each.rules] == ["p/allow"]
    assert into.apply(signed(policies=named())) == Applied(outcome.snapshot), "the same version changes nothing"


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (signed(OTHER), "signature with key 'k1' is wrong"),
        (signed(key_id="k2"), "not pinned"),
        (signed(deployment="other", version=2), "deployment"),
        (signed(agent_name="other", version=2), "agent"),
        (signed(required_features=("time-travel/1",), version=2), "time-travel/1; update the agent"),
        (signed(version=0), "older"),
        (signed(policies=(NamedJson("p", "{}"),), version=2), "kind"),
        (signed(policies=named(allow(when="op.nope")), version=2), "policy p, rule allow: line 1, column 3"),
        (signed(masks=named(allow()), version=2), "is not a Mask"),
        (signed(targets=(RawTarget("t", {}, "{}"),), version=2), "Target t"),
    ],
)
def test_a_snapshot_that_cannot_be_obeyed_is_refused_and_the_last_one_stays(
    offered: SignedSnapshot, reason: str
) -> None:
    into = state()
    good = into.apply(signed())
    assert isinstance(good, Applied)
    outcome = into.apply(offered)
    assert isinstance(outcome, Refused)
    assert reason in outcome.reason
    assert into.current is good.snapshot


def test_a_payload_is_not_read_before_its_signature_is_good() -> None:
    def explode(_: bytes) -> SnapshotContents:
        raise AssertionError("read")

    into = PolicyState(deployment="dep", agent_name="edge", keys=PINNED, decode=explode)
    assert isinstance(into.apply(signed(OTHER)), Refused)


def test_an_older_snapshot_is_not_taken_back() -> None:
    into = state()
    assert isinstance(into.apply(signed(version=7)), Applied)
    assert isinstance(into.apply(signed(version=6)), Refused)


def test_keys_change_only_by_a_snapshot_that_a_pinned_key_signed() -> None:
    into = state()
    new = {"k2": OTHER.public_key().public_bytes_raw()}
    assert isinstance(into.apply(signed(signing_keys=new)), Applied)
    assert isinstance(into.apply(signed(version=2)), Refused), "k1 is not pinned any more"
    assert isinstance(into.apply(signed(OTHER, "k2", version=2)), Applied)


def test_a_snapshot_names_the_features_that_its_documents_need() -> None:
    rules = [allow(when="op.has_where"), hold(hold={"then": "ticket"})]
    assert required_features([policy("p", rules)]) == ("cel/1", "policies/1", "tickets/1")
    assert required_features([policy("p", [allow()])]) == ("policies/1",)
    assert required_features([policy("p", [hold()], plans={"approval": "dba"})]) == ("plans/1", "policies/1")
