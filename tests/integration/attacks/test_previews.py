"""A preview runs before anybody has approved anything: whatever a statement holds, nothing of it may have an effect."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest

from data_plane.gate.impact import Figure
from tests.integration.postgres.previewing import ALL, ROLES, Shop, shop_of
from tests.support.postgres import PostgresServer

DRY = {"dry_run": True}


@pytest.fixture(scope="module")
def shop(postgres: PostgresServer) -> Iterator[Shop]:
    with shop_of(postgres, rows=1_000) as made:
        yield made


async def untouched(shop: Shop) -> bool:
    """The sequence that every trap moves; it does not roll back."""
    return not await shop.value("select is_called from marks")


def sent(shop: Shop, text: str) -> bool:
    """Whether the server was ever given this, in whatever form."""
    return text in shop.server.log_path.read_text(errors="replace")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("delete from orders where id = mark()", "understood"),
        ("delete from orders where public.mark() = id", "understood"),
        ("update orders set region = mark() where id = 1", "understood"),
        ("delete from orders where id = nextval('marks')", "nextval()"),
        ("update orders set region = nextval('marks') where id = 1", "nextval()"),
        ("delete from orders where setval('marks', 7) = 7", "setval()"),
        ("delete from orders where pg_sleep(100) is not null", "pg_sleep()"),
        ("delete from orders where id === 1", "understood"),
        ("delete from orders where id operator(public.===) 1", "understood"),
        ("delete from orders where id = 1::amount", "understood"),
        ("update amounts set id = 1 where a = 5", ""),
        ("delete from orders where id in (select m from marked)", "understood"),
        ("delete from orders where id in (select id from plain)", "no ordinary table"),
        ("update plain set id = 1 where id = 2", "no ordinary table"),
        ("delete from orders where note = current_user", "who asks"),
        ("delete from orders where note = session_user::text", "who asks"),
        ("delete from orders where note = current_setting('role')", "current_setting()"),
        ("delete from orders where has_table_privilege('orders', 'delete')", "has_table_privilege()"),
        ("delete from orders where pg_advisory_lock(1) is null", ""),
        ("delete from orders where query_to_xml('select mark()', true, true, '') is null", ""),
        ("delete from orders where id = (select count(*) from dblink('', 'select 1') as t(a int))", ""),
        ("delete from secured where id = 1", "row security"),
        ("delete from ruled where id = 1", "public.ruled has rules"),
        ("delete from orders where exists (select from secured)", "row security"),
        ("delete from orders where current_catalog = 'x' and id in (select id from pg_temp.orders)", ""),
        ("with gone as (delete from orders returning id) delete from customers where id in (select id from gone)", ""),
        ("select * from orders for update", ""),
        ("delete from orders where id = 1; select mark()", "one statement at a time"),
        ("explain analyze delete from orders where id = mark()", ""),
        ("execute p", ""),
        ("truncate orders", ""),
        ("drop table orders", "only statements"),
        ("copy orders to stdout", "only statements"),
        ("do 'begin perform mark(); end'", ""),
        ("delete from nothing_known where id = 1", ""),
    ],
)
async def test_nothing_is_run_for_what_is_not_known_to_be_harmless(shop: Shop, text: str, why: str) -> None:
    impact = await shop.looks(text, preview=DRY, role="pv_runner")
    for found in (impact.estimate, impact.count, impact.dry_run):
        assert found is not None
        assert found.rows is None, text
        assert why in found.missing or (why == "understood" and "not known to be harmless" in found.missing), (
            found.missing
        )
    assert await untouched(shop)
    assert not sent(shop, f"assentry_rows {text}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("delete from guarded where id = 1", "public.guarded has a trigger"),
        ("insert into numbered (n) values (1)", "takes a number from a sequence"),
        ("insert into checked values (1, 1)", "has a constraint that calls a function of this database"),
        ("insert into amounts values (1, 1)", ""),
        ("update checked set n = 2 where id = 1", "has a constraint that calls a function of this database"),
    ],
)
async def test_a_dry_run_is_refused_where_changing_the_table_runs_anything_besides(
    shop: Shop, text: str, why: str
) -> None:
    impact = await shop.looks(text, "dry-run", preview=DRY, role="pv_runner")
    assert impact.dry_run is not None
    assert impact.dry_run.rows is None
    assert why in impact.dry_run.missing
    assert await untouched(shop)
    assert await shop.value("select coalesce((select last_value from numbered_id_seq where is_called), 0)") == 0


async def test_a_parameter_cannot_carry_a_second_statement(shop: Shop) -> None:
    impact = await shop.looks(
        "delete from orders where note = $1", "count", values=[b"'; select nextval('marks'); --"], types=(25,)
    )
    assert impact.count == Figure(0)
    assert await untouched(shop)


async def test_the_preview_role_may_not_write_and_one_that_may_is_not_used(shop: Shop) -> None:
    impact = await shop.looks("delete from orders where id = 1", "count", role="pv_runner")
    assert impact.count is not None
    assert "the preview role may write to public.orders" in impact.count.missing
    connection = await asyncpg.connect(
        host=shop.server.host, port=shop.server.port, user="pv_looker", password=ROLES["pv_looker"],
        database=shop.database,
    )  # fmt: skip
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("delete from orders where id = 1")
    finally:
        await connection.close()


async def test_a_role_that_may_write_to_one_column_is_one_that_may_write(shop: Shop) -> None:
    await shop.value("grant update (note) on orders to pv_looker")
    try:
        impact = await shop.looks("delete from orders where id = 1", "count")
        assert impact.count is not None
        assert "the preview role may write to public.orders" in impact.count.missing
    finally:
        await shop.value("revoke update (note) on orders from pv_looker")


async def test_even_a_role_that_may_write_counts_in_a_read_only_transaction(shop: Shop) -> None:
    await shop.looks("delete from orders where id = 1", *ALL[:3], preview=DRY, role="pv_runner")
    log = shop.server.log_path.read_text(errors="replace")
    at = log.rindex("SELECT pg_catalog.count(*) FROM orders")
    assert "BEGIN READ ONLY" in log[:at][log[:at].rindex("BEGIN READ") :].splitlines()[0]


async def test_a_superuser_is_no_preview_role(shop: Shop) -> None:
    impact = await shop.looks("delete from orders where id = 1", "count", role=shop.server.superuser)
    assert impact.count is not None
    assert "superuser" in impact.count.missing


async def test_a_name_that_is_another_table_for_the_preview_role_is_not_counted(shop: Shop) -> None:
    """The session's path starts with a schema that the preview role may not use: its names are skipped there."""
    await shop.value("create table if not exists closed.orders as select 1 as id")
    await shop.reload()
    try:
        impact = await shop.looks("delete from orders", "count", settings={"search_path": "closed, public"})
        assert impact.count is not None
        assert impact.count.rows is None
    finally:
        await shop.value("drop table closed.orders")
        await shop.reload()


async def test_a_name_that_means_another_table_by_now_is_not_counted(shop: Shop) -> None:
    """The catalogue is a moment old: the path finds a table that has been made since first."""
    await shop.value("create table other.customers as select 1 as id")
    await shop.value("grant select on other.customers to pv_looker")
    try:
        impact = await shop.looks("delete from customers", "count", settings={"search_path": "other, public"})
        assert impact.count is not None
        assert "customers is another relation for the preview role" in impact.count.missing
    finally:
        await shop.value("drop table other.customers")


async def test_names_that_the_open_transaction_changed_are_not_looked_up(shop: Shop) -> None:
    impact = await shop.looks("delete from orders", "count", altered=frozenset({"orders"}))
    assert impact.count is not None
    assert impact.count.rows is None


async def test_what_the_target_says_in_an_error_is_not_shown(shop: Shop) -> None:
    """An error quotes data: 22P02 shows the value that could not be read."""
    impact = await shop.looks("delete from customers where email::int = 5", "count")
    assert impact.count == Figure(missing="the target refused it (SQLSTATE 22P02)")
