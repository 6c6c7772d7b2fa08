"""One transaction: what is written, audited and told happens together or not at all."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.audit.tables import AuditRow
from control_plane.config import Settings
from control_plane.kit.events import RESYNC, LocalEvents, News
from control_plane.kit.idempotency import IdempotencyRow
from control_plane.kit.postgres_events import PostgresEvents
from control_plane.kit.revision import current_revision
from control_plane.kit.unit_of_work import SYSTEM, AuditEvent, UnitOfWork, Units
from tests.control_plane.conftest import QUICK, ManualClock

EVENT = AuditEvent("thing.done", SYSTEM, "thing")


def row(uow: UnitOfWork, key: str) -> IdempotencyRow:
    return IdempotencyRow(caller="c", key=key, request_hash="h", answer="{}", created_at=uow.now)


async def next_of(subscription, *, but: News = RESYNC) -> News:
    async with asyncio.timeout(5):
        while (news := await subscription.get()) == but:
            pass
    return news


async def test_rows_audit_and_news_happen_together(units: Units, control_plane: ControlPlane):
    async with control_plane.events.subscribe("thing") as told:
        async with units() as uow:
            uow.session.add(row(uow, "a"))
            uow.audit(EVENT)
            uow.notify("thing", "1")
        assert await next_of(told) == News("thing", "1")
    async with units.reading() as uow:
        assert [entry.kind for entry in (await uow.session.exec(select(AuditRow))).all()] == ["thing.done"]
        assert await uow.session.get(IdempotencyRow, ("c", "a")) is not None


async def test_a_failure_undoes_all_of_them(units: Units, control_plane: ControlPlane):
    async with control_plane.events.subscribe("thing") as told:
        with pytest.raises(RuntimeError):
            async with units() as uow:
                uow.session.add(row(uow, "a"))
                uow.audit(EVENT)
                uow.notify("thing", "undone")
                raise RuntimeError
        async with units() as uow:
            uow.notify("thing", "done")
        assert await next_of(told) == News("thing", "done")
    async with units.reading() as uow:
        assert (await uow.session.exec(select(AuditRow))).all() == []
        assert await uow.session.get(IdempotencyRow, ("c", "a")) is None


async def test_a_last_check_undoes_everything(units: Units):
    async def refuse(_uow: UnitOfWork) -> None:
        raise RuntimeError("not like this")

    with pytest.raises(RuntimeError, match="not like this"):
        async with units() as uow:
            uow.session.add(row(uow, "a"))
            uow.check_last(refuse)
    async with units.reading() as uow:
        assert await uow.session.get(IdempotencyRow, ("c", "a")) is None


async def test_a_reading_unit_neither_audits_nor_notifies(units: Units):
    async with units.reading() as uow:
        with pytest.raises(RuntimeError, match="only reads"):
            uow.audit(EVENT)
        with pytest.raises(RuntimeError, match="only reads"):
            uow.notify("thing")


async def test_a_reader_does_not_wait_for_the_writer_and_sees_nothing_of_it(units: Units):
    async with units() as writing:
        writing.session.add(row(writing, "a"))
        await writing.session.flush()
        async with units.reading() as reading:
            assert await reading.session.get(IdempotencyRow, ("c", "a")) is None


async def test_many_writers_at_once_all_get_their_turn(units: Units):
    async def write() -> int:
        async with units() as uow:
            uow.audit(EVENT)
            return await uow.snapshot_changed()

    numbers = await asyncio.gather(*(write() for _ in range(20)))
    assert sorted(numbers) == list(range(2, 22))
    async with units.reading() as uow:
        assert await current_revision(uow.session, "snapshot") == 21


async def test_another_replica_hears_of_a_commit(control_plane: ControlPlane, settings: Settings, clock: ManualClock):
    if control_plane.database.single_writer:
        assert isinstance(control_plane.events, LocalEvents)
        return
    other = ControlPlane(settings, clock, QUICK)
    await other.open()
    try:
        async with other.events.subscribe("approval") as told:
            async with control_plane.units() as uow:
                uow.notify("approval", "apr_1")
            assert await next_of(told) == News("approval", "apr_1")
    finally:
        await other.close()


async def test_a_lost_listener_comes_back_and_asks_everybody_to_read_again(control_plane: ControlPlane, units: Units):
    if not isinstance(control_plane.events, PostgresEvents):
        return
    async with control_plane.events.subscribe("approval") as told:
        async with units() as uow:
            connection = await uow.session.connection()
            await connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
                " AND datname = current_database()"
            )
        async with asyncio.timeout(10):
            assert await told.get() == RESYNC
        async with units() as uow:
            uow.notify("approval", "later")
        assert await next_of(told) == News("approval", "later")


async def test_a_slow_subscriber_is_told_to_read_again_instead_of_filling_memory():
    events = LocalEvents()
    subscription = events.subscribe("thing")
    events.committed([News("thing", str(number)) for number in range(5000)])
    told = [subscription._queue.get_nowait() for _ in range(subscription._queue.qsize())]
    assert len(told) <= 1024
    assert told[0] == RESYNC
    assert told[-1] == News("thing", "4999")


async def test_news_that_comes_together_is_gathered_once():
    events = LocalEvents()
    async with events.subscribe("thing") as told:
        events.committed([News("thing", "1"), News("thing", "2")])
        gathering = asyncio.ensure_future(told.gathered(0.01))
        await asyncio.sleep(0)
        events.committed([News("thing", "3")])
        await gathering
        events.committed([News("thing", "4")])
        assert await told.get() == News("thing", "4")


async def test_what_is_news_together_is_heard_at_once_and_each_once():
    events = LocalEvents()
    async with events.subscribe("thing", "other") as told:
        events.committed([News("thing", "1"), News("other", "1"), News("thing", "1"), News("thing", "2")])
        assert await told.some() == [News("thing", "1"), News("other", "1"), News("thing", "2")]
        events.committed([News("thing", "1")])
        assert await told.some() == [News("thing", "1")]
