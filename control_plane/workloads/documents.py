"""The document `WorkloadTrust`: which workloads of a platform are one of our machines, by the platform's own tokens.

kind: WorkloadTrust
metadata: {name: shop-deploy}
spec:
  platform: github                        # github, gitlab, kubernetes, spiffe, oidc
  subject: "repo:acme/shop:ref:refs/heads/main"
  claims: {repository_owner_id: "1342004"}
  identity: deploy-bot                    # a machine with an owner, a purpose and an end date
  targets: [orders]
  lifetime: 15m
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from data_plane.policy import durations, model

KIND: Final = "WorkloadTrust"
Platform = Literal["github", "gitlab", "kubernetes", "spiffe", "oidc"]


class WorkloadTrustSpec(model.Document, frozen=True):
    """What a token must say. Texts are compared exactly; patterns are RE2 and must match the whole text."""

    identity: str  # the machine that such a workload is
    platform: Platform = "oidc"
    issuer: str = ""  # exactly as tokens have it; empty: the platform's own, where there is one
    trust_domain: str = ""  # of SPIFFE, instead of an issuer
    jwks: str = ""  # the keys themselves, as a JWK set: nothing is fetched
    jwks_url: str = ""  # where the keys are; empty: where the issuer's discovery document says
    ca: str = ""  # PEM: who signed the certificate of those addresses; empty: what this machine trusts
    audience: str = ""  # whom tokens are for; empty: this control plane's own address
    subject: str = ""
    subject_pattern: str = ""
    claims: dict[str, str] = msgspec.field(default_factory=dict)  # dots lead into objects
    claim_patterns: dict[str, str] = msgspec.field(default_factory=dict)
    targets: tuple[str, ...] = ("*",)  # what its tokens may be for
    api: bool = True  # whether it may ask for a bearer for this API
    lifetime: str = "15m"  # the longest that what it gets lives
    single_use: bool | None = None  # whether a token works once; not told: as the platform is
    actors: tuple[str, ...] = ()  # machines that may act on behalf of this one, with a token of theirs beside its own
    on_behalf: Literal["", "required"] = ""  # required: only on behalf of a person who has said so
    act: bool = False  # whether tokens that say who acts for whom (`act`) are taken


class WorkloadTrust(model.Document, frozen=True, tag_field="kind", tag="WorkloadTrust"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: model.Metadata
    spec: WorkloadTrustSpec


def parse(text: str) -> WorkloadTrust:
    return msgspec.json.decode(text, type=WorkloadTrust)


def lifetime_of(spec: WorkloadTrustSpec) -> float:
    """Seconds. It was validated."""
    return durations.seconds(spec.lifetime)
