"""From a credential to an open, recorded session; or a refusal that the audit has heard of (DESIGN invariants 7, 8)."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.gate.admission import Admitted, CertificateCredential, Refused, TokenCredential
from data_plane.gate.interface import Allowed, Code
from data_plane.gate.policy_admission import PolicyAdmission
from data_plane.identifiers import SessionId, TargetName
from data_plane.policy.snapshot import RawTarget
from data_plane.recording.interface import RecordingError
from data_plane.recording.model import Opened
from data_plane.runtime.secret import Secret
from tests.data_plane.gate.test_identity import BOUND, URN, certificate, token
from tests.data_plane.gate.worlds import IDENTITIES, RAW, READ, RULES, TARGET_JSON, World
from tests.support.policies import ORDERS, allow, deny


class Entrance:
    """Admission around a World; recorders and reports write into its log."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened: list[Opened] = []
        self.on_failure: Any = None
        self.failure = ""
        self.meanwhile = lambda: None
        self.reports_fail = False
        self.ended: list[tuple] = []
        self.admission = PolicyAdmission(
            world.services,
            recorders=self,
            reports=Reports(self),
            new_session_id=lambda: SessionId("ses_1"),
            end_session=lambda *what: self.ended.append(what),
        )

    async def open(self, opened: Opened, on_failure: Any):
        if self.failure:
            raise RecordingError(self.failure)
        self.opened.append(opened)
        self.on_failure = on_failure
        self.world.log.append(("recording",))
        self.meanwhile()
        return self.world.recorder

    async def admit(self, text: str | None = None, target: str = "orders") -> Admitted | Refused:
        credential = TokenCredential(Secret(token() if text is None else text))
        return await self.admission.admit(credential, TargetName(target), "127.0.0.1", "psql", {"database": "shop"})


class Reports:
    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    def opened(self, session, snapshot_version) -> None:
        if self._entrance.reports_fail:
            raise OSError("the journal is full")
        self._entrance.world.log.append(("opened", session.id, snapshot_version))

    def refused(self, target, reason, client_address, requester_id) -> None:
        self._entrance.world.log.append(("refused", target, reason, client_address, requester_id))


async def test_a_session_opens_with_a_recording_and_a_report_and_a_gate() -> None:
    entrance = Entrance(World([*RULES, {"name": "masked", "mask": ["pii"]}]))
    admitted = await entrance.admit()
    assert isinstance(admitted, Admitted)
    assert (admitted.facts.requester.name, admitted.facts.target.environment) == ("robot", "production")
    assert (admitted.masks, admitted.row_limit, admitted.snapshot_version) == (("pii",), 100, 1)
    assert admitted.expires_at == entrance.world.clock.at + 60
    assert entrance.world.logged() == ["recording", "opened"]
    [opened] = entrance.opened
    assert (opened.requester_id, opened.details, opened.protocol) == ("idn_robot", {"database": "shop"}, "postgres")
    assert isinstance(admitted.gate.judge(1, (READ,), RAW), Allowed)
    entrance.on_failure("the disk is full")
    assert entrance.ended == [("ses_1", "recording-failed", "the session can no longer be recorded: the disk is full")]


async def test_a_client_certificate_admits_like_a_token() -> None:
    entrance = Entrance(World())
    for der, kind in ((certificate(URN), Admitted), (certificate(), Refused)):
        shown = CertificateCredential(der)
        assert isinstance(await entrance.admission.admit(shown, TargetName("orders"), "::1", "", {}), kind)


