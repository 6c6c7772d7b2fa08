"""What is known of platforms that speak for their workloads: where their tokens come from, and what narrows them. Pure.

GitHub: one issuer for everybody's repositories, so a trust must name whose. GitLab: the same on gitlab.com. Kubernetes:
one issuer a cluster; its tokens lie in a file that every attempt reads again, so they work more than once. SPIFFE: no
issuer, the trust domain is in the subject (JWT-SVID §3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from control_plane.kit.jws import ASYMMETRIC
from control_plane.workloads.documents import Platform, WorkloadTrustSpec

_OF_SPIFFE: Final = frozenset(one for one in ASYMMETRIC if not one.startswith("Ed"))  # JWT-SVID §2.1
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})


class Traits(msgspec.Struct, frozen=True):
    issuer: str = ""  # where tokens come from when a trust does not say
    single_use: bool = True  # a token works once unless a trust says otherwise
    shared: bool = False  # other people's workloads have tokens of this issuer
    subject_prefix: str = ""  # what every subject begins with, before whose it is
    owner_end: str = "/"  # what follows in a subject on whose it is
    whose: frozenset[str] = frozenset()  # claims that say whose workload it is
    told: tuple[str, ...] = ()  # claims that tell people which run it was
    algorithms: frozenset[str] = ASYMMETRIC
    types: frozenset[str] = _TYPES  # of the header's `typ`, lower case
    key_use: str = "sig"  # of keys that say what they are for


PLATFORMS: Final[Mapping[Platform, Traits]] = {
    "github": Traits(
        issuer="https://token.actions.githubusercontent.com",
        shared=True,
        subject_prefix="repo:",
        whose=frozenset({"repository", "repository_id", "repository_owner", "repository_owner_id"}),
        told=("repository", "ref", "workflow", "run_id", "actor", "environment"),
    ),
    "gitlab": Traits(
        issuer="https://gitlab.com",
        single_use=False,
        shared=True,
        subject_prefix="project_path:",
        whose=frozenset({"project_path", "project_id", "namespace_path", "namespace_id"}),
        told=("project_path", "ref", "pipeline_id", "job_id", "user_login", "environment"),
    ),
    "kubernetes": Traits(
        single_use=False,
        subject_prefix="system:serviceaccount:",
        owner_end=":",
        whose=frozenset({"kubernetes.io.namespace"}),
        told=(
            "kubernetes.io.namespace",
            "kubernetes.io.serviceaccount.name",
            "kubernetes.io.pod.name",
            "kubernetes.io.node.name",
        ),
    ),
    "spiffe": Traits(single_use=False, algorithms=_OF_SPIFFE, types=frozenset({"", "jwt", "jose"}), key_use="jwt-svid"),
    "oidc": Traits(),
}


# Of no platform of their own: Google's subjects are numbers, so a pattern of them says nothing of whose it is.
_SHARED: Final = (
    *(one for one in PLATFORMS.values() if one.shared),
    Traits(issuer="https://accounts.google.com", shared=True, whose=frozenset({"email"})),
)


def traits_of(spec: WorkloadTrustSpec) -> Traits:
    return PLATFORMS[spec.platform]


def issuer_of(spec: WorkloadTrustSpec) -> str:
    """Empty for SPIFFE."""
    return spec.issuer or traits_of(spec).issuer


def single_use(spec: WorkloadTrustSpec) -> bool:
    return traits_of(spec).single_use if spec.single_use is None else spec.single_use


def shared_traits(spec: WorkloadTrustSpec) -> Traits | None:
    """Of the platform whose issuer it is, whatever the trust calls it, if others than this deployment's own people run
    workloads with tokens of this issuer. Google writes it with `https://` and without."""
    issuer = "https://" + issuer_of(spec).rstrip("/").lower().removeprefix("https://")
    return next((one for one in _SHARED if one.issuer == issuer), None)
