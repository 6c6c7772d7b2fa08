"""A held operation: only a verified, spent and recorded grant makes a permit (DESIGN invariants 1, 2, 6, 7, 8)."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.gate.held import MOVES, State
from data_plane.gate.interface import Allowed, Code, Denied
from data_plane.gate.ports import Answer, Answered
from data_plane.protocols.postgres.core.refusals import from_verdict
from tests.data_plane.gate.worlds import RAW, READ, RULES, WRITE, Listener, World, settled
from tests.support.policies import READS, WRITES, allow, deny, hold, subject


def soon(**limits: Any) -> list[dict]:
    return [allow(match=READS), hold(match=WRITES, hold={"wait": "20ms", "in_transaction": "10ms", **limits})]


async def test_an_approved_operation_is_spent_and_recorded_before_it_runs() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approvals.is_pending()
    await settled()
    assert [(pending.short_code, pending.wait_seconds) for pending in listener.pendings] == [("K7F3", 600)]
    world.approve()
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    assert verdict.permit.raw is RAW
    assert world.logged() == ["decided", "requested", "held", "spent", "consumed", "hold-ended", "durable"]
    assert world.log[-2] == ("hold-ended", 1, "apr_1", "approved", "", ("ada",))
    world.gate.executed(verdict.permit, "done", "DELETE 1")
    assert world.log[-1] == ("finished", "apr_1", "done", "DELETE 1")


async def test_a_client_is_told_the_sooner_end_of_its_own_wait_and_of_the_time_that_people_have() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approvals.is_pending(seconds=30)
    world.approvals.is_pending(seconds=7200)
    await settled()
    assert [pending.wait_seconds for pending in listener.pendings] == [30, 600]


async def test_a_client_hears_who_is_asked_next_and_the_recording_says_once_that_it_was_held() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approvals.is_pending()
    world.approvals.is_pending("1 of group security (stage 2 of 2)")
    await settled()
    assert [pending.reviewers for pending in listener.pendings] == [
        "1 of group dba", "1 of group security (stage 2 of 2)",
    ]  # fmt: skip
    assert world.logged().count("held") == 1


async def test_the_request_says_what_would_run_and_how_long_the_client_waits() -> None:
    world = World()
    world.hold(Listener())
    world.hold(Listener(), in_transaction=True)
    assert [request.wait_seconds for request in world.approvals.requests] == [600, 60]
    request = world.approvals.requests[0]
    assert (request.policy_version, request.decision.chain, request.operation.digest) == (
        1, "dba", world.operation().digest,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer.DENIED, Code.DENIED),
        (Answer.EXPIRED, Code.EXPIRED),
        (Answer.CANCELLED, Code.WITHDRAWN),
        (Answer.REFUSED, Code.UNAVAILABLE),
        (Answer.UNAVAILABLE, Code.UNAVAILABLE),
        (Answer.APPROVED, Code.UNAVAILABLE),  # without a grant
    ],
)
async def test_each_other_answer_ends_the_hold_under_its_own_name(answer: Answer, code: Code) -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approvals.answer(Answered(answer, "because"))
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert (verdict.code, verdict.rules) == (code, ("p/hold",))
    assert "because" in verdict.message
    assert world.log[-1][:4] == ("hold-ended", 1, "apr_1", code.value)
    assert "spent" not in world.logged()


async def test_what_nobody_could_ever_approve_is_not_to_be_sent_again_later() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approvals.answer(
        Answered(Answer.REFUSED, "approval chain 'dba' needs 5 of group dba, and 1 could approve it")
    )
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    told = from_verdict(verdict)
    assert told.message == "nobody could be asked: approval chain 'dba' needs 5 of group dba, and 1 could approve it"
    assert "must be changed by an administrator" in told.hint
    assert "later" not in told.hint


async def test_masks_that_came_while_it_waited_hold_for_what_was_approved() -> None:
    """Invariant 10."""
    world, listener = World(), Listener()
    world.hold(listener)
    world.apply([*RULES, {"name": "masked", "mask": ["pii"]}])
    world.approve()
    verdict = await listener.verdict()
    assert isinstance(verdict, Allowed)
    assert verdict.masks == ("pii",)


@pytest.mark.parametrize("wrong", [{"digest": b"x" * 32}, {"session_id": "ses_2"}, {"scope": "window"}])
async def test_a_grant_that_does_not_fit_runs_nothing_and_spends_nothing(wrong: dict) -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.approve(**wrong)
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.INVALID_GRANT
    assert world.logged("spent", "cancelled") == ["cancelled"]


async def test_a_grant_is_used_once() -> None:
    """Invariant 6."""
    world, first, second = World(), Listener(), Listener()
    world.hold(first)
    world.approve()
    assert isinstance(await first.verdict(), Allowed)
    world.hold(second)
    world.approve()
    verdict = await second.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.INVALID_GRANT


async def test_nobody_decided_ends_the_wait_and_is_no_ones_refusal() -> None:
    world, listener = World(soon()), Listener()
    world.hold(listener)
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.EXPIRED
    assert world.log[-2:] == [
        ("cancelled", "apr_1", "wait-ended"),
        ("hold-ended", 1, "apr_1", "expired", "wait-ended", ()),
    ]


async def test_inside_a_transaction_the_wait_is_its_own() -> None:
    world, listener = World(soon(wait="1h")), Listener()
    world.hold(listener, in_transaction=True)
    assert isinstance(await listener.verdict(), Denied)


async def test_a_cancelled_hold_calls_nobody_back_and_its_grant_is_void() -> None:
    world, listener = World(), Listener()
    held = world.hold(listener)
    grant = world.contents()
    held.cancel("client-disconnected")
    held.cancel("again")
    assert world.log[-2:] == [
        ("cancelled", "apr_1", "client-disconnected"),
        ("hold-ended", 1, "apr_1", "cancelled", "client-disconnected", ()),
    ]
    assert grant.approval_id == "apr_1"
    await settled()
    assert listener.verdicts == []


async def test_a_cancel_while_the_grant_is_being_spent_runs_nothing_and_says_so() -> None:
    """Invariant 1: nothing runs that nobody waits for any more."""
    world, listener = World(), Listener()
    world.nonces.gate.clear()
    held = world.hold(listener)
    world.approve()
    await settled()
    held.cancel("client-disconnected")
    world.nonces.gate.set()
    await settled()
    assert listener.verdicts == []
    assert world.log[-1] == ("finished", "apr_1", "failed", "not run: nobody waits for it any more")


async def test_a_cancel_while_the_record_is_being_synced_runs_nothing() -> None:
    world, listener = World(), Listener()
    world.recorder.disk.clear()
    held = world.hold(listener)
    world.approve()
    await settled()
    assert "spent" in world.logged()
    held.cancel("client-disconnected")
    world.recorder.disk.set()
    await settled()
    assert listener.verdicts == []
    assert world.log[-1][:3] == ("finished", "apr_1", "failed")


async def test_no_answer_reaches_the_client_before_nonce_and_record_are_on_disk() -> None:
    world, listener = World(), Listener()
    world.nonces.gate.clear()
    world.recorder.disk.clear()
    world.hold(listener)
    world.approve()
    await settled()
    assert listener.verdicts == []
    world.nonces.gate.set()
    await settled()
    assert listener.verdicts == []
    world.recorder.disk.set()
    assert isinstance(await listener.verdict(), Allowed)


async def test_a_journal_or_a_recording_that_fails_runs_nothing() -> None:
    for spoil in ("nonces", "recorder"):
        world, listener = World(), Listener()
        world.hold(listener)
        if spoil == "nonces":
            world.nonces.broken = True
        else:
            world.recorder.broken = "the disk is full"
        world.approve()
        assert isinstance(await listener.verdict(), Denied), spoil


@pytest.mark.parametrize(
    "changed",
    [
        {"rules": [deny(match=WRITES)]},
        {"rules": [hold(match=WRITES, approval="finance")]},
        {"revoked_credentials": ("crd_1",)},
        {"identities": ()},
    ],
)
async def test_what_changed_while_it_waited_counts_when_the_grant_comes(changed: dict) -> None:
    """Invariant 7: revocation, a disabled identity and a changed policy void what was approved before."""
    world, listener = World(), Listener()
    world.hold(listener)
    world.apply(**changed)
    world.approve()
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code in {Code.WITHDRAWN, Code.ENDED, Code.INVALID_GRANT}
    assert "spent" not in world.logged()


async def test_a_snapshot_that_changes_nothing_for_it_does_not_disturb_a_hold() -> None:
    world, listener = World(), Listener()
    world.hold(listener)
    world.apply()
    world.approve()
    assert isinstance(await listener.verdict(), Allowed)


async def test_an_approval_that_comes_too_late_to_be_used_is_not_used() -> None:
    world, listener = World(), Listener()
    world.nonces.gate.clear()
    world.hold(listener)
    world.approve()
    await settled()
    world.clock.at += 400
    world.nonces.gate.set()
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.EXPIRED
    assert world.log[-2][:3] == ("finished", "apr_1", "failed")


async def test_what_would_be_sent_must_be_what_people_would_see() -> None:
    """Invariant 2."""
    for changed in (
        {"parts": (b"DELETE 1;", b"DELETE 2;")},
        {"parts": ()},
        {"target": "payroll"},
        {"session": "ses_2"},
        {"subjects": (READ,)},
        {"subjects": (WRITE, subject("ddl", "DROP"))},
    ):
        world, listener = World(), Listener()
        world.hold(listener, **changed)
        assert isinstance(await listener.verdict(), Denied), changed
        assert world.approvals.requests == []


async def test_without_a_lease_nobody_is_asked() -> None:
    world, listener = World(), Listener()
    held = world.gate.judge(1, (WRITE,), RAW)
    world.lease.valid = False
    world.gate.hold(world.operation(), held, RAW, listener)  # type: ignore[arg-type]
    assert listener.verdicts == [], "never from inside hold"
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.UNAVAILABLE


async def test_closing_the_session_cancels_its_hold_and_leaves_unfinished_work_unknown() -> None:
    """Invariant 6: a crash or end between claim and execution is `outcome-unknown`, never a second run."""
    world, first, second = World(), Listener(), Listener()
    world.hold(first)
    world.approve()
    assert isinstance(await first.verdict(), Allowed)
    world.hold(second)
    world.gate.close("client-closed")
    assert ("cancelled", "apr_2", "client-closed") in world.log
    assert world.log[-1] == ("finished", "apr_1", "outcome-unknown", "client-closed")
    await settled()
    assert second.verdicts == []


def test_the_end_of_a_hold_is_final() -> None:
    assert MOVES[State.OVER] == frozenset()
    assert set(MOVES) == set(State)


async def test_answers_after_the_end_change_nothing() -> None:
    world, listener = World(), Listener()
    held: Any = world.hold(listener)
    world.approvals.answer(Answered(Answer.DENIED))
    await listener.verdict()
    held.answered(Answered(Answer.APPROVED))
    held._waited()
    await settled()
    assert len(listener.verdicts) == 1
    assert world.logged("cancelled") == []
