"""Subjects and claims against what a trust wants: exactly, or by a pattern that must match the whole text."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.workloads import chains, claims
from control_plane.workloads.documents import WorkloadTrustSpec

TOKEN: dict[str, Any] = {
    "sub": "repo:acme/shop:ref:refs/heads/main",
    "repository": "acme/shop",
    "project_id": 22,
    "ref_protected": True,
    "groups": ["ci", "deploy"],
    "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "deployer"}},
    "https://example.org/team": "shop",
}


def spec(**told: Any) -> WorkloadTrustSpec:
    return WorkloadTrustSpec(identity="bot", **told)


@pytest.mark.parametrize(
    "wanted",
    [
        {"subject": "repo:acme/shop:ref:refs/heads/main"},
        {"subject_pattern": r"repo:acme/shop:ref:refs/heads/(main|release-\d+)"},
        {"claims": {"repository": "acme/shop", "project_id": "22", "ref_protected": "true", "groups": "ci"}},
        {"claims": {"kubernetes.io.namespace": "shop", "kubernetes.io.serviceaccount.name": "deployer"}},
        {"claims": {"https://example.org/team": "shop"}},
        {"claim_patterns": {"repository": "acme/.*", "groups": "dep.*"}},
    ],
)
def test_what_a_trust_wants_is_found(wanted: dict[str, Any]):
    assert claims.mismatch(spec(**wanted), TOKEN) == ""


@pytest.mark.parametrize(
    "wanted",
    [
        {"subject": "repo:acme/shop:ref:refs/heads/mai"},
        {"subject": "repo:acme/shop:ref:refs/heads/main2"},
        {"subject": "REPO:acme/shop:ref:refs/heads/main"},
        {"subject_pattern": "repo:acme/shop"},  # only the beginning
        {"subject_pattern": "ref:refs/heads/main"},  # only the end
        {"claims": {"repository": "acme"}},
        {"claims": {"project_id": "022"}},
        {"claims": {"ref_protected": "True"}},
        {"claims": {"groups": "c"}},
        {"claims": {"missing": ""}},
        {"claims": {"kubernetes.io": "shop"}},
        {"claims": {"kubernetes.io.namespace.more": "shop"}},
        {"claim_patterns": {"repository": "acme"}},
        {"claim_patterns": {"missing": ".*"}},
    ],
)
def test_what_is_only_like_it_is_not(wanted: dict[str, Any]):
    assert claims.mismatch(spec(**wanted), TOKEN) != ""


def test_a_pattern_takes_linear_time():
    hostile = {"sub": "a" * 10_000 + "!"}
    assert claims.mismatch(spec(subject_pattern="(a+)+"), hostile) != ""


def test_who_acts_for_whom_is_read_from_the_outside_in():
    told = {"sub": "person", "act": {"sub": "third", "act": {"sub": "second", "act": {"sub": "first"}}}}
    assert chains.told_subjects(told) == ["person", "first", "second"]
    assert chains.acting_subject(told) == "third"
    assert chains.told_subjects({"sub": "alone"}) == []


@pytest.mark.parametrize("act", ["agent", {}, {"sub": 1}, {"sub": "a", "act": []}])
def test_an_act_that_is_not_well_formed_means_nothing(act: Any):
    assert chains.told_subjects({"sub": "person", "act": act}) is None


def test_an_endless_act_means_nothing():
    act: dict[str, Any] = {"sub": "x"}
    for _ in range(20):
        act = {"sub": "x", "act": act}
    assert chains.told_subjects({"sub": "person", "act": act}) is None
