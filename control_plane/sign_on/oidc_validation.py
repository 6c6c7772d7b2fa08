"""What the documents of identity providers must agree on, with secrets, groups and targets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from control_plane.documents.domain import World
from control_plane.kit.outside import allowed
from control_plane.sign_on.documents import KIND, IdentityProvider
from control_plane.sign_on.domain import domain_of
from data_plane.policy.documents import Problem


def check(world: World) -> Sequence[Problem]:
    providers: list[IdentityProvider] = list(world.of(KIND))
    return [
        Problem(KIND, one.metadata.name, path, message)
        for one in providers
        for path, message in (*_protocol(one), *_oidc(one, world), *_rules(one, world))
    ] + list(_targets(world))


def _protocol(one: IdentityProvider) -> Iterator[tuple[str, str]]:
    if (one.spec.oidc is None) == (one.spec.saml is None):
        yield "$.spec", "has either oidc or saml"


def _oidc(one: IdentityProvider, world: World) -> Iterator[tuple[str, str]]:
    oidc = one.spec.oidc
    if oidc is None:
        return
    issuer = urlsplit(oidc.issuer) if allowed(oidc.issuer) else None
    if issuer is None or issuer.query or issuer.fragment or "?" in oidc.issuer or "#" in oidc.issuer:
        yield "$.spec.oidc.issuer", "is an https address (http only on loopback), without a query"
    if not oidc.client_id or len(oidc.client_id) > 255 or not oidc.client_id.isprintable():
        yield "$.spec.oidc.client_id", "is what the provider calls this application"
    if "openid" not in oidc.scopes:
        yield "$.spec.oidc.scopes", "has openid among them"
    for index, scope in enumerate(oidc.scopes):
        if not scope or not scope.isprintable() or not scope.isascii() or set(scope) & set(' "\\'):
            yield f"$.spec.oidc.scopes[{index}]", "is one word"
    yield from _secret(oidc.client_secret, world)


def _secret(name: str, world: World) -> Iterator[tuple[str, str]]:
    place = "$.spec.oidc.client_secret"
    if name and name not in world.secrets:
        yield place, f"there is no secret named {name!r}: assentry secrets set {name}"
    # Also what is a target's no more: a provider is sent the value, and one change could move the target away.
    targets = [*world.of("Target"), *world.before.get("Target", {}).values()]
    for target in sorted({one.metadata.name for one in targets if name and one.spec.credential.secret == name}):
        yield place, f"{name!r} is what the target {target!r} is signed in to with; use another one"
    if name in world.delivered:
        yield place, f"an agent was given {name!r}, for a target; use another one"


def _targets(world: World) -> Iterator[Problem]:
    """An agent is given a target's secret: never one that a provider knows us by, or did until now."""
    before: list[IdentityProvider] = list(world.before.get(KIND, {}).values())  # type: ignore[arg-type]
    used = {one.spec.oidc.client_secret: one.metadata.name for one in before if one.spec.oidc is not None}
    for target in world.of("Target"):
        name = target.spec.credential.secret
        if name and name in used:
            message = f"{name!r} is what the provider {used[name]!r} knows us by; use another one"
            yield Problem("Target", target.metadata.name, "$.spec.credential.secret", message)


def _rules(one: IdentityProvider, world: World) -> Iterator[tuple[str, str]]:
    groups = world.names("Group")
    for theirs, ours in one.spec.groups.map.items():
        if ours not in groups:
            yield f"$.spec.groups.map[{theirs}]", f"there is no group named {ours!r}"
    for index, domain in enumerate(one.spec.linking.by_email):
        if domain_of(f"a@{domain}") != domain.lower() or "." not in domain or domain.startswith((".", "*")):
            yield f"$.spec.linking.by_email[{index}]", "is the domain of mail addresses, such as example.com"
