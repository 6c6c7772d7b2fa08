"""Impact previews at a real server: what they say of data that the planner misjudges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from data_plane.gate.impact import Figure, TableRows
from data_plane.protocols.postgres.preview.looking import NO_ROLE
from tests.integration.postgres.previewing import Shop, shop_of
from tests.support.postgres import PostgresServer

DRY = {"dry_run": True}
SKEWED = "delete from orders where region = 0 and tariff = 0"


@pytest.fixture(scope="module")
def shop(postgres: PostgresServer) -> Iterator[Shop]:
    with shop_of(postgres) as made:
        yield made


async def test_the_count_says_50_000_where_the_planner_says_5_000(shop: Shop) -> None:
    """Two columns that go together: the planner multiplies their shares."""
    impact = await shop.looks(SKEWED)
    assert impact.count == Figure(50_000)
    assert impact.estimate is not None
    assert impact.estimate.rows is not None
    assert 4_000 < impact.estimate.rows < 6_000
    assert impact.dry_run is not None
    assert impact.dry_run.missing == "this target does not consent to dry runs"
    assert impact.unguarded == ""
    facts = {fact.name: fact.value for fact in impact.facts}
    assert facts == {"does": "DELETE", "changes": "public.orders", "reads": "public.orders", "WHERE": "names a column"}
    assert "public.orders has about 500,000 rows by its statistics" in impact.notes


async def test_nothing_that_was_not_asked_for_is_looked_up(shop: Shop) -> None:
    impact = await shop.looks(SKEWED, "facts", role=None)
    assert impact.facts
    assert (impact.estimate, impact.count, impact.dry_run) == (None, None, None)


async def test_without_a_preview_role_the_card_says_so_and_the_sessions_account_is_not_used(shop: Shop) -> None:
    impact = await shop.looks(SKEWED, role=None)
    assert impact.facts
    assert impact.count == Figure(missing=NO_ROLE)


@pytest.mark.parametrize(
    ("text", "values", "formats", "types", "counted"),
    [
        ("delete from orders where id <= $1", [b"7"], (), (), 7),
        ("delete from orders where id <= $1", [(7).to_bytes(4, "big")], (1,), (23,), 7),
        ("update orders set note = $1 where id <= $2 and $3 = region", [b"x", b"30", b"0"], (), (25, 0, 0), 3),
        ("update orders as o set note = $2 where o.id = any($1) returning *", [b"{1,2}", None], (), (1007, 25), 2),
        ("update only parts set n = 0", [], (), (), 0),
        ("update parts set n = 0", [], (), (), 50),
        ("delete from orders -- all of them", [], (), (), 500_000),
        ("delete from orders where id in (select id from customers where name = 'n');", [], (), (), 20),
    ],
)
async def test_rows_are_counted_with_the_parameters_as_the_client_bound_them(
    shop: Shop, text: str, values: list[bytes | None], formats: tuple[int, ...], types: tuple[int, ...], counted: int
) -> None:
    impact = await shop.looks(text, "count", values=values, formats=formats, types=types)
    assert impact.count == Figure(counted)


async def test_names_mean_what_they_mean_in_the_session(shop: Shop) -> None:
    assert (await shop.looks("delete from orders", "count", settings={"search_path": "other"})).count == Figure(1)
    assert (await shop.looks("delete from other.orders", "count")).count == Figure(1)


async def test_settings_of_the_session_that_decide_what_a_text_means_are_set_up(shop: Shop) -> None:
    text = "delete from orders where date '02/03/2020' = date '2020-03-02'"
    assert (await shop.looks(text, "count")).count == Figure(0)
    assert (await shop.looks(text, "count", settings={"datestyle": "ISO, DMY"})).count == Figure(500_000)


async def test_a_setting_that_the_preview_role_may_not_make_gives_the_preview_up(shop: Shop) -> None:
    impact = await shop.looks(SKEWED, "count", settings={"session_replication_role": "replica"})
    assert impact.count is not None
    assert "the session's setting session_replication_role cannot be set up" in impact.count.missing


async def test_what_is_not_one_update_or_delete_of_one_table_is_estimated_and_not_counted(shop: Shop) -> None:
    for text in (
        "delete from orders using customers c where c.id = orders.id",
        "update orders set note = c.name from customers c where c.id = orders.id",
        "insert into orders select i.id + 1000000, 1, 1, 'x' from invoices i",
        "select * from orders where id < 100",
    ):
        impact = await shop.looks(text, "estimate", "count")
        assert impact.count == Figure(missing="only UPDATE and DELETE of one table are counted")
        assert impact.estimate is not None
        assert impact.estimate.rows, text


async def test_in_the_clients_transaction_the_card_says_that_its_changes_are_not_seen(shop: Shop) -> None:
    impact = await shop.looks(SKEWED, in_transaction=True, preview=DRY, role="pv_runner")
    assert impact.count == Figure(50_000)
    assert "what the client's open transaction has changed is not seen" in impact.notes
    assert impact.dry_run is not None
    assert "it would see nothing of what the client's open transaction has done" in impact.dry_run.missing


async def test_a_locked_table_ends_the_count_and_nothing_else(shop: Shop) -> None:
    locker = await asyncpg.connect(shop.server.url(shop.database))
    try:
        async with locker.transaction():
            await locker.execute("lock table orders in access exclusive mode")
            impact = await shop.looks(SKEWED, preview={"lock_timeout": "50ms"})
    finally:
        await locker.close()
    assert impact.count == Figure(missing="a lock was not free within 50ms")
    assert impact.estimate == Figure(missing="a lock was not free within 50ms")
    assert impact.facts


async def test_a_count_that_takes_too_long_is_given_up(shop: Shop) -> None:
    slow = "delete from orders where (select count(*) from orders a where a.note < orders.note || a.note) = 1"
    async with asyncio.timeout(20):
        impact = await shop.looks(slow, "estimate", "count", preview={"statement_timeout": "1s"})  # plenty for a plan
    assert impact.count == Figure(missing="it took longer than 1s, the limit of previews on this target")
    assert impact.estimate is not None
    assert impact.estimate.rows


async def test_what_the_preview_role_may_not_read_is_missing_with_its_reason(shop: Shop) -> None:
    impact = await shop.looks("delete from closed.hidden where id = 1", "count")
    assert impact.count is not None
    assert "the preview role may not do this" in impact.count.missing


async def test_a_target_that_cannot_be_reached_is_said(shop: Shop) -> None:
    impact = await shop.looks(SKEWED, "count", role="pv_nobody")
    assert impact.count is not None
    assert "the preview role could not sign in at the target (SQLSTATE 28P01)" in impact.count.missing


# ---------------------------------------------------------------- dry runs


async def test_a_dry_run_says_the_rows_of_each_table_cascades_included_and_changes_nothing(shop: Shop) -> None:
    impact = await shop.looks("delete from customers where id <= 2", preview=DRY, role="pv_runner")
    run = impact.dry_run
    assert run is not None
    assert (run.rows, run.missing) == (2, "")
    assert set(run.tables) == {
        TableRows("public.customers", deleted=2),
        TableRows("public.invoices", deleted=6),
        TableRows("public.lines", deleted=12),
    }
    assert run.keys is not None
    assert (run.keys.columns, sorted(run.keys.rows)) == (("id",), [("1",), ("2",)])
    assert "dead rows" in run.kept[0]
    assert await shop.value("select count(*) from lines") == 120


async def test_a_dry_run_finds_what_a_deferred_constraint_would_refuse(shop: Shop) -> None:
    impact = await shop.looks("delete from invoices where id = 5", preview=DRY, role="pv_runner")
    assert impact.dry_run is not None
    assert impact.dry_run.missing == "run dry, it fails: the target refused it (SQLSTATE 23503)"
    assert await shop.value("select count(*) from invoices where id = 5") == 1


async def test_keys_go_through_the_masks_before_they_leave_the_agent(shop: Shop) -> None:
    seen: list[bytes] = []

    def mask(description: bytes, rows: bytes) -> bytes:
        seen.append(description)
        return b""

    impact = await shop.looks("delete from customers where id <= 2", preview=DRY, role="pv_runner", mask=mask)
    assert impact.dry_run is not None
    assert impact.dry_run.keys is not None
    assert impact.dry_run.keys.rows == ()
    assert b"id\0" in seen[0]


async def test_a_dry_run_binds_as_the_client_did(shop: Shop) -> None:
    impact = await shop.looks(
        "update orders set note = $1 where id <= $2", "dry-run", values=[b"dry", (9).to_bytes(4, "big")],
        formats=(0, 1), types=(25, 23), preview=DRY, role="pv_runner",
    )  # fmt: skip
    assert impact.dry_run is not None
    assert impact.dry_run.rows == 9
    assert await shop.value("select count(*) from orders where note = 'dry'") == 0
