"""Names of session roles, and what their comments may decide."""

from __future__ import annotations

import pytest

from data_plane.credentials.ports import CredentialError, Lease
from data_plane.identifiers import SessionId
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres.accounts.names import Handover, Names

SPEC = TargetSpec(protocol="postgres", environment="test", agent="demo", address="db:5432")
LEASE = Lease("a2b3c4d5e6f7a2b3", SessionId("ses_1"), "orders", "postgres-roles", "", "shop", 0.0, 0.0, SPEC)
NAMES = Names("dep_1", "demo", b"this agent's key")
ALL = Handover("app owner", everything=True)
ROLE = NAMES.role(LEASE.id)


def test_a_role_tells_its_lease_and_fits_into_a_name() -> None:
    assert NAMES.lease(ROLE) == LEASE.id
    assert len(NAMES.role("a" * 40)) <= 63


@pytest.mark.parametrize(
    "other", [Names("dep_2", "demo", b""), Names("dep_1", "other", b""), Names("dep_1d", "emo", b"")]
)
def test_other_deployments_and_agents_have_other_names(other: Names) -> None:
    assert other.role(LEASE.id) != ROLE
    assert other.lease(ROLE) == ""


@pytest.mark.parametrize("role", ["postgres", "gw_", "gw_x", NAMES.prefix, f"{NAMES.prefix}A", f"x{ROLE}", f"{ROLE} "])
def test_other_names_tell_no_lease(role: str) -> None:
    assert NAMES.lease(role) == ""


@pytest.mark.parametrize("lease", ["", "A2", "a-b", 'a"; drop role x', "a" * 41, "a1"])
def test_a_lease_that_is_no_part_of_a_name_makes_none(lease: str) -> None:
    with pytest.raises(CredentialError):
        NAMES.role(lease)


@pytest.mark.parametrize("handover", [Handover(), Handover("app_owner"), ALL])
def test_a_comment_keeps_what_may_be_handed_over(handover: Handover) -> None:
    assert NAMES.handover(ROLE, NAMES.comment(LEASE, handover)) == handover


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "made by hand",
        "A session role of Assentry, removed by its agent when the session is over. {}",
        NAMES.comment(LEASE, Handover("app owner")).replace("false", "true"),
        NAMES.comment(LEASE, ALL).replace("app owner", "postgres"),
        Names("dep_1", "demo", b"another key").comment(LEASE, ALL),
    ],
)
def test_a_comment_that_this_agent_did_not_write_decides_nothing(comment: str) -> None:
    assert NAMES.handover(ROLE, comment) == Handover()


def test_the_comment_of_another_role_decides_nothing() -> None:
    assert NAMES.handover(NAMES.role("b2b3c4d5e6f7a2b3"), NAMES.comment(LEASE, ALL)) == Handover()
