"""Accounts as agents report them: in order, out of order, twice and by the wrong one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from sqlmodel import select

from control_plane.accounts.domain import STUCK, State, then
from control_plane.accounts.reports import EndedReport, LeasedReport
from control_plane.accounts.repository import Filter
from control_plane.accounts.service import AccountService
from control_plane.accounts.tables import AccountRow
from control_plane.kit.errors import InvalidError
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.pagination import Paging, decode_cursor
from control_plane.sessions.reports import Reporter
from tests.control_plane.world import REPORTER, World

SIBLING = Reporter("demo", "ins_two", "boot-9")  # another worker of the same agent
STRANGER = Reporter("other", "ins_other", "boot-1")
LEASED = LeasedReport("lease1", 1_000, "ses_1", "orders", "postgres-roles", "gw_lease1", 31_000)
GONE = EndedReport("lease1", 2_000, "gone", "", "orders", "gw_lease1")


def ended(outcome: str, at_ms: int = 2_000, detail: str = "") -> EndedReport:
    return msgspec.structs.replace(GONE, outcome=outcome, at_ms=at_ms, detail=detail)


async def report(world: World, *reports: LeasedReport | EndedReport, by: Reporter = REPORTER) -> None:
    service = AccountService()
    for one in reports:
        async with world.units() as uow:
            if isinstance(one, LeasedReport):
                await service.leased(uow, by, one)
            else:
                await service.ended(uow, by, one)


async def rows(world: World, wanted: Filter | None = None) -> Sequence[AccountRow]:
    async with world.units.reading() as uow:
        return (await AccountService().listed(uow, wanted or Filter(), Paging()))[0]


async def only(world: World) -> AccountRow:
    (row,) = await rows(world)
    return row


async def notices(world: World) -> list[tuple[str, str]]:
    async with world.units.reading() as uow:
        return [(row.kind, row.key) for row in (await uow.session.exec(select(NoticeRow))).all()]


async def test_from_leased_to_gone(world: World) -> None:
    await report(world, LEASED)
    row = await only(world)
    assert (row.state, row.session_id, row.target, row.principal) == ("open", "ses_1", "orders", "gw_lease1")
    assert (row.provider, row.agent_name, row.expires_at_ms) == ("postgres-roles", "demo", 31_000)

    await report(world, GONE)
    assert (await only(world)).state == "gone"
    assert await world.audited_kinds("account.") == ["account.leased", "account.gone"]
    assert await notices(world) == []


async def test_an_account_that_will_not_go_is_told_once_and_later_gone(world: World) -> None:
    await report(world, LEASED, ended("failed", 2_000, "cannot be reached"), ended("disabled", 3_000, "2BP01\0"))
    row = await only(world)
    assert (row.state, row.detail, row.changed_at_ms) == ("disabled", "2BP01", 3_000)
    assert await notices(world) == [("account.stuck", "lease1")]

    await report(world, ended("gone", 4_000))
    assert (await only(world)).state == "gone"
    kinds = await world.audited_kinds("account.")
    assert kinds == ["account.leased", "account.stuck", "account.stuck", "account.gone"]


async def test_a_worker_may_report_the_end_before_the_dead_one_has_reported_the_beginning(world: World) -> None:
    await report(world, ended("gone", 2_000), by=SIBLING)
    await report(world, LEASED)
    row = await only(world)
    assert (row.state, row.session_id, row.provider, row.leased_at_ms) == ("gone", "ses_1", "postgres-roles", 1_000)


async def test_late_news_does_not_bring_an_account_back(world: World) -> None:
    await report(world, LEASED, GONE, ended("failed", 1_500, "cannot be reached"))
    assert (await only(world)).state == "gone"
    assert await notices(world) == []


async def test_an_account_that_was_found_has_no_session(world: World) -> None:
    await report(world, EndedReport("gw_left", 5_000, "disabled", "owns a table", "orders", "gw_left"))
    row = await only(world)
    assert (row.session_id, row.provider, row.state) == ("", "", "disabled")


async def test_a_name_of_any_length_is_kept_as_far_as_it_fits(world: World) -> None:
    await report(world, msgspec.structs.replace(LEASED, principal=""))
    await report(
        world, msgspec.structs.replace(GONE, outcome="failed", principal="v-token database/creds/" + "x" * 500)
    )
    row = await only(world)
    assert row.principal.startswith("v-token database/creds/xxx")
    assert len(row.principal) == 255


async def test_another_agent_cannot_report_of_it(world: World) -> None:
    await report(world, LEASED)
    await report(world, GONE, by=STRANGER)
    await report(world, msgspec.structs.replace(LEASED, session_id="ses_2"), by=STRANGER)
    row = await only(world)
    assert (row.state, row.session_id) == ("open", "ses_1")
    assert (await world.audited_kinds("account."))[1:] == ["account.unknown-reported"] * 2


@pytest.mark.parametrize("lease_id", ["", "x" * 65])
async def test_an_id_that_no_agent_makes_is_refused(world: World, lease_id: str) -> None:
    with pytest.raises(ValueError, match="the id of a lease"):
        await report(world, msgspec.structs.replace(LEASED, lease_id=lease_id))
    assert await rows(world) == []


async def test_an_outcome_that_is_not_known_is_refused(world: World) -> None:
    await report(world, LEASED)
    with pytest.raises(ValueError, match="no outcome of an account"):
        await report(world, ended("vanished"))


async def test_two_workers_that_report_at_once_both_come_through(world: World) -> None:
    await asyncio.gather(
        *(report(world, msgspec.structs.replace(LEASED, lease_id=f"lease{number}")) for number in range(5)),
        *(report(world, msgspec.structs.replace(GONE, lease_id=f"lease{number}"), by=SIBLING) for number in range(5)),
    )
    found = await rows(world)
    assert {(row.id, row.state, row.session_id) for row in found} == {(f"lease{n}", "gone", "ses_1") for n in range(5)}


async def test_the_list_is_newest_first_filtered_and_paged(world: World) -> None:
    for number, outcome in enumerate(("", "gone", "disabled", "failed", "")):
        name = f"lease{number}"
        await report(world, msgspec.structs.replace(LEASED, lease_id=name, at_ms=number, session_id=f"ses_{number}"))
        if outcome:
            await report(world, msgspec.structs.replace(ended(outcome), lease_id=name))
    await report(world, msgspec.structs.replace(LEASED, lease_id="elsewhere", target="bank", at_ms=9))

    async def names(**wanted: object) -> list[str]:
        return [row.id for row in await rows(world, Filter(**wanted))]  # type: ignore[arg-type]

    assert await names() == ["elsewhere", "lease4", "lease3", "lease2", "lease1", "lease0"]
    assert await names(states=STUCK) == ["lease3", "lease2"]
    assert await names(states={State.OPEN}, target="orders") == ["lease4", "lease0"]
    assert await names(session="ses_3") == ["lease3"]

    async with world.units.reading() as uow:
        first, cursor = await AccountService().listed(uow, Filter(), Paging(4))
        assert cursor is not None
        second, end = await AccountService().listed(uow, Filter(), Paging(4, decode_cursor(cursor)))
        assert [row.id for row in [*first, *second]] == await names()
        assert end is None
        with pytest.raises(InvalidError):
            await AccountService().listed(uow, Filter(), Paging(4, ("x",)))


def test_what_is_gone_stays_gone() -> None:
    table = {(before, outcome): then(before, outcome) for before in State for outcome in ("gone", "disabled", "failed")}
    assert {after for (before, _), after in table.items() if before is State.GONE} == {State.GONE}
    assert table[State.FAILED, "disabled"] is State.DISABLED
    assert table[State.OPEN, "gone"] is State.GONE
