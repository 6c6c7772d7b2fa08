"""What identities and groups in documents must agree on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

from control_plane.documents.domain import World
from control_plane.identities.documents import GroupDocument, IdentityDocument, IdentitySpec
from control_plane.identities.domain import Ownership, external_problem, over_problem, scope_problem, slack_problem
from data_plane.policy.documents import Problem


def check(world: World) -> Sequence[Problem]:
    return [*_identities(world), *_groups(world)]


def _identities(world: World) -> Iterator[Problem]:
    everybody: list[IdentityDocument] = list(world.of("Identity"))
    people = {one.metadata.name: not one.spec.disabled for one in everybody if one.spec.kind == "person"}
    named = {one.spec.slack_user_id: one.metadata.name for one in reversed(everybody)}
    called = {one.spec.external_id: one.metadata.name for one in reversed(everybody)}
    for one in everybody:
        name, spec = one.metadata.name, one.spec
        before = cast("IdentityDocument | None", world.before.get("Identity", {}).get(name))
        owner_before = before.spec.owner if before is not None else ""
        if problem := Ownership(name, spec.kind, spec.owner, owner_before).problem(people):
            yield Problem("Identity", name, "$.spec.owner", problem)
        if problem := slack_problem(spec.kind, spec.slack_user_id):
            yield Problem("Identity", name, "$.spec.slack_user_id", problem)
        elif spec.slack_user_id and named[spec.slack_user_id] != name:
            message = f"{spec.slack_user_id} is {named[spec.slack_user_id]!r} already; a Slack user is one person"
            yield Problem("Identity", name, "$.spec.slack_user_id", message)
        if problem := external_problem(spec.kind, spec.external_id):
            yield Problem("Identity", name, "$.spec.external_id", problem)
        elif spec.external_id and called[spec.external_id] != name:
            message = f"{spec.external_id!r} is {called[spec.external_id]!r} already; an external id is one person"
            yield Problem("Identity", name, "$.spec.external_id", message)
        if spec.kind == "machine":
            yield from _taken_away(name, spec)
        yield from _over(name, spec, before, world.now)
        if before is not None and before.spec.kind != spec.kind:
            message = f"{name!r} is a {before.spec.kind} and stays one; give the other another name"
            yield Problem("Identity", name, "$.spec.kind", message)


def _taken_away(name: str, spec: IdentitySpec) -> Iterator[Problem]:
    """What every machine keeps."""
    if spec.ends_at is None:
        message = "a machine has an end date: say another one, or leave this out to leave it as it is"
        yield Problem("Identity", name, "$.spec.ends_at", message)
    if isinstance(spec.purpose, str) and not spec.purpose.strip():
        message = "a machine has a purpose: say what it is there for, or leave this out to leave it as it is"
        yield Problem("Identity", name, "$.spec.purpose", message)


def _over(name: str, spec: IdentitySpec, before: IdentityDocument | None, now: datetime) -> Iterator[Problem]:
    if isinstance(spec.ends_at, datetime):
        ended = before.spec.ends_at if before is not None else None
        if problem := over_problem(spec.ends_at, ended, now, disabled=spec.disabled):
            yield Problem("Identity", name, "$.spec.ends_at", problem)


def _groups(world: World) -> Iterator[Problem]:
    known = world.names("Identity")
    groups: list[GroupDocument] = list(world.of("Group"))
    for group in groups:
        for index, member in enumerate(group.spec.members):
            if member not in known:
                message = f"there is no identity named {member!r}"
                yield Problem("Group", group.metadata.name, f"$.spec.members[{index}]", message)
        if problem := scope_problem(group.spec.roles, group.spec.scopes):
            yield Problem("Group", group.metadata.name, "$.spec.reviews", problem)
