"""What makes no sense in a target's `credential` is refused when it is written, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.policy import documents, model
from data_plane.policy.validate import validate

PATH = "$.spec.credential."


def problems(**credential: Any) -> dict[str, str]:
    spec = {"protocol": "postgres", "environment": "e", "agent": "a", "address": "db:5432", "credential": credential}
    made = documents.convert(
        {"apiVersion": "assentry.dev/v1", "kind": "Target", "metadata": {"name": "orders"}, "spec": spec}
    )
    assert isinstance(made, model.Target), made
    return {each.path.removeprefix(PATH): each.message for each in validate([made])}


def roles(**changes: Any) -> dict[str, str]:
    return problems(session_roles={"roles": {"read": ["readers"]}, **changes})


def test_sensible_credentials_have_no_problems() -> None:
    assert problems() == {}
    assert roles() == {}
    assert roles(owner="owners", sign_in_within="1s") == {}
    assert problems(rotate={}) == {}
    assert problems(rotate={"every": "30d", "accounts": ["one", "two"]}) == {}


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"roles": {}}, "roles", "without a role"),
        ({"roles": {"read": []}}, "roles", "without a role"),
        ({"roles": {"read": ["readers", ""]}}, "roles.read[1]", "no name of a role"),
        ({"roles": {"read": ["ü" * 32]}}, "roles.read[0]", "1 to 63 bytes"),
        ({"roles": {"write": ["gw_abc"]}}, "roles.write[0]", "those of single sessions"),
        ({"owner": "gw_abc"}, "owner", "those of single sessions"),
        ({"sign_in_within": "soon"}, "sign_in_within", "not a duration"),
        ({"sign_in_within": "500ms"}, "sign_in_within", "1s at least"),
        ({"sign_in_within": "1h"}, "sign_in_within", "600s at most"),
    ],
)
def test_each_mistake_in_session_roles_is_named(spec: dict[str, Any], path: str, message: str) -> None:
    found = roles(**spec)
    assert list(found) == [f"session_roles.{path}"]
    assert message in found[f"session_roles.{path}"]


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"every": "weekly"}, "every", "not a duration"),
        ({"accounts": ["one", "one"]}, "accounts", "two accounts"),
        ({"accounts": ["one", ""]}, "accounts[1]", "no name of a role"),
    ],
)
def test_each_mistake_in_a_rotation_is_named(spec: dict[str, Any], path: str, message: str) -> None:
    found = problems(rotate=spec)
    assert list(found) == [f"rotate.{path}"]
    assert message in found[f"rotate.{path}"]
