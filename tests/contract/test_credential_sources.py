"""What every provider of accounts keeps, each against its real target where one can be had: an account is usable from
`obtain` on, by nobody after `release`, and whatever crashes in between, the next process finds and removes it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from control_plane.cli.demo.postgres import bundled_binaries
from data_plane.credentials.ports import Found, Lease, Need, PasswordCredential
from data_plane.identifiers import SessionId
from tests.support.accounts import TARGET, Process, facts, leases_on_disk, need, process
from tests.support.places import DATABASE, MemoryPlace, Place, PostgresPlace, Use
from tests.support.postgres import PostgresServer, running_postgres

PLACES = ("memory", "postgres", "postgres-bundled")


@pytest.fixture(scope="module")
def servers(postgres: PostgresServer) -> Iterator[dict[str, tuple[PostgresServer, PasswordCredential]]]:
    """The system's and that of the bundled wheel: their rules for roles differ."""
    with running_postgres(bin_folder=bundled_binaries(), tls=False) as bundled:
        both = {"postgres": postgres, "postgres-bundled": bundled}
        yield {name: (server, PostgresPlace.found(server)) for name, server in both.items()}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return MemoryPlace(tmp_path / "leases.db")
    return PostgresPlace(*request.getfixturevalue("servers")[request.param])


@pytest.fixture
async def running(place: Place, tmp_path: Path) -> AsyncIterator[Process]:
    async with process(tmp_path, "worker-0.boot_1", place.provider(), place.spec) as one:
        yield one


def needed(place: Place, session: str = "ses_1") -> Need:
    return msgspec.structs.replace(need(session, place.spec), database=DATABASE)


async def opened(place: Place, running: Process, session: str = "ses_1") -> tuple[PasswordCredential, Use]:
    """A session as far as its first byte."""
    credential = await running.source.obtain(needed(place, session))
    assert isinstance(credential, PasswordCredential)
    use = await place.use(credential)
    assert use is not None
    await running.source.signed_in(SessionId(session))
    return credential, use


async def gone(place: Place, running: Process, credential: PasswordCredential) -> bool:
    await running.settled()
    return not await place.exists(credential.username) and await place.use(credential) is None


async def test_an_account_is_usable_until_its_session_is_over_and_gone_then(
    place: Place, running: Process, tmp_path: Path
) -> None:
    credential, use = await opened(place, running)
    assert await use.alive()
    assert await place.use(credential) is None, "nobody else signs in beside its session"

    await running.source.release(facts())
    assert await gone(place, running, credential)
    assert not await use.alive(), "what still ran under it has ended"
    assert leases_on_disk(tmp_path / "leases.db") == {}
    assert running.told.all == [("leased", credential.username), ("gone", credential.username)]
    await use.end()


async def test_two_sessions_have_two_accounts_and_one_end_leaves_the_other(place: Place, running: Process) -> None:
    first, one = await opened(place, running, "ses_1")
    second, two = await opened(place, running, "ses_2")
    assert first.username != second.username
    await running.source.release(facts("ses_1"))
    assert await gone(place, running, first)
    assert await two.alive()
    await running.source.release(facts("ses_2"))
    assert await gone(place, running, second)
    await one.end()
    await two.end()


async def test_an_account_that_nobody_signed_in_with_goes_as_well(place: Place, running: Process) -> None:
    credential = await running.source.obtain(needed(place))
    assert isinstance(credential, PasswordCredential)
    await running.source.release(facts())
    assert await gone(place, running, credential)


async def test_removing_what_was_never_made_or_is_gone_is_no_error(place: Place) -> None:
    provider = place.provider()
    lease = lease_of(place, provider.principal("a" * 16))
    await provider.remove(lease)
    await provider.remove(lease)
    assert lease.principal not in [found.principal for found in await provider.existing(place.spec)]
    await provider.close()


@pytest.mark.parametrize("when", ["made", "signed in", "being removed"])
async def test_what_a_crash_leaves_is_removed_by_the_next_process(place: Place, tmp_path: Path, when: str) -> None:
    dead = Process(tmp_path, "worker-0.boot_1", place.provider(), place.spec)
    use: Use | None = None
    if when == "made":
        credential = await dead.source.obtain(needed(place))
    else:
        credential, use = await opened(place, dead)
    if when == "being removed":
        await dead.source.release(facts())
        await asyncio.sleep(0)
    await dead.crash()
    assert isinstance(credential, PasswordCredential)

    async with process(tmp_path, "worker-0.boot_2", place.provider(), place.spec) as running:
        assert await gone(place, running, credential)
        assert use is None or not await use.alive()
        assert leases_on_disk(tmp_path / "leases.db") == {}
    if use is not None:
        await use.end()


async def test_an_account_that_a_living_session_of_another_worker_uses_stays(
    place: Place, running: Process, tmp_path: Path
) -> None:
    credential, use = await opened(place, running)
    async with process(tmp_path, "worker-1.boot_1", place.provider(), place.spec) as other:
        await other.settled()
        assert await use.alive()
    await running.source.release(facts())
    assert await gone(place, running, credential)
    await use.end()


async def test_without_its_lease_an_account_is_found_and_goes_when_nobody_can_be_using_it(
    place: Place, tmp_path: Path
) -> None:
    lost = tmp_path
    dead = Process(lost, "worker-0.boot_1", place.provider(), place.spec)
    credential = await dead.source.obtain(needed(place))
    assert isinstance(credential, PasswordCredential)
    await dead.crash()
    for file in lost.glob("leases.db*"):
        file.unlink()
    shutil.rmtree(lost / "owners")

    async with process(tmp_path, "worker-0.boot_2", place.provider(), place.spec) as running:
        await running.settled()
        assert await place.exists(credential.username), "somebody may be about to sign in with it"
        await place.sign_in_time_over(credential.username)
        (found,) = [
            one for one in await running.source.provider.existing(place.spec) if one.principal == credential.username
        ]
        assert found == Found(credential.username, found.lease, can_sign_in=False, in_use=False)
        await running.accounts._janitor.sweep()
        assert await gone(place, running, credential)


async def test_many_sessions_at_once(place: Place, running: Process) -> None:
    names = [f"ses_{number}" for number in range(12)]
    sessions = await asyncio.gather(*(opened(place, running, name) for name in names))
    for name in names:
        await running.source.release(facts(name))
    await running.settled()
    assert [await place.exists(credential.username) for credential, _ in sessions] == [False] * len(names)
    assert running.accounts.orphans == 0
    for _, use in sessions:
        await use.end()


def lease_of(place: Place, principal: str) -> Lease:
    return Lease("a" * 16, SessionId("ses_1"), TARGET, "any", principal, DATABASE, 0.0, 0.0, place.spec)
