"""A trust is refused when it would let in more than somebody meant, or nobody; with the field and what to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from control_plane.documents.domain import World
from control_plane.identities.documents import IdentityDocument
from control_plane.workloads import validation
from control_plane.workloads.documents import WorkloadTrust
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem
from tests.control_plane.workloads.platforms import ADA, document, ec, key_set, machine, rsa, target

NOW = datetime(2026, 7, 1, tzinfo=UTC)
AUTHORITY = trustme.CA().cert_pem.bytes().decode()
PEM = "-----BEGIN {0}-----\n{1}\n-----END {0}-----\n"
GITHUB = {"platform": "github", "identity": "deploy-bot", "subject": "repo:acme/shop:ref:refs/heads/main"}
SAME = {"platform": "oidc", "issuer": "https://token.actions.githubusercontent.com", "identity": "deploy-bot"}
DEPLOYER = "system:serviceaccount:shop:deployer"
CLUSTER = {"platform": "kubernetes", "issuer": "https://cluster.example", "identity": "deploy-bot", "subject": DEPLOYER}
GOOGLE = {"platform": "oidc", "issuer": "https://accounts.google.com", "identity": "deploy-bot"}
MESH = {
    "platform": "spiffe",
    "trust_domain": "example.org",
    "identity": "deploy-bot",
    "subject": "spiffe://example.org/shop",
    "jwks": key_set(ec(), use="jwt-svid"),
}


def problems(spec: dict[str, Any], **identity: Any) -> list[str]:
    shaped = documents.into(WorkloadTrust, document("WorkloadTrust", "x", **spec), "WorkloadTrust", "x")
    if isinstance(shaped, Problem):
        return [f"{shaped.path}: {shaped.message}"]
    people = [documents.into(IdentityDocument, one, "", "") for one in (ADA, machine(**identity))]
    orders = documents.into(model.Target, target("orders"), "", "")
    world = {"Identity": people, "Target": [orders], "WorkloadTrust": [shaped]}
    by_name = {kind: {one.metadata.name: one for one in found} for kind, found in world.items()}  # type: ignore[union-attr]
    return [f"{one.path}: {one.message}" for one in validation.check(World(by_name, NOW))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    [
        GITHUB,
        {**GITHUB, "subject": "", "claims": {"repository_owner_id": "1342004"}},
        {**GITHUB, "subject": "", "subject_pattern": "repo:acme/shop:ref:refs/heads/.*"},
        {**GITHUB, "subject": "", "subject_pattern": "repo:acme/.*"},
        {**GITHUB, "subject": "", "subject_pattern": "repo:acme/(shop|web):ref:refs/heads/main"},
        {**SAME, "subject_pattern": "repo:acme/shop:.*"},
        {**GITHUB, "issuer": "https://ghes.example/_services/token", "subject": "", "subject_pattern": "repo:.*"},
        {**GOOGLE, "subject": "104212345678901234567"},
        {**GOOGLE, "claims": {"email": "deployer@shop.iam.gserviceaccount.com"}},
        {**GITHUB, "targets": ["orders"], "lifetime": "1h", "actors": ["deploy-bot"]},
        {"platform": "gitlab", "identity": "deploy-bot", "claims": {"project_id": "22"}},
        {"platform": "gitlab", "identity": "deploy-bot", "subject_pattern": "project_path:acme/shop:.*"},
        CLUSTER,
        {**CLUSTER, "issuer": "https://kubernetes.default.svc", "jwks": key_set(rsa())},
        {**CLUSTER, "issuer": "kubernetes/serviceaccount", "jwks": key_set(rsa())},
        {**CLUSTER, "ca": AUTHORITY + AUTHORITY},
        {**CLUSTER, "subject": "", "subject_pattern": "system:serviceaccount:shop:.*"},
        {**CLUSTER, "subject": "", "claims": {"kubernetes.io.namespace": "shop"}},
        MESH,
        {**MESH, "jwks": "", "jwks_url": "https://bundles.example/example.org"},
    ],
)
def test_a_trust_that_says_whom_it_means_may_stand(spec: dict[str, Any]):
    assert problems(spec) == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({**GITHUB, "subject": ""}, "$.spec.subject: everybody has tokens of this issuer"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme.*/shop:.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:(acme|other)/.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": ".*acme/shop.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme?/shop"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme/?.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme/*[^:]*:.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme/{0}.+"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": r"repo:acme\/?.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme/shop:.*|repo:[^/]+/shop:.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": "repo:acme/[(]x|repo:.*"}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "subject_pattern": r"repo:acme/\Q(\E|repo:.*"}, "everybody has tokens"),
        ({**SAME, "subject_pattern": "repo:.*:ref:refs/heads/main"}, "everybody has tokens"),
        ({**GOOGLE, "subject_pattern": "[0-9]+"}, "everybody has tokens"),
        ({**GOOGLE, "subject_pattern": "1042[0-9]+"}, "everybody has tokens"),
        ({**GOOGLE, "claim_patterns": {"email": ".*@shop.iam.gserviceaccount.com"}}, "everybody has tokens"),
        ({**GOOGLE, "issuer": "accounts.google.com", "jwks": key_set(rsa()), "claims": {"hd": "a"}}, "everybody has"),
        ({**GITHUB, "subject": "", "claims": {"ref": "refs/heads/main"}}, "everybody has tokens"),
        ({**GITHUB, "subject": "", "claim_patterns": {"repository": ".*"}}, "it matches anything"),
        ({**GITHUB, "subject": "", "claim_patterns": {"repository": "acme/.*"}}, "everybody has tokens"),
        ({**GITHUB, "subject_pattern": "repo:acme/.*"}, "`subject` says it already"),
        ({**CLUSTER, "platform": "oidc", "subject": ""}, "this takes every token of the issuer"),
        ({**CLUSTER, "subject": ""}, "$.spec.subject: every namespace"),
        ({**CLUSTER, "subject": "shop:deployer"}, "$.spec.subject: in the tokens of a cluster it is system:service"),
        ({**CLUSTER, "subject": "system:serviceaccount:shop"}, "it is system:serviceaccount:NAMESPACE:NAME"),
        ({**CLUSTER, "subject": "", "subject_pattern": "system:serviceaccount:.*"}, "_pattern: every namespace"),
        ({**CLUSTER, "subject": "", "subject_pattern": "system:serviceaccount:shop.*"}, "_pattern: every namespace"),
        ({**CLUSTER, "subject": "", "subject_pattern": "system:serviceaccount:.*:deployer"}, "every namespace"),
        ({**CLUSTER, "subject": "", "subject_pattern": "shop:.*"}, "every namespace"),
        ({**CLUSTER, "subject": "", "claims": {"kubernetes.io.serviceaccount.name": "deployer"}}, "every namespace"),
        ({**CLUSTER, "subject": "", "claim_patterns": {"kubernetes.io.namespace": "shop.*"}}, "every namespace"),
        ({**CLUSTER, "issuer": ""}, "has no issuer of its own"),
        ({**CLUSTER, "issuer": "http://cluster.example"}, "is not https"),
        ({**CLUSTER, "subject": "", "subject_pattern": "(a"}, "$.spec.subject_pattern: no RE2 pattern: missing ): (a"),
        ({**CLUSTER, "subject": "", "subject_pattern": r"(a)\1"}, "no RE2 pattern"),
        ({**CLUSTER, "subject": "", "subject_pattern": "a" * 600}, "at most 512 characters"),
        ({**CLUSTER, "jwks": "{}"}, "$.spec.jwks: no JWK set"),
        ({**CLUSTER, "jwks": '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'}, "none of its keys can be used"),
        ({**CLUSTER, "jwks": key_set(rsa()), "jwks_url": "https://a.example"}, "gives the keys already"),
        ({**CLUSTER, "jwks_url": "http://a.example"}, "$.spec.jwks_url"),
        ({**CLUSTER, "ca": "not PEM"}, "$.spec.ca"),
        ({**CLUSTER, "ca": PEM.format("CERTIFICATE", "bm9uc2Vuc2U=")}, "$.spec.ca: certificates as PEM"),
        ({**CLUSTER, "ca": AUTHORITY + PEM.format("CERTIFICATE", "nonsense")}, "$.spec.ca: certificates as PEM"),
        ({**CLUSTER, "ca": AUTHORITY + PEM.format("PRIVATE KEY", "AAAA")}, "$.spec.ca: a private key stands in it"),
        ({**CLUSTER, "trust_domain": "example.org"}, "only tokens of SPIFFE"),
        ({**CLUSTER, "identity": "ada"}, "is a person"),
        ({**CLUSTER, "identity": "nobody"}, "there is no Identity named 'nobody'"),
        ({**CLUSTER, "targets": ["nowhere"]}, "$.spec.targets[0]: there is no Target"),
        ({**CLUSTER, "targets": []}, "$.spec.targets"),
        ({**CLUSTER, "actors": ["nobody"]}, "$.spec.actors[0]"),
        ({**CLUSTER, "lifetime": "2h"}, "between one minute and one hour"),
        ({**CLUSTER, "lifetime": "1s"}, "between one minute and one hour"),
        ({**CLUSTER, "lifetime": "soon"}, "$.spec.lifetime"),
        ({**CLUSTER, "lifetim": "1h"}, "did you mean 'lifetime'"),
        ({**MESH, "issuer": "https://a.example"}, "$.spec.issuer"),
        ({**MESH, "jwks": ""}, "the trust domain's bundle"),
        ({**MESH, "jwks": key_set(ec())}, "none of its keys can be used"),
        ({**MESH, "jwks": key_set(ec(), use="x509-svid")}, "none of its keys can be used"),
        ({**MESH, "trust_domain": "Example.org"}, "$.spec.trust_domain"),
        ({**MESH, "subject": "spiffe://example.org.mallory.example/shop"}, "begins with spiffe://example.org/"),
        ({**MESH, "subject": "", "subject_pattern": ".*/shop"}, "begins with spiffe://example.org/"),
    ],
)
def test_a_trust_that_means_too_much_or_nothing_is_refused(spec: dict[str, Any], problem: str):
    found = problems(spec)
    assert any(problem in one for one in found), found


@pytest.mark.parametrize(("field", "empty"), [("purpose", ""), ("ends_at", None)])
def test_a_machine_that_is_trusted_has_a_purpose_and_an_end_date(field: str, empty: Any):
    (problem,) = problems(GITHUB, **{field: empty})
    assert problem.startswith("$.spec.identity: 'deploy-bot' has no")


@pytest.mark.parametrize(
    "members", [rsa().as_dict(private=True), ec().as_dict(private=True), {"kty": "oct", "k": "c2VjcmV0"}]
)
def test_a_key_that_signs_is_refused_and_not_repeated(members: dict[str, str]):
    shown = json.dumps({"keys": [rsa().as_dict(private=False), members]})
    (problem,) = problems({**CLUSTER, "jwks": shown})
    assert problem.startswith("$.spec.jwks: keys[1] is a private or shared key")
    assert members.get("d", members.get("k")) not in problem
