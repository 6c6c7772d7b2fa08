"""An account for each session: leased first, made, widened and narrowed, and gone without anybody waiting for it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import pytest

from data_plane.credentials import per_session
from data_plane.credentials.ports import CredentialError, Lease, Made, Need, PasswordCredential
from data_plane.policy.model import SessionRoles, TargetCredential
from tests.support.accounts import OWN, SPEC, MemoryAccounts, MemoryTarget, Process, facts, leases_on_disk, need


async def obtained(running: Process, session: str = "ses_1") -> PasswordCredential:
    credential = await running.source.obtain(need(session))
    assert isinstance(credential, PasswordCredential)
    return credential


async def test_each_session_gets_an_account_that_is_gone_after_it(
    running: Process, target: MemoryTarget, tmp_path: Path
) -> None:
    one, two = await obtained(running, "ses_1"), await obtained(running, "ses_2")
    assert target.sign_in(one)
    assert target.sign_in(two)
    assert one.username != two.username

    await running.source.release(facts("ses_1"))
    await running.settled()

    assert not target.sign_in(one)
    assert list(target.accounts) == [two.username]
    assert list(leases_on_disk(tmp_path / "leases.db").values()) == ["active"]
    assert running.told.all == [("leased", one.username), ("leased", two.username), ("gone", one.username)]


async def test_nobody_signs_in_again_once_the_session_has(running: Process, target: MemoryTarget) -> None:
    credential = await obtained(running)
    assert target.sign_in(credential)
    await running.source.signed_in(facts().id)
    target.accounts[credential.username].sessions = 0
    assert not target.sign_in(credential)
    await running.source.release(facts())
    await running.source.signed_in(facts().id)
    await running.settled()


async def test_an_account_that_stays_open_is_a_refusal(running: Process, target: MemoryTarget) -> None:
    await obtained(running)
    target.broken = "the target cannot be reached"
    with pytest.raises(CredentialError, match="cannot be reached"):
        await running.source.signed_in(facts().id)


async def test_a_target_without_session_roles_uses_its_one_credential(running: Process, target: MemoryTarget) -> None:
    plain = msgspec.structs.replace(SPEC, credential=TargetCredential())
    assert await running.source.obtain(need("ses_1", plain)) == OWN
    await running.source.signed_in(facts().id)
    assert not running.source.lacks(facts().id, ["ddl"])
    await running.source.widen(facts().id, ["ddl"])
    await running.source.narrow(facts().id)
    await running.source.release(facts())
    assert await running.source.own() == OWN
    assert await running.source.preview() is None
    assert target.made == 0


async def test_a_release_returns_before_anything_is_removed(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    await obtained(running)
    removing = asyncio.Event()
    provider.at = lambda step: removing if step == "remove" else None

    await running.source.release(facts())
    await running.source.release(facts())

    assert target.accounts
    removing.set()
    await running.settled()
    assert not target.accounts


async def test_without_a_place_for_the_lease_no_account_is_made(
    running: Process, target: MemoryTarget, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "leases.db")
    other.execute("ALTER TABLE leases RENAME TO elsewhere")
    other.commit()
    with pytest.raises(CredentialError, match="cannot be written"):
        await obtained(running)
    other.execute("ALTER TABLE elsewhere RENAME TO leases")
    other.commit()
    other.close()

    await running.source.release(facts())
    await running.settled()
    assert target.made == 0
    assert running.told.all == []


async def test_an_account_that_cannot_be_made_leaves_nothing(
    running: Process, provider: MemoryAccounts, target: MemoryTarget, tmp_path: Path
) -> None:
    def fails(step: str) -> None:
        if step == "created":
            raise CredentialError("the answer was lost")

    provider.at = fails
    with pytest.raises(CredentialError, match="the answer was lost"):
        await obtained(running)
    await running.source.release(facts())
    await running.settled()
    assert not target.accounts
    assert leases_on_disk(tmp_path / "leases.db") == {}


async def test_a_bug_of_a_provider_is_a_refusal_that_names_no_secret(
    running: Process, provider: MemoryAccounts
) -> None:
    def fails(step: str) -> None:
        raise RuntimeError("password of gw_x")

    provider.at = fails
    with pytest.raises(CredentialError) as refused:
        await obtained(running)
    assert str(refused.value) == "the account was not made: RuntimeError"
    provider.at = lambda step: None
    await running.source.release(facts())
    await running.settled()


async def test_a_target_that_never_answers_is_given_up_on(
    running: Process, provider: MemoryAccounts, target: MemoryTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_session, "PATIENCE", 0.05)
    provider.at = lambda step: asyncio.Event() if step == "created" else None
    with pytest.raises(CredentialError, match="did not answer within"):
        await obtained(running)
    provider.at = lambda step: None
    await running.source.release(facts())
    await running.settled()
    assert not target.accounts


async def test_a_client_that_goes_away_while_its_account_is_made_leaves_nothing(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    """What has begun at the target is waited for, then undone: a removal that came first would find nothing."""
    going, reached = asyncio.Event(), asyncio.Event()

    def wait(step: str) -> asyncio.Event | None:
        if step != "created":
            return None
        reached.set()
        return going

    provider.at = wait
    opening = asyncio.ensure_future(running.source.obtain(need()))
    await reached.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await running.source.release(facts())
    assert target.accounts

    going.set()
    await running.settled()
    assert not target.accounts


async def test_a_client_that_goes_away_before_its_account_is_made_gets_none(
    running: Process, target: MemoryTarget, tmp_path: Path
) -> None:
    opening = asyncio.ensure_future(running.source.obtain(need()))
    await asyncio.sleep(0)  # its lease is being written
    opening.cancel()
    await running.source.release(facts())
    await running.settled()
    assert target.made == 0
    assert leases_on_disk(tmp_path / "leases.db") == {}


async def test_a_name_that_the_target_chose_is_on_the_disk_before_the_account_is_used(
    running: Process, provider: MemoryAccounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = provider.create

    async def chosen(lease: Lease, need: Need) -> Made:
        made = await create(msgspec.structs.replace(lease, principal="v-token-1"), need)
        return Made(made.credential, "v-token-1")

    monkeypatch.setattr(provider, "principal", lambda lease_id: "")
    monkeypatch.setattr(provider, "create", chosen)
    await obtained(running)
    assert list(leases_on_disk(tmp_path / "leases.db").values()) == ["active"]
    assert [one.lease.principal for one in await running.accounts._leases.all()] == ["v-token-1"]


async def test_the_lease_knows_when_nobody_can_sign_in_any_more(running: Process) -> None:
    short = SessionRoles(roles={}, sign_in_within="7s")
    spec = msgspec.structs.replace(SPEC, credential=TargetCredential(session_roles=short))
    await running.source.obtain(need("ses_1", spec))
    lease = running.source._accounts[facts().id].lease
    assert lease.expires_at - lease.created_at == 7.0
    assert lease.spec == spec
    assert len(lease.id) == 16


async def test_a_sign_in_time_that_is_none_is_refused_with_its_field(running: Process) -> None:
    wrong = SessionRoles(roles={}, sign_in_within="soon")
    spec = msgspec.structs.replace(SPEC, credential=TargetCredential(session_roles=wrong))
    with pytest.raises(CredentialError, match=r"session_roles\.sign_in_within: 'soon' is not a duration"):
        await running.source.obtain(need("ses_1", spec))


# ---------------------------------------------------------------- more for one operation


async def test_an_account_is_widened_until_it_is_narrowed(running: Process, target: MemoryTarget) -> None:
    credential = await obtained(running)
    assert running.source.lacks(facts().id, ["write"])
    assert not running.source.lacks(facts().id, ["read"])

    await running.source.widen(facts().id, ["write"])
    assert target.accounts[credential.username].roles == {"read", "+write"}
    await running.source.narrow(facts().id)
    assert target.accounts[credential.username].roles == {"read"}


async def test_a_widening_whose_operation_was_cancelled_is_taken_back(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    credential = await obtained(running)
    going, reached, narrowed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def at(step: str) -> asyncio.Event | None:
        if step == "narrow":
            narrowed.set()
        if step != "widened":
            return None
        reached.set()
        return going

    provider.at = at
    widening = asyncio.ensure_future(running.source.widen(facts().id, ["write"]))
    await reached.wait()
    widening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await widening
    assert target.accounts[credential.username].roles == {"read", "+write"}
    going.set()
    await narrowed.wait()
    await running.source.narrow(facts().id)  # waits for its turn
    assert target.accounts[credential.username].roles == {"read"}
    assert running.ended_sessions == []


async def test_a_session_ends_when_nobody_can_tell_what_it_was_given(
    running: Process, provider: MemoryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await obtained(running)
    monkeypatch.setattr(per_session, "PATIENCE", 0.05)
    provider.at = lambda step: asyncio.Event() if step == "widened" else None
    with pytest.raises(CredentialError, match="no wider right was given"):
        await running.source.widen(facts().id, ["write"])
    assert running.ended_sessions == ["ses_1 account-lost"]


async def test_a_plain_refusal_to_widen_leaves_the_session(running: Process, target: MemoryTarget) -> None:
    await obtained(running)
    target.broken = "no such role"
    with pytest.raises(CredentialError, match="no such role"):
        await running.source.widen(facts().id, ["write"])
    with pytest.raises(CredentialError, match="no such role"):
        await running.source.narrow(facts().id)
    assert running.ended_sessions == []


async def test_a_session_that_is_over_is_not_widened_any_more(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    await obtained(running)
    reached, going = asyncio.Event(), asyncio.Event()

    def at(step: str) -> asyncio.Event | None:
        if step != "widen":
            return None
        reached.set()
        return going

    provider.at = at
    first = asyncio.ensure_future(running.source.widen(facts().id, ["write"]))
    await reached.wait()
    second = asyncio.ensure_future(running.source.widen(facts().id, ["ddl"]))
    await asyncio.sleep(0)
    await running.source.release(facts())
    going.set()
    await first
    with pytest.raises(CredentialError, match="the session is over"):
        await second
    await running.settled()
    assert not target.accounts


async def test_what_is_being_removed_is_not_narrowed_before(
    running: Process, provider: MemoryAccounts, target: MemoryTarget
) -> None:
    await obtained(running)
    reached, going, steps = asyncio.Event(), asyncio.Event(), list[str]()

    def at(step: str) -> asyncio.Event | None:
        steps.append(step)
        reached.set()
        return going if step == "widen" else None

    provider.at = at
    widening = asyncio.ensure_future(running.source.widen(facts().id, ["write"]))
    await reached.wait()
    narrowing = asyncio.ensure_future(running.source.narrow(facts().id))
    closing = asyncio.ensure_future(running.source.signed_in(facts().id))
    await asyncio.sleep(0)
    await running.source.release(facts())
    going.set()
    await asyncio.gather(widening, narrowing, closing)
    await running.settled()
    assert not {"narrow", "signed-in"} & set(steps)
    assert not target.accounts


# ---------------------------------------------------------------- accounts that end by themselves


async def test_an_account_that_ends_by_itself_is_renewed_before(
    running: Process, provider: MemoryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_session, "_LEAST_PAUSE", 0.0)
    clock = running.accounts._shared.clock
    provider.ends_at = clock.now() + 0.3
    renewed = asyncio.Event()

    def at(step: str) -> None:
        if step == "renew":
            provider.renewed_to = clock.now() + 600
            renewed.set()

    provider.at = at
    await obtained(running)
    await renewed.wait()
    await running.source.narrow(facts().id)  # its turn comes after the renewal
    assert running.source._accounts[facts().id].lease.expires_at == provider.renewed_to
    assert running.ended_sessions == []


async def test_a_session_ends_with_an_account_that_cannot_be_renewed(
    running: Process, provider: MemoryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_session, "_LEAST_PAUSE", 0.0)
    ended = asyncio.Event()
    monkeypatch.setattr(running.source, "_useless", lambda account, why: ended.set())

    def at(step: str) -> None:
        if step == "renew":
            raise CredentialError("the largest age is reached")

    provider.at = at
    provider.ends_at = running.accounts._shared.clock.now() + 0.1
    await obtained(running)
    await ended.wait()


# ---------------------------------------------------------------- many at once


async def test_fifty_sessions_at_once_have_fifty_accounts_and_leave_none(
    running: Process, target: MemoryTarget, tmp_path: Path
) -> None:
    names = [f"ses_{number}" for number in range(50)]
    credentials = await asyncio.gather(*(obtained(running, name) for name in names))
    assert all(target.sign_in(one) for one in credentials)
    for name in names:
        await running.source.release(facts(name))
    await running.settled()
    assert not target.accounts
    assert leases_on_disk(tmp_path / "leases.db") == {}