@pytest.mark.parametrize(
    ("text", "reason", "requester"),
    [
        ("nonsense", "not a token", ""),
        (token(exp=1.0), "expired", "idn_robot"),
        (token(aud=["payroll"]), "other targets", "idn_robot"),
        (token(sub="idn_nobody"), "unknown", "idn_nobody"),
        (token(header=BOUND, net=["10.0.0.0/8"]), "other networks", "idn_robot"),
    ],
)
async def test_a_credential_that_is_not_accepted_is_reported_and_the_client_learns_little(
    text: str, reason: str, requester: str
) -> None:
    entrance = Entrance(World())
    refused = await entrance.admit(text)
    assert isinstance(refused, Refused)
    assert refused.authentication
    assert refused.message.startswith("the credential was not accepted")
    [(kind, target, told, address, who)] = entrance.world.log
    assert (kind, target, address, who) == ("refused", "orders", "127.0.0.1", requester)
    assert reason in told


async def test_policy_decides_who_may_connect_to_what() -> None:
    nobody = Entrance(World([], policies=()))
    refused = await nobody.admit()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.authentication) == (Code.POLICY, False)
    closed = Entrance(World([*RULES, deny(match={"action": "connect"}, message="not at night")]))
    refused = await closed.admit()
    assert isinstance(refused, Refused)
    assert refused.message == "not at night"
    assert closed.world.log == [("refused", "orders", "policy: p/deny", "127.0.0.1", "idn_robot")]
    assert isinstance(await Entrance(World()).admit(target="payroll"), Refused)


async def test_without_lease_policy_or_while_draining_nobody_comes_in() -> None:
    for spoil in ("lease", "policy", "drain"):
        entrance = Entrance(World())
        if spoil == "lease":
            entrance.world.lease.valid = False
        elif spoil == "policy":
            entrance.world.state.current = None
        else:
            entrance.admission.draining = True
        refused = await entrance.admit()
        assert isinstance(refused, Refused), spoil
        assert entrance.world.logged() == ["refused"]


async def test_no_record_no_session() -> None:
    entrance = Entrance(World())
    entrance.failure = "the spool is full"
    refused = await entrance.admit()
    assert isinstance(refused, Refused)
    assert refused.code is Code.LIMIT
    assert entrance.world.log == [("refused", "orders", "the spool is full", "127.0.0.1", "idn_robot")]


async def test_a_session_that_cannot_be_reported_does_not_open_and_its_recording_ends() -> None:
    entrance = Entrance(World())
    entrance.reports_fail = True
    assert isinstance(await entrance.admit(), Refused)
    assert entrance.world.logged() == ["recording", "closed", "refused"]
    assert entrance.world.log[1] == ("closed", "refused: OSError")


async def test_what_is_revoked_while_the_recording_is_opened_does_not_come_in() -> None:
    entrance = Entrance(World())
    entrance.meanwhile = lambda: entrance.world.apply(revoked_credentials=("crd_1",))
    refused = await entrance.admit()
    assert isinstance(refused, Refused)
    assert (refused.message, refused.authentication) == ("the credential was not accepted", True), (
        "as at any other time"
    )
    assert entrance.world.logged() == ["recording", "opened", "closed", "refused"], "what was recorded is a session"
    assert entrance.world.log[2] == ("closed", "refused: the credential is revoked")


NOT_VAULT = deny(match={"action": "connect"}, when='session.database == "vault"', message="not the vault")
PINNED = TARGET_JSON.replace("}", ',"database":"vault"}')


async def test_policy_sees_the_database_that_the_target_names_and_not_what_the_client_calls_it() -> None:
    free, pinned = (
        Entrance(World([*RULES, NOT_VAULT], targets=(RawTarget(ORDERS.name, ORDERS.labels, text),)))
        for text in (TARGET_JSON, PINNED)
    )
    assert isinstance(await free.admit(), Admitted)
    refused = await pinned.admit()
    assert isinstance(refused, Refused)
    assert refused.message == "not the vault"
    unruled = Entrance(World(RULES, targets=(RawTarget(ORDERS.name, ORDERS.labels, PINNED),)))
    assert isinstance(await unruled.admit(), Admitted)
    assert unruled.opened[0].details == {"database": "vault"}


