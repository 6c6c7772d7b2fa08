"""A target is served only where the agent's own configuration says that it is."""

from __future__ import annotations

import msgspec
import pytest

from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.policy.pins import Pin
from data_plane.policy.snapshot import Applied, PolicyState, RawTarget
from tests.data_plane.policy.test_snapshot import PINNED, TARGET_JSON, decode, signed

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SPEC = TargetSpec("postgres", "test", "edge", "db:5432", tls=TargetTls("verify-full", CA.strip()))


@pytest.mark.parametrize(
    ("changed", "pin", "problem"),
    [
        ({}, Pin("db:5432"), ""),
        ({}, Pin("db:5432", CA), ""),
        ({"address": "evil.example.com:5432"}, Pin("db:5432"), "evil.example.com:5432"),
        ({"tls": TargetTls("verify-full", "another")}, Pin("db:5432", CA), "authority"),
        ({"tls": TargetTls("require", CA)}, Pin("db:5432", CA), "authority"),
        ({"tls": TargetTls("verify-ca")}, Pin("db:5432", CA), "authority"),
    ],
)
def test_a_document_that_says_anything_else_than_the_pin_is_told(changed: dict, pin: Pin, problem: str) -> None:
    found = pin.problem(msgspec.structs.replace(SPEC, **changed))
    assert bool(found) == bool(problem)
    assert problem in found


def test_a_target_that_is_moved_away_from_its_pin_is_not_served_and_the_others_are() -> None:
    told: list[tuple[str, str]] = []
    into = PolicyState(
        deployment="dep", agent_name="edge", keys=PINNED, decode=decode, pins={"orders": Pin("db:5432")},
        misplaced=lambda name, why: told.append((name, why)),
    )  # fmt: skip
    both = [RawTarget(name, {}, TARGET_JSON) for name in ("orders", "stock")]
    assert isinstance(into.apply(signed(targets=tuple(both))), Applied)
    assert into.current is not None
    assert set(into.current.targets) == {"orders", "stock"}
    moved = RawTarget("orders", {}, TARGET_JSON.replace("db:5432", "evil:5432"))
    assert isinstance(into.apply(signed(version=2, targets=(moved, both[1]))), Applied)
    assert set(into.current.targets) == {"stock"}
    assert told == [("orders", "its document says evil:5432, this agent's configuration db:5432")]
