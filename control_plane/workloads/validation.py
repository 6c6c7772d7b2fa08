"""Whether trusts mean something, and no more than somebody meant. Pure.

A trust that says whose tokens but not whose workload would let anybody in who can get such a token: on platforms that
everybody shares it must say which owner, organisation or project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

import re2
from cryptography import x509

from control_plane.documents.domain import World
from control_plane.identities.documents import IdentityDocument
from control_plane.kit.jws import SECRET_MEMBERS, listed_keys
from control_plane.kit.outside import address_problem
from control_plane.workloads import claims, tokens
from control_plane.workloads.documents import KIND, WorkloadTrust, WorkloadTrustSpec
from control_plane.workloads.platforms import Traits, issuer_of, shared_traits, traits_of
from control_plane.workloads.tokens import TokenError
from data_plane.policy import durations
from data_plane.policy.documents import Problem

_LONGEST_PATTERN: Final = 512
_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}", re.ASCII)
_ACCOUNT: Final = re.compile(r"system:serviceaccount:[a-z0-9-]{1,63}:[a-z0-9.-]{1,253}", re.ASCII)
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9_/:@=-]|\\[.^$*+?()\[\]{}|\\-])*", re.ASCII)  # what a pattern says literally
_QUANTIFIERS: Final = ("?", "*", "+", "{")
Found = Iterator[tuple[str, str]]


def check(world: World) -> Sequence[Problem]:
    trusts: list[WorkloadTrust] = list(world.of(KIND))
    return [
        Problem(KIND, trust.metadata.name, f"$.spec.{path}", message)
        for trust in trusts
        for check_one in (_references, _source, _matching, _limits)
        for path, message in check_one(trust.spec, world)
    ]


def _references(spec: WorkloadTrustSpec, world: World) -> Found:
    machine = world.documents.get("Identity", {}).get(spec.identity)
    if not isinstance(machine, IdentityDocument):
        yield "identity", f"there is no Identity named {spec.identity!r}"
    elif machine.spec.kind != "machine":
        yield "identity", f"{spec.identity!r} is a person: a workload is a machine"
    elif not machine.spec.purpose:
        yield "identity", f"{spec.identity!r} has no purpose: say there what it is there for"
    elif not machine.spec.ends_at:
        yield "identity", f"{spec.identity!r} has no end date: say there until when it is needed (ends_at)"
    for index, name in enumerate(spec.targets):
        if name != "*" and name not in world.names("Target"):
            yield f"targets[{index}]", f"there is no Target named {name!r}"
    for index, name in enumerate(spec.actors):
        if name not in world.names("Identity"):
            yield f"actors[{index}]", f"there is no Identity named {name!r}"


def _source(spec: WorkloadTrustSpec, _world: World) -> Found:
    """Where tokens come from and what they are verified with."""
    if spec.platform == "spiffe":
        yield from _spiffe_source(spec)
    elif spec.trust_domain:
        yield "trust_domain", "only tokens of SPIFFE have one"
    elif not issuer_of(spec):
        yield "issuer", f"the platform {spec.platform!r} has no issuer of its own: say what `iss` is in its tokens"
    elif (problem := address_problem(issuer_of(spec))) and not (spec.jwks or spec.jwks_url):
        yield "issuer", problem
    yield from _keys(spec)


def _spiffe_source(spec: WorkloadTrustSpec) -> Found:
    if _DOMAIN.fullmatch(spec.trust_domain) is None:
        yield "trust_domain", "the trust domain of SPIFFE ids, such as example.org"
    if spec.issuer:
        yield "issuer", "tokens of SPIFFE have none: the trust domain stands for it"
    if not (spec.jwks or spec.jwks_url):
        yield "jwks", "the trust domain's bundle, here or at `jwks_url`"


def _keys(spec: WorkloadTrustSpec) -> Found:
    if spec.jwks and spec.jwks_url:
        yield "jwks_url", "`jwks` gives the keys already"
    if spec.jwks_url and (problem := address_problem(spec.jwks_url)):
        yield "jwks_url", problem
    yield from (("jwks", problem) for problem in _private_keys(spec.jwks))
    try:
        if spec.jwks:
            tokens.keys_of(spec.jwks, traits_of(spec).key_use)
    except TokenError as error:
        yield "jwks", str(error)
    if spec.ca and (problem := _certificates_problem(spec.ca)):
        yield "ca", problem


def _private_keys(jwks: str) -> Iterator[str]:
    """Documents are read, exported and kept in the audit log by whoever may sign nothing."""
    try:
        listed = listed_keys(json.loads(jwks or "null")) or ()
    except (ValueError, RecursionError):
        return
    for index, key in enumerate(listed):
        if secret := sorted(SECRET_MEMBERS & key.keys()):
            yield (
                f"keys[{index}] is a private or shared key (it has {', '.join(map(repr, secret))}): write only its"
                " public half, and take it for known, as it stood here"
            )


def _certificates_problem(pem: str) -> str:
    if "PRIVATE KEY-----" in pem:
        return "a private key stands in it: only certificates belong here, and whoever could read this has the key now"
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "certificates as PEM: what stands here cannot be read as such"
    return ""


def _matching(spec: WorkloadTrustSpec, _world: World) -> Found:
    patterns = [("subject_pattern", spec.subject_pattern)] if spec.subject_pattern else []
    patterns += [(f"claim_patterns.{name}", pattern) for name, pattern in spec.claim_patterns.items()]
    for path, pattern in patterns:
        if problem := _pattern_problem(pattern):
            yield path, problem
    if spec.subject and spec.subject_pattern:
        yield "subject_pattern", "`subject` says it already"
    if spec.platform == "spiffe":
        yield from _within_domain(spec)
    if spec.platform == "kubernetes":
        yield from _within_namespace(spec)
    elif (traits := shared_traits(spec)) is not None:
        if not _says_whose(spec, traits):
            whose = ", ".join(sorted(traits.whose))
            yield (
                "subject",
                f"everybody has tokens of this issuer: say whose, by `subject` or exactly by one of {whose}",
            )
    elif not (spec.subject or spec.subject_pattern or spec.claims or spec.claim_patterns):
        yield "subject", "this takes every token of the issuer: say which, by `subject`, `subject_pattern` or claims"


def _says_whose(spec: WorkloadTrustSpec, traits: Traits) -> bool:
    """By an exact subject, a pattern that spells out the owner before anything is left open, or an exact claim."""
    if spec.subject or traits.whose & spec.claims.keys():
        return True
    spelt = _spelt(spec.subject_pattern)
    owner, end, _ = spelt.removeprefix(traits.subject_prefix).partition(traits.owner_end)
    return spelt.startswith(traits.subject_prefix) and bool(owner and end)


def _spelt(pattern: str) -> str:
    """What everything that the pattern matches begins with: nothing if it is alternatives, and not what is repeated,
    perhaps no times."""
    literal = _PLAIN.match(pattern)
    if literal is None or _has_alternatives(pattern):
        return ""
    spelt = literal.group().replace("\\", "")
    return spelt[:-1] if pattern[literal.end() :].startswith(_QUANTIFIERS) else spelt


def _has_alternatives(pattern: str) -> bool:
    """At the top level. After a class or a quotation (\\Q), in which a parenthesis means nothing, any counts."""
    depth, escaped, doubtful = 0, False, False
    for one in pattern:
        doubtful = doubtful or one == "[" or (escaped and one == "Q")
        if escaped:
            escaped = False
        elif one == "\\":
            escaped = True
        elif one in "()":
            depth += 1 if one == "(" else -1
        elif one == "|" and (doubtful or depth <= 0):
            return True
    return False


def _within_domain(spec: WorkloadTrustSpec) -> Found:
    prefix = f"spiffe://{spec.trust_domain}/"
    if spec.subject and not spec.subject.startswith(prefix):
        yield "subject", f"begins with {prefix}"
    if spec.subject_pattern and not spec.subject_pattern.replace("\\", "").startswith(prefix):
        yield "subject_pattern", f"begins with {prefix}"


def _within_namespace(spec: WorkloadTrustSpec) -> Found:
    """Whoever may make pods in any namespace of a cluster has tokens of its issuer."""
    if spec.subject and _ACCOUNT.fullmatch(spec.subject) is None:
        yield "subject", "in the tokens of a cluster it is system:serviceaccount:NAMESPACE:NAME"
    elif not _says_whose(spec, traits_of(spec)):
        field, exact = "subject_pattern" if spec.subject_pattern else "subject", "kubernetes.io.namespace"
        yield field, f"every namespace has tokens of this issuer: say which, here or exactly by the claim {exact}"


def _pattern_problem(pattern: str) -> str:
    if len(pattern) > _LONGEST_PATTERN:
        return f"a pattern has at most {_LONGEST_PATTERN} characters"
    try:
        compiled = claims.compiled(pattern)
    except re2.error as error:
        told = error.args[0]
        return f"no RE2 pattern: {told.decode(errors='replace') if isinstance(told, bytes) else told}"
    return "it matches anything" if all(compiled.fullmatch(one) for one in ("", "a", "x:/y", "0")) else ""


def _limits(spec: WorkloadTrustSpec, _world: World) -> Found:
    try:
        if not 60 <= durations.seconds(spec.lifetime) <= 3600:
            yield "lifetime", "between one minute and one hour"
    except durations.DurationError as error:
        yield "lifetime", str(error)
    if not spec.targets:
        yield "targets", "name targets, or `*`; to reach none leave `api: true` and name one it may not connect to"
