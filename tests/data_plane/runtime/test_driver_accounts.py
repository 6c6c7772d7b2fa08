"""How the driver has the account of its session widened and narrowed, and what it tells the core of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest

from data_plane.credentials.of_session import SessionAccount
from data_plane.credentials.ports import CredentialError
from data_plane.identifiers import SessionId
from tests.data_plane.runtime.test_driver import Line, line

SESSION = SessionId("ses_1")


class Source:
    """A `CredentialSource`, as far as a driver asks it; each change waits until the test lets it go on."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.free = asyncio.Event()

    def lacks(self, session: SessionId, actions: Iterable[str]) -> bool:
        assert session == SESSION
        return "write" in set(actions)

    async def widen(self, session: SessionId, actions: Iterable[str]) -> None:
        await self._done("widen", session, *sorted(actions))

    async def narrow(self, session: SessionId) -> None:
        await self._done("narrow", session)

    async def _done(self, *what: str) -> None:
        self.asked.append(what)
        await self.free.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
async def source() -> Source:
    return Source()


def account(source: Source) -> SessionAccount:
    return SessionAccount(source, SESSION)  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def changes(it: Line) -> list[str]:
    return [word for word in it.core.heard if word.startswith("account ")]


async def test_the_core_hears_when_the_account_has_changed(source: Source) -> None:
    async with line(account=account(source)) as it:
        assert it.driver.lacks({"write"})
        assert not it.driver.lacks({"read"})
        it.driver.widen({"write", "read"})
        await until(lambda: source.asked)
        assert (source.asked, changes(it)) == ([("widen", "ses_1", "read", "write")], [])
        source.free.set()
        await until(lambda: changes(it))
        it.driver.narrow()
        await until(lambda: len(changes(it)) == 2)
        assert source.asked[1:] == [("narrow", "ses_1")]
        assert changes(it) == ["account changed"] * 2


async def test_the_core_hears_why_it_could_not(source: Source) -> None:
    source.free.set()
    async with line(account=account(source)) as it:
        for text in ("no right to grant shop_write", ""):
            source.error = CredentialError(text)
            it.driver.widen({"write"})
            await until(lambda: changes(it))
            assert it.core.heard.pop() == f"account {text or 'no reason was given'}"
            it.driver.narrow()
            await until(lambda: changes(it))
            assert it.core.heard.pop() == f"account {text or 'no reason was given'}"


@pytest.mark.parametrize("change", ["widen", "narrow"])
async def test_a_change_of_which_nobody_knows_whether_it_was_made_ends_the_session(source: Source, change: str) -> None:
    source.error = ValueError("a bug")
    source.free.set()
    async with line(account=account(source)) as it:
        it.driver.widen({"write"}) if change == "widen" else it.driver.narrow()
        async with asyncio.timeout(5):
            await it.driver.finished
        assert it.driver.reason == "failed: ValueError"
        assert changes(it) == []


async def test_a_client_that_has_gone_meanwhile_is_found_before_anything_runs_for_it(source: Source) -> None:
    async with line(account=account(source)) as it:
        it.driver.client.pause(2)  # it is not read, so that nobody hears of its end
        it.driver.widen({"write"})
        await until(lambda: source.asked)
        it.client[1].transport.abort()
        await until(it.driver.client.hung_up)
        source.free.set()
        await until(lambda: changes(it))
        assert it.core.heard == ["client closed", "account changed"]


@pytest.mark.parametrize("change", ["widen", "narrow"])
async def test_a_session_that_has_ended_hears_of_nothing(source: Source, change: str) -> None:
    async with line(account=account(source)) as it:
        it.driver.widen({"write"}) if change == "widen" else it.driver.narrow()
        await until(lambda: source.asked)
        it.driver.end("over")
        source.free.set()
        async with asyncio.timeout(5):
            await it.driver.finished
        assert changes(it) == []


async def test_without_an_account_of_its_own_nothing_is_lacking() -> None:
    async with line() as it:
        assert not it.driver.lacks({"write"})
        it.driver.widen({"write"})
        it.driver.narrow()
        assert changes(it) == []