async def test_open_sessions_are_asked_again_when_a_snapshot_comes() -> None:
    entrance = Entrance(World())
    admitted = await entrance.admit()
    assert isinstance(admitted, Admitted)
    assert entrance.admission.objection(admitted.facts) == ""
    for changed, reason in (
        ({"revoked_credentials": ("crd_1",)}, "revoked"),
        ({"identities": IDENTITIES[1:]}, "removed"),
        ({"targets": ()}, "target was removed"),
        ({"rules": [*RULES, deny(match={"action": "connect"})]}, "no longer lets this session be"),
        ({"policies": ()}, "no longer lets this session be"),
    ):
        entrance.world.apply(**changed)
        assert reason in entrance.admission.objection(admitted.facts)


async def test_a_gate_is_forgotten_when_its_session_closes() -> None:
    entrance = Entrance(World())
    admitted = await entrance.admit()
    assert isinstance(admitted, Admitted)
    assert list(entrance.admission._gates) == [admitted.facts.id]
    admitted.gate.close("done")
    assert not entrance.admission._gates


ROLES = '{"read":["app_read"],"write":["app_write","app_read"],"ddl":["app_owner"]}'
WITH_ACCOUNTS = TARGET_JSON.replace("}", f',"credential":{{"session_roles":{{"roles":{ROLES},"owner":"app_owner"}}}}}}')


def with_accounts(*rules: dict, text: str = WITH_ACCOUNTS) -> dict[str, Any]:
    return {"rules": list(rules), "targets": (RawTarget(ORDERS.name, ORDERS.labels, text),)}


async def test_a_session_is_told_what_policy_may_let_it_do_without_people() -> None:
    for target in (TARGET_JSON, WITH_ACCOUNTS):
        admitted = await Entrance(World(**with_accounts(*RULES, text=target))).admit()
        assert isinstance(admitted, Admitted)
        assert admitted.actions == {"read"}


async def test_a_session_whose_account_can_do_more_than_policy_now_allows_ends() -> None:
    entrance = Entrance(World(**with_accounts(allow(match={"action": ["read", "write"]}))))
    admitted = await entrance.admit()
    assert isinstance(admitted, Admitted)
    for changed, ends in (
        (with_accounts(allow()), False),
        (with_accounts(allow(match={"action": "write"})), False),  # the same roles
        (with_accounts(*RULES), True),
        (with_accounts(allow(), text=WITH_ACCOUNTS.replace('"app_write",', "")), True),
        (with_accounts(*RULES, text=TARGET_JSON), True),
    ):
        entrance.world.apply(**changed)
        objection = entrance.admission.objection(admitted.facts)
        assert ("all that this session's account at the target can do" in objection) == ends


async def test_without_an_account_of_its_own_a_session_goes_on_with_less() -> None:
    entrance = Entrance(World(**with_accounts(allow(), text=TARGET_JSON)))
    admitted = await entrance.admit()
    assert isinstance(admitted, Admitted)
    entrance.world.apply(**with_accounts(*RULES))
    assert entrance.admission.objection(admitted.facts) == ""


async def test_what_policy_takes_away_while_the_recording_is_opened_is_in_no_account() -> None:
    entrance = Entrance(World(**with_accounts(allow())))
    entrance.meanwhile = lambda: entrance.world.apply(**with_accounts(*RULES))
    assert isinstance(await entrance.admit(), Refused)


async def test_who_owns_what_is_made_is_lost_with_the_right_to_make_it() -> None:
    text = WITH_ACCOUNTS.replace('"ddl":["app_owner"]', '"ddl":["app_read"]')
    entrance = Entrance(World(**with_accounts(allow(), text=text)))
    admitted = await entrance.admit()
    assert isinstance(admitted, Admitted)
    entrance.world.apply(**with_accounts(allow(match={"action": ["read", "write"]}), text=text))
    assert "account" in entrance.admission.objection(admitted.facts)
