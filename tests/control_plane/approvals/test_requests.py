"""A report becomes a request, or is refused; what is shown is what is signed; and the lists that people read."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from control_plane.approvals.domain import Agreed, Outcome, Refusal, Refused, State
from control_plane.approvals.reports import (
    DecidedAnswer,
    PendingAnswer,
)
from control_plane.approvals.review import Mode
from control_plane.approvals.tables import GrantRow
from control_plane.kit.keys import GRANT_CONTEXT, Signature
from tests.control_plane.approvals.grants import grant_of, nonce_of
from tests.control_plane.world import DIGEST, INSTANCE, World, operation_of

# ------------------------------------------------------------------ asked


async def test_a_request_is_answered_with_what_the_client_is_told(world: World) -> None:
    await world.open_session()
    answer = await world.ask(world.request("apr_aaaaaaaaaaaaaaaaaaaa"))
    assert isinstance(answer, PendingAnswer)
    assert answer.url == "https://assentry.example/approvals/apr_aaaaaaaaaaaaaaaaaaaa"
    assert answer.reviewers == "1 of group dba"
    assert len(answer.short_code) == 6
    assert await world.audited_kinds() == ["approval.requested"]


async def test_the_same_report_again_gets_the_same_answer_and_asks_nobody_twice(world: World) -> None:
    await world.open_session()
    report = world.request()
    assert await world.ask(report) == await world.ask(report)
    assert await world.audited_kinds() == ["approval.requested"]


async def test_an_id_is_not_used_for_a_second_operation(world: World) -> None:
    approval = await world.held()
    other = world.request(approval, operation=operation_of(digest=b"o" * 32))
    answer = await world.ask(other)
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.REFUSED
    assert await world.state(approval) == State.PENDING
    assert (await world.view(approval)).row.operation_digest == DIGEST


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"chain": "nowhere"}, "approval chain 'nowhere' does not exist"),
        ({"requester_id": "idn_nobody"}, "requester, credential or target are not those of the session"),
        ({"credential_id": "crd_2"}, "requester, credential or target are not those of the session"),
        ({"session_id": "ses_unknown"}, "the session is not one of this agent's"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_its_reason(
    world: World, changes: dict[str, str], told: str
) -> None:
    await world.open_session()
    answer = await world.ask(world.request(**changes))
    assert answer == DecidedAnswer(answer.approval_id, Outcome.REFUSED, told)
    assert await world.audited_kinds() == ["approval.refused"]


async def test_another_agent_s_session_cannot_be_asked_for(world: World) -> None:
    await world.open_session()
    answer = await world.ask(world.request(), instance="ins_other")
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.REFUSED


async def test_a_request_that_only_requester_and_owner_could_approve_is_refused(world: World) -> None:
    for name in ("ada", "bob"):
        world.neighbours.change(name, groups=frozenset())
    await world.open_session()
    answer = await world.ask()
    assert isinstance(answer, DecidedAnswer)
    assert answer.reason == "approval chain 'dba' needs 1 of group dba, and 0 could approve this request"


async def test_a_revoked_credential_asks_nobody(world: World) -> None:
    await world.open_session()
    known = world.neighbours.credentials
    known["crd_1"] = msgspec.structs.replace(known["crd_1"], valid=False)
    answer = await world.ask()
    assert isinstance(answer, DecidedAnswer)
    assert "revoked" in answer.reason


@pytest.mark.parametrize("changes", [{"approval_id": "short"}, {"operation": operation_of(digest=b"too short")}])
async def test_a_guessable_id_or_a_digest_that_is_none_leaves_no_row(world: World, changes: dict[str, object]) -> None:
    await world.open_session()
    answer = await world.ask(msgspec.structs.replace(world.request(), **changes))
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.REFUSED
    assert await world.audited_kinds() == ["approval.malformed"]
    assert await world.answer(answer.approval_id) is None


async def test_the_client_s_wait_is_measured_on_our_clock(world: World) -> None:
    """An agent whose clock is a day ahead does not wait a day."""
    await world.open_session()
    ahead = world.clock.ms + 86_400_000
    answer = await world.ask(world.request(at_ms=ahead, wait_until_ms=ahead + 30_000))
    assert (await world.view(answer.approval_id)).row.approve_by_ms == world.clock.ms + 30_000


async def test_short_codes_are_of_letters_that_cannot_be_confused_and_unique_while_pending(world: World) -> None:
    await world.open_session()
    codes = set()
    for _ in range(20):
        answer = await world.ask(world.request())
        assert isinstance(answer, PendingAnswer)
        codes.add(answer.short_code)
        assert set(answer.short_code) <= set("23456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert len(codes) == 20


# ------------------------------------------------------------------ shown is signed


async def test_what_is_shown_is_what_is_signed(world: World) -> None:
    """Invariant 2: the digest that the reviewer gives back covers the operation's digest, which is what is granted."""
    text = "DELETE FROM orders -- \u202e\0 all of it " + "x" * 100_000
    approval = await world.held(operation=operation_of(text=text))
    view = await world.view(approval)
    assert view.shown.operation is not None
    assert view.shown.operation.text == text
    assert view.row.shown_digest == hashlib.sha256(b"assentry-shown-v1\0" + view.row.shown.encode()).digest()
    assert isinstance(await world.approve("ada", approval), Agreed)
    grant = await grant_of(world, approval)
    assert msgspec.convert(grant["digest"], bytes) == bytes.fromhex(view.shown.operation.digest)
    assert grant["target"] == view.shown.target.name
    assert grant["requester_id"] == view.shown.requester.id
    assert grant["credential_id"] == view.shown.credential.id
    assert grant["session_id"] == view.shown.operation.session_id


