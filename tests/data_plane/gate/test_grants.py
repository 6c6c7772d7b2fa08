"""A grant is good for one operation of one session, and only as it was signed (DESIGN invariants 1, 2, 5 and 6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from data_plane.gate.grants import Approver, Expected, GrantContents, Rejected, Verified, in_time, verify
from data_plane.gate.ports import SignedGrant
from data_plane.identifiers import ApprovalId
from data_plane.policy import signatures
from data_plane.policy.snapshot import SnapshotIdentity
from tests.data_plane.gate.worlds import IDENTITIES, KEY, KEYS, NOW, decode_grant, sign
from tests.support.policies import session

ADA = Approver("idn_ada", "ada", int(NOW * 1000), "console")
EVE = SnapshotIdentity("idn_eve", "eve", "person", ("dba",))
GOOD = GrantContents(
    deployment="dep", agent_instance="ins_1", session_id="ses_1", credential_id="crd_1", requester_id="idn_robot",
    target="orders", policy_version=3, digest=b"d" * 32, approval_id="apr_1", nonce=b"n" * 16,
    not_before_ms=int(NOW * 1000), execute_by_ms=int((NOW + 300) * 1000), scope="once", approvals=(ADA,),
)  # fmt: skip
EXPECTED = Expected("dep", "ins_1", session(), ApprovalId("apr_1"), b"d" * 32, False, 2, 4)


def check(grant: SignedGrant, *, expected: Expected = EXPECTED, now: float = NOW, keys: Any = None):
    known = {identity.id: identity for identity in (*IDENTITIES, EVE)}
    return verify(grant, expected, keys=keys or KEYS, identities=known, decode=decode_grant, now=now)


def changed(**fields: Any) -> SignedGrant:
    return sign(msgspec.structs.replace(GOOD, **fields))


def test_a_good_grant_is_verified_with_its_nonce_and_the_names_of_those_who_approved() -> None:
    twice = changed(approvals=(ADA, ADA, Approver("idn_eve", "eve", 0, "cli")))
    assert check(sign(GOOD)) == Verified(b"n" * 16, NOW + 300, ("ada",))
    assert check(twice) == Verified(b"n" * 16, NOW + 300, ("ada", "eve"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"deployment": "other"}, "another deployment"),
        ({"agent_instance": "ins_2"}, "another agent instance"),
        ({"session_id": "ses_2"}, "another session"),
        ({"session_id": ""}, "another session"),
        ({"credential_id": "crd_2"}, "another credential"),
        ({"requester_id": "idn_other"}, "another requester"),
        ({"target": "payroll"}, "another target"),
        ({"digest": b"e" * 32}, "another operation"),
        ({"approval_id": "apr_2"}, "another approval"),
        ({"scope": "window"}, "another scope"),
        ({"nonce": b""}, "nonce"),
        ({"most_rows": 5}, "a row guard, to which this operation cannot be held"),
        ({"policy_version": 1}, "policy version 1"),
        ({"policy_version": 5}, "policy version 5"),
        ({"not_before_ms": int((NOW + 11) * 1000)}, "not valid yet"),
        ({"execute_by_ms": int((NOW - 11) * 1000)}, "too late"),
        ({"approvals": ()}, "nobody approved"),
        ({"approvals": (Approver("", "ada", 0, ""),)}, "nobody approved"),
        ({"approvals": (ADA, Approver("idn_robot", "robot", 0, ""))}, "by its requester"),
        ({"approvals": (Approver("idn_owner", "owner", 0, ""),)}, "or their owner"),
        ({"approvals": (ADA, Approver("idn_gone", "gone", 0, ""))}, "not known here"),
        ({"approvals": (Approver("idn_other", "x", 0, ""),)}, "who may not approve"),
    ],
)
def test_a_grant_for_anything_else_is_rejected(fields: dict, reason: str) -> None:
    verdict = check(changed(**fields))
    assert isinstance(verdict, Rejected)
    assert reason in verdict.reason


def test_clocks_may_differ_a_little() -> None:
    assert isinstance(check(sign(GOOD), now=NOW - 9), Verified)
    assert isinstance(check(sign(GOOD), now=NOW + 309), Verified)
    verified = check(sign(GOOD))
    assert isinstance(verified, Verified)
    assert in_time(verified, NOW + 309)
    assert not in_time(verified, NOW + 311)


def test_a_ticket_is_bound_to_no_session_and_a_session_is_no_ticket() -> None:
    ticket = msgspec.structs.replace(EXPECTED, ticket=True)
    assert isinstance(check(changed(session_id=""), expected=ticket), Verified)
    assert isinstance(check(sign(GOOD), expected=ticket), Rejected)


def test_a_disabled_approver_does_not_count() -> None:
    disabled = [msgspec.structs.replace(identity, disabled=True) for identity in IDENTITIES]
    verdict = verify(
        sign(GOOD), EXPECTED, keys=KEYS, identities={each.id: each for each in disabled}, decode=decode_grant, now=NOW
    )
    assert isinstance(verdict, Rejected)


def test_only_pinned_keys_sign_grants_and_only_in_their_own_context() -> None:
    other = Ed25519PrivateKey.generate()
    assert isinstance(check(sign(GOOD, other)), Rejected)
    assert isinstance(check(sign(GOOD, key_id="k2")), Rejected)
    payload = msgspec.msgpack.encode(GOOD)
    assert isinstance(check(SignedGrant(payload, KEY.sign(signatures.SNAPSHOT + payload), "k1")), Rejected)
    assert isinstance(check(SignedGrant(payload, KEY.sign(payload), "k1")), Rejected)


def test_nothing_is_read_before_the_signature_is_good() -> None:
    def explode(_: bytes) -> GrantContents:
        raise AssertionError("read")

    forged = sign(GOOD, Ed25519PrivateKey.generate())
    assert isinstance(verify(forged, EXPECTED, keys=KEYS, identities={}, decode=explode, now=NOW), Rejected)


def test_a_signed_payload_that_is_no_grant_is_rejected() -> None:
    payload = b"\xc1"
    assert isinstance(check(SignedGrant(payload, KEY.sign(signatures.GRANT + payload), "k1")), Rejected)


SIGNED = sign(GOOD)


@given(st.integers(0, len(SIGNED.payload) + len(SIGNED.signature) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_refused(at: int, bit: int) -> None:
    whole = bytearray(SIGNED.payload + SIGNED.signature)
    whole[at] ^= 1 << bit
    cut = len(SIGNED.payload)
    assert isinstance(check(SignedGrant(bytes(whole[:cut]), bytes(whole[cut:]), "k1")), Rejected)


@given(st.binary(max_size=200), st.binary(max_size=70), st.sampled_from(["k1", "k2", ""]))
def test_garbage_is_rejected_and_nothing_is_raised(payload: bytes, signature: bytes, key_id: str) -> None:
    assert isinstance(check(SignedGrant(payload, signature, key_id)), Rejected)


def test_a_row_guard_is_verified_for_an_operation_that_can_be_held_to_it() -> None:
    expected = msgspec.structs.replace(EXPECTED, guardable=True)
    verified = check(changed(most_rows=0), expected=expected)
    assert isinstance(verified, Verified)
    assert verified.most_rows == 0, "a guard of no rows is a guard"
    without = check(sign(GOOD), expected=expected)
    assert isinstance(without, Verified)
    assert without.most_rows is None
