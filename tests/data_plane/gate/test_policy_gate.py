"""The synchronous gate: one record before each answer, and no way to an allow but policy (DESIGN invariants 3, 4, 7, 8)."""

from __future__ import annotations

import msgspec

from data_plane.gate.interface import Allowed, Code, Denied, Held, Resource, Subject
from tests.data_plane.gate.worlds import IDENTITIES, RAW, READ, RULES, WRITE, World
from tests.support.policies import READS, allow, deny, subject

DROP = subject("ddl", "DROP")


def test_an_allowed_operation_gets_a_permit_with_exactly_its_bytes() -> None:
    world = World()
    verdict = world.gate.judge(1, (READ,), RAW)
    assert isinstance(verdict, Allowed)
    assert verdict.permit.raw is RAW
    assert world.log == [("decided", 1, "allow", "read", ("p/allow",), "")]


def test_every_verdict_is_recorded_once_before_it_is_given() -> None:
    world = World([*RULES, deny(match={"action": "ddl"}, message="no")])
    verdicts = [world.gate.judge(number, (what,), RAW) for number, what in enumerate((READ, WRITE, DROP, READ), 1)]
    assert [type(verdict) for verdict in verdicts] == [Allowed, Held, Denied, Allowed]
    assert [entry[2] for entry in world.log] == ["allow", "hold", "deny", "allow"]


def test_what_cannot_be_recorded_is_denied() -> None:
    world = World()
    world.recorder.broken = "the disk is full"
    verdict = world.gate.judge(1, (READ,), RAW)
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.ENDED


def test_whatever_goes_wrong_is_a_denial() -> None:
    world = World()
    for nonsense in ((None,), (3,), None):
        assert isinstance(world.gate.judge(1, nonsense, RAW), Denied)
    assert isinstance(world.gate.judge(1, (), RAW), Denied), "nothing to judge is nothing understood"


def test_a_batch_is_denied_over_held_over_allowed_and_recorded_as_one() -> None:
    world = World([*RULES, deny(match={"action": "ddl"})])
    assert isinstance(world.gate.judge(1, (READ, WRITE, DROP), RAW), Denied)
    assert isinstance(world.gate.judge(2, (READ, WRITE), RAW), Held)
    assert isinstance(world.gate.judge(3, (READ, READ), RAW), Allowed)
    assert [(entry[1], entry[2], entry[3]) for entry in world.log] == [
        (1, "deny", "ddl"), (2, "hold", "write"), (3, "allow", "read"),
    ]  # fmt: skip


def test_what_no_rule_allows_is_told_as_what_it_was_taken_for() -> None:
    tables = tuple(Resource("relation", (f"public.t{number}",), ("ddl",)) for number in range(6))
    dropped = msgspec.structs.replace(DROP, resources=tables)
    verdict = World().gate.judge(1, (READ, dropped), RAW)
    assert isinstance(verdict, Denied)
    assert verdict.message == "no rule allows this here"
    assert verdict.hint.startswith("It was judged as ddl (SELECT, DROP) on ")
    assert verdict.hint.endswith(", …."), "not every name of many"


def test_what_is_not_understood_is_told_apart_from_what_policy_refuses() -> None:
    world = World()
    puzzling = world.gate.judge(1, (subject("unknown", understood=False, problem="a new statement"),), RAW)
    assert isinstance(puzzling, Denied)
    assert (puzzling.code, puzzling.message) == (Code.NOT_UNDERSTOOD, "a new statement")
    refused = world.gate.judge(2, (DROP,), RAW)
    assert isinstance(refused, Denied)
    assert refused.code is Code.POLICY


def test_equal_subjects_that_are_not_the_same_object_are_judged_each() -> None:
    world = World()
    assert isinstance(world.gate.judge(1, (READ,), RAW), Allowed)
    twin = Subject(READ.action, READ.verbs, READ.resources, READ.facts, understood=False)
    assert isinstance(world.gate.judge(2, (twin,), RAW), Denied)


def test_a_new_snapshot_is_obeyed_by_the_next_statement() -> None:
    world = World()
    assert isinstance(world.gate.judge(1, (READ,), RAW), Allowed)
    world.apply([deny(match=READS, message="not now")])
    verdict = world.gate.judge(2, (READ,), RAW)
    assert isinstance(verdict, Denied)
    assert verdict.message == "not now"


def test_a_new_snapshot_that_cannot_be_read_once_leaves_nothing_allowed() -> None:
    """Invariant 3: what was allowed by the one before is not judged by that any more."""

    class FailsOnce(dict):
        failed = False

        def get(self, *asked):
            if not self.failed:
                self.failed = True
                raise MemoryError
            return super().get(*asked)

    world = World()
    assert isinstance(world.gate.judge(1, (READ,), RAW), Allowed)
    world.apply([deny(match=READS)])
    world.state.current = msgspec.structs.replace(world.state.current, targets=FailsOnce(world.state.current.targets))
    verdicts = [world.gate.judge(number, (READ,), RAW) for number in range(2, 5)]
    assert [type(verdict) for verdict in verdicts] == [Denied] * 3


def test_a_lost_group_is_lost_at_once() -> None:
    """Invariant 7."""
    rules = [allow(when="'ci' in requester.groups")]
    world = World(rules)
    assert isinstance(world.gate.judge(1, (READ,), RAW), Allowed)
    robot = msgspec.structs.replace(IDENTITIES[0], groups=())
    world.apply(rules, identities=(robot, *IDENTITIES[1:]))
    assert isinstance(world.gate.judge(2, (READ,), RAW), Denied)


def test_whoever_is_revoked_disabled_removed_or_no_longer_selected_may_do_nothing() -> None:
    """Invariant 7."""
    disabled = msgspec.structs.replace(IDENTITIES[0], disabled=True)
    for changed in (
        {"revoked_credentials": ("crd_1",)},
        {"identities": (disabled,)},
        {"identities": ()},
        {"targets": ()},
        {"policies": ()},
    ):
        world = World()
        world.apply(**changed)
        verdict = world.gate.judge(1, (READ,), RAW)
        assert isinstance(verdict, Denied), changed
        assert verdict.code is Code.ENDED
        assert world.log == [("decided", 1, "deny", "read", (), "session-ended")]


def test_without_a_lease_nothing_is_allowed_and_that_is_no_ones_refusal() -> None:
    world = World()
    world.lease.valid = False
    verdict = world.gate.judge(1, (READ,), RAW)
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.UNAVAILABLE


def test_a_closed_session_may_do_nothing() -> None:
    world = World()
    world.gate.close("client-closed")
    assert isinstance(world.gate.judge(1, (READ,), RAW), Denied)


def test_masks_that_came_after_the_session_opened_hold_for_it_too() -> None:
    world = World([*RULES, {"name": "masked", "mask": ["pii"]}])
    verdict = world.gate.judge(1, (READ,), RAW)
    assert isinstance(verdict, Allowed)
    assert verdict.masks == (), "pii is the session's already"
    world.apply([allow(match=READS, mask=["mail"]), {"name": "masked", "mask": ["pii", "cards"]}])
    verdict = world.gate.judge(2, (READ,), RAW)
    assert isinstance(verdict, Allowed)
    assert verdict.masks == ("cards", "mail")
