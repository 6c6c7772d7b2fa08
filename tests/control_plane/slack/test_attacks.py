"""What is not Slack's is refused; what is Slack's cannot speak for somebody else or for something else."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import urlencode

import pytest
from sqlmodel import select

from control_plane.approvals import repository as approvals
from control_plane.assembly import ControlPlane
from control_plane.audit import repository as audit
from control_plane.identities import repository as identities
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.slack.card import APPROVE, DENY
from control_plane.slack.endpoints import LARGEST_BODY
from control_plane.slack.interactions import REASON, Approving, read
from control_plane.slack.tables import SlackInteractionRow
from tests.control_plane.conftest import ManualClock
from tests.control_plane.slack.conftest import Scene, running
from tests.support.slack.double import BOT_TOKEN, SIGNING_SECRET
from tests.support.slack.workspace import TEAM, Message

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def body_of(payload: dict[str, object]) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()


@pytest.fixture
async def message(scene: Scene) -> Message:
    return await scene.message(await scene.hold())


async def still_pending(scene: Scene) -> bool:
    async with scene.control_plane.units.reading() as uow:
        return len(await approvals.open_ids(uow.session)) == 1


async def test_a_forged_signature_gets_nowhere(scene: Scene, message: Message):
    body = body_of(scene.double.pressed("UADA", message, APPROVE))
    good = scene.double.signed(body)
    forgeries = [
        scene.double.signed(body, secret="f" * 32),
        {**good, "x-slack-signature": ""},
        {**good, "x-slack-signature": good["x-slack-signature"].removeprefix("v0=")},
        {**good, "x-slack-signature": "v1=" + good["x-slack-signature"][3:]},
        {**good, "x-slack-signature": good["x-slack-signature"].upper()},
        {**good, "x-slack-request-timestamp": str(int(good["x-slack-request-timestamp"]) + 1)},
        {**good, "x-slack-request-timestamp": ""},
        {**good, "x-slack-request-timestamp": "²"},
        {**good, "x-slack-request-timestamp": "9" * 5000},
        {name: value for name, value in good.items() if not name.startswith("x-slack")},
    ]
    for headers in forgeries:
        answer = await scene.double.raw(body, {name: value.encode() for name, value in headers.items()})
        assert answer.status_code == 401, headers
    assert (await scene.double.raw(body.replace(b"UADA", b"UBOB"), good)).status_code == 401
    assert await still_pending(scene)


async def test_an_old_or_future_request_is_refused_and_one_within_five_minutes_is_not(scene: Scene, message: Message):
    body = body_of(scene.double.pressed("UADA", message, APPROVE))
    for age in (301, -302, 86_400):
        assert (await scene.double.raw(body, scene.double.signed(body, age=age))).status_code == 401
    assert await still_pending(scene)
    assert (await scene.double.raw(body, scene.double.signed(body, age=299))).status_code == 200


async def test_a_replay_is_refused_also_by_a_restarted_control_plane(scene: Scene, message: Message):
    await scene.chain({"groups": ["dba"], "require": 2, "timeout": "10m"})
    body = body_of(scene.double.pressed("UEVE", message, APPROVE))
    headers = scene.double.signed(body)
    assert (await scene.double.raw(body, headers)).status_code == 200
    assert (await scene.double.raw(body, headers)).status_code == 401
    # Nothing of it is in memory: another replica over the same database knows it too.
    other = ControlPlane(scene.control_plane.settings, scene.clock)
    interaction = read(json.dumps(scene.double.pressed("UEVE", message, APPROVE)).encode())
    assert other.slack.answering is not None
    used = hashlib.sha256(headers["x-slack-signature"].encode()).hexdigest()
    assert (await other.slack.answering.answer(interaction, used)).replayed
    await other.slack.close()
    await other.database.close()


async def test_the_same_press_sent_again_counts_once_and_is_acknowledged(scene: Scene, message: Message):
    payload = scene.double.pressed("UADA", message, APPROVE)
    assert (await scene.double.send(payload)).acknowledged
    await scene.shows(message, "Approved: write")
    scene.clock.advance(seconds=2)  # Slack signs every attempt anew
    assert (await scene.double.send(payload)).acknowledged
    assert scene.double.workspace.told("UADA") == []
    assert len(await scene.audited("approval.agreed")) == 1


async def test_a_press_of_deny_that_is_sent_again_opens_no_second_modal(scene: Scene, message: Message):
    payload = scene.double.pressed("UADA", message, DENY)
    await scene.double.send(payload)
    await scene.double.until(lambda: scene.double.workspace.modals)
    scene.clock.advance(seconds=2)
    assert (await scene.double.send(payload)).acknowledged
    answering = scene.control_plane.slack.answering
    assert answering is not None
    await answering.close()  # what is beside the acknowledgement has ended
    assert len(scene.double.workspace.modals) == 1
    assert scene.double.workspace.told("UADA") == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "apr_x",
        "apr_00000000000000000001:zz",
        "x" * 2000,
        "apr_'; DROP TABLE approval_requests; --:" + "0" * 64,
        "{id}:" + "0" * 64,
        "apr_nosuchapproval0000000:{digest}",
    ],
)
async def test_a_tampered_value_decides_nothing(scene: Scene, message: Message, value: str):
    payload = scene.double.pressed("UADA", message, APPROVE)
    approval_id, _, digest = payload["actions"][0]["value"].partition(":")
    payload["actions"][0]["value"] = value.replace("{id}", approval_id).replace("{digest}", digest)
    assert (await scene.double.send(payload)).acknowledged
    if "{" in value:
        await scene.told("UADA", "digest is not the one" if "{id}" in value else "There is no such request")
    assert await still_pending(scene)


async def test_the_digest_of_another_request_approves_neither(scene: Scene, message: Message):
    other = await scene.message(await scene.hold("DELETE FROM orders WHERE id = 7"))
    mine = scene.double.pressed("UADA", message, APPROVE)
    approval_id, _, _ = mine["actions"][0]["value"].partition(":")
    _, _, digest = other.buttons[APPROVE]["value"].partition(":")
    mine["actions"][0]["value"] = f"{approval_id}:{digest}"
    await scene.double.send(mine)
    await scene.told("UADA", "the digest is not the one of this request")
    assert await scene.state(approval_id) == "pending"


async def test_a_modal_that_comes_back_changed_denies_nothing_else(scene: Scene, message: Message):
    await scene.double.press("UADA", message, DENY)
    modal = await scene.double.until(lambda: next(iter(scene.double.workspace.modals), None))
    about = json.loads(modal.view["private_metadata"])
    approval_id = about["value"].partition(":")[0]
    for value in ("junk", f"{approval_id}:{'0' * 64}"):
        forged = scene.double.submitted(modal, "because")
        forged["view"]["private_metadata"] = json.dumps({**about, "value": value})
        answered = await scene.double.send(forged)
        assert answered.acknowledged
    assert "digest is not the one" in answered.body["errors"][REASON]
    forged = scene.double.submitted(modal, "x" * 2001)
    assert (await scene.double.send(forged)).acknowledged
    assert await still_pending(scene)


async def test_a_user_of_another_workspace_is_nobody(scene: Scene, message: Message):
    scene.double.workspace.user("UADA", email="ada@example.org", team_id="T999EVIL")
    await scene.double.press("UADA", message, APPROVE)
    await scene.told("UADA", "You belong to another Slack workspace")
    user = {"id": "UADA", "team_id": TEAM}
    assert await still_pending(scene)
    await scene.double.send({**scene.double.pressed("UADA", message, APPROVE), "user": user})
    await scene.shows(message, "Approved: write")


async def test_a_machine_with_a_slack_user_decides_nothing(scene: Scene, message: Message):
    async with scene.control_plane.units() as uow:
        row = await identities.row_by_name(uow.session, "bot")
        assert row is not None
        row.slack_user_id = "UZOE"  # the service would refuse it
        uow.session.add(row)
    await scene.double.press("UZOE", message, APPROVE)
    await scene.told("UZOE", "Only people decide")
    assert await still_pending(scene)


async def test_the_owner_of_the_requester_does_not_count_in_slack_either(scene: Scene, message: Message):
    async with scene.control_plane.units() as uow:
        await scene.control_plane.identities.change(uow, SYSTEM, "root", slack_user_id="UZOE")
        await scene.control_plane.identities.put_group(
            uow, SYSTEM, "dba", roles=["reviewer"], members=["ada", "bob", "root"]
        )
    await scene.double.press("UZOE", message, APPROVE)
    await scene.told("UZOE", "owner of the requesting credential does not decide")
    assert await still_pending(scene)


JUNK = [
    (b"x" * (LARGEST_BODY + 1), 413),
    (b"", 422),
    (b"payload=", 422),
    (b"payload=%7B", 422),
    (b'payload={"type":"shortcut","user":{"id":"UADA"}}&payload={"type":"shortcut","user":{"id":"UADA"}}', 422),
    (b"payload=[]", 422),
    (b'payload={"type":"block_actions"}', 422),
    (b'payload={"type":"block_actions","user":{"id":7}}', 422),
    (b"payload=%ff%fe", 422),
    (b"\xff\xfe", 401),
    (b"&".join(b"a=%d" % number for number in range(50)), 422),
    (b'payload={"type":"shortcut","user":{"id":"UADA"}}', 200),
    (b'payload={"type":"block_actions","user":{"id":"UADA"},"actions":[]}', 200),
    (b'payload={"type":"view_submission","user":{"id":"UADA"},"view":{"callback_id":"assentry_denial"}}', 200),
]


async def test_junk_that_is_signed_is_answered_and_does_nothing(scene: Scene):
    for body, status in JUNK:
        answer = await scene.double.raw(body, scene.double.signed(body))
        assert answer.status_code == status, (body[:80], answer.text)
    assert scene.double.workspace.modals == []


async def test_nothing_is_there_without_http_mode(control_plane: ControlPlane, scene: Scene):
    control_plane.slack.verifier = None
    body = body_of({"type": "block_actions"})
    assert (await scene.double.raw(body, scene.double.signed(body))).status_code == 404


async def test_no_secret_reaches_a_log_an_error_or_an_audit_event(
    scene: Scene, message: Message, clock: ManualClock, capsys: pytest.CaptureFixture[str]
):
    settings = scene.control_plane.settings
    scene.double.broken["chat.postMessage"] = 1
    await scene.hold("DELETE FROM orders WHERE id = 8")
    await scene.double.until(lambda: not scene.double.broken["chat.postMessage"])
    await scene.double.press("UZOE", message, APPROVE)
    await scene.told("UZOE", "No identity")
    async with scene.control_plane.units.reading() as uow:
        rows = await audit.newest(uow.session, audit.Filter(), None, 1000)
    written = capsys.readouterr()
    everything = "".join([repr(settings), str(settings), written.out, written.err, *(row.data for row in rows)])
    assert SIGNING_SECRET not in everything
    assert BOT_TOKEN not in everything


async def test_an_undone_decision_of_a_dead_process_is_carried_out_by_the_next(scene: Scene, message: Message):
    read_again = read(json.dumps(scene.double.pressed("UADA", message, APPROVE)).encode())
    assert isinstance(read_again, Approving)
    answering = scene.control_plane.slack.answering
    assert answering is not None
    await answering._inbox.take(read_again.id, None, read_again.decision)  # and then the process died
    scene.clock.advance(seconds=30)
    async with running(scene.control_plane):
        await scene.shows(message, "Approved: write")
    assert len(await scene.audited("approval.approved")) == 1


async def test_a_decision_that_was_left_for_too_long_does_not_count_and_its_person_is_told(
    scene: Scene, message: Message
):
    read_again = read(json.dumps(scene.double.pressed("UADA", message, APPROVE)).encode())
    assert isinstance(read_again, Approving)
    answering = scene.control_plane.slack.answering
    assert answering is not None
    await answering._inbox.take(read_again.id, None, read_again.decision)
    scene.clock.advance(seconds=301)
    async with running(scene.control_plane):
        await scene.told("UADA", "could not be carried out in time and does not count")
    assert await still_pending(scene)


async def test_what_was_pressed_is_remembered_for_longer_than_its_signature_is_good_and_then_forgotten(
    scene: Scene, message: Message
):
    answering = scene.control_plane.slack.answering
    assert answering is not None
    await scene.double.press("UEVE", message, APPROVE)
    await scene.told("UEVE", "This does not count")

    async def kept() -> int:
        async with scene.control_plane.units.reading() as uow:
            return len((await uow.session.exec(select(SlackInteractionRow))).all())

    scene.clock.advance(seconds=10 * 60)
    await answering._inbox.forget()
    assert await kept() == 1
    scene.clock.advance(seconds=5 * 60 + 1)
    await answering._inbox.forget()
    assert await kept() == 0