async def test_a_decision_on_something_else_is_refused_and_audited(world: World) -> None:
    approval = await world.held()
    ruling = await world.approve("ada", approval, shown=b"x" * 32)
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.STALE
    assert await world.state(approval) == State.PENDING
    assert (await world.audited_kinds())[-1] == "approval.decision-refused"


async def test_the_grant_is_signed_over_the_bytes_that_are_sent(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.grant is not None
    signature = Signature(answer.grant.key_id, answer.grant.signature)
    assert world.keys.verify(GRANT_CONTEXT, answer.grant.payload, signature)
    grant = await grant_of(world, approval)
    assert grant["scope"] == "once"
    assert grant["agent_instance"] == INSTANCE
    assert grant["execute_by_ms"] == world.clock.ms + 300_000
    assert [one["name"] for one in grant["approvals"]] == ["ada"]  # type: ignore[index,attr-defined]


async def test_a_ticket_s_grant_names_no_session(world: World) -> None:
    approval = await world.held(ticket=True)
    await world.approve("ada", approval)
    assert (await grant_of(world, approval))["session_id"] == ""


async def test_a_nonce_exists_once(world: World) -> None:
    """Invariant 6, in the database itself."""
    first = await world.held()
    second = (await world.ask(world.request())).approval_id
    await world.approve("ada", first)
    nonce = await nonce_of(world, first)
    assert len(nonce) == 16
    again = GrantRow(approval_id=second, nonce=nonce, payload=b"p", signature=b"s", key_id="k", issued_at_ms=1)
    with pytest.raises(IntegrityError):
        async with world.units() as uow:
            uow.session.add(again)


# ------------------------------------------------------------------ lists


async def test_lists_are_mine_all_and_decided(world: World) -> None:
    first = await world.held()
    world.clock.advance(1)
    second = (await world.ask(world.request())).approval_id
    world.clock.advance(1)
    third = (await world.ask(world.request())).approval_id
    await world.deny("bob", second)
    assert await world.ids("ada", Mode.MINE) == [third, first]
    assert await world.ids("eve", Mode.MINE) == []
    assert await world.ids("eve", Mode.ALL) == [third, first]
    assert await world.ids("eve", Mode.DECIDED) == [second]


async def test_pages_follow_each_other(world: World) -> None:
    await world.open_session()
    wanted = [(await world.ask(world.request())).approval_id for _ in range(7)][::-1]
    found: list[str] = []
    after: tuple[str | int, ...] | None = None
    while True:
        page = await world.ids("ada", Mode.MINE, limit=3, after=after)
        found += page
        if len(page) < 3:
            break
        row = (await world.view(page[-1])).row
        after = (row.requested_at_ms, row.id)
    assert found == wanted


async def test_a_requester_s_owner_sees_what_the_machine_asks_for_and_a_stranger_does_not(world: World) -> None:
    approval = await world.held()
    async with world.units.reading() as uow:
        assert await world.review.view(uow, world.principal("owner", "requester"), approval) is not None
        assert await world.review.view(uow, world.principal("eve", "requester"), approval) is None


async def test_a_short_code_finds_the_request(world: World) -> None:
    approval = await world.held()
    code = (await world.view(approval)).row.short_code
    assert (await world.view(code.lower())).row.id == approval


async def test_earlier_requests_of_the_same_kind_are_counted(world: World) -> None:
    first = await world.held()
    await world.approve("ada", first)
    second = (await world.ask(world.request())).approval_id
    await world.deny("ada", second)
    other = operation_of(verbs=("UPDATE",))
    for operation in (operation_of(text="DELETE FROM orders WHERE id = 2"), other):
        third = (await world.ask(world.request(operation=operation))).approval_id
    earlier = (await world.view(third)).shown.earlier
    assert (earlier.approved, earlier.denied) == (0, 0)
    fourth = (await world.ask(world.request())).approval_id
    earlier = (await world.view(fourth)).shown.earlier
    assert (earlier.approved, earlier.denied, earlier.undecided) == (1, 1, 1)
