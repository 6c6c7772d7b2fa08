"""The lists of names that statements are judged by, against a real server: no drift, no wishful entries."""

from __future__ import annotations

import asyncpg
import pytest

from data_plane.protocols.postgres.statements import StatementClassifier, catalogue
from tests.support.postgres import PostgresServer


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Volatile for the planner, without an effect that outlives the call: read one by one.
VOLATILE_AND_HARMLESS = words(
    """clock_timestamp current_query currval gen_random_uuid lastval lo_close lo_get lo_lseek lo_lseek64 lo_tell
    lo_tell64 loread pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared pg_blocking_pids
    pg_collation_actual_version pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn
    pg_database_collation_actual_version pg_database_size pg_get_wal_replay_pause_state pg_indexes_size
    pg_is_in_recovery pg_is_wal_replay_paused pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn
    pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_notification_queue_usage pg_partition_ancestors
    pg_partition_tree pg_relation_size pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_sleep pg_sleep_for
    pg_sleep_until pg_table_size pg_tablespace_size pg_total_relation_size pg_xact_commit_timestamp pg_xact_status
    random setseed timeofday txid_status"""
)


@pytest.fixture
async def connection(postgres: PostgresServer) -> asyncpg.Connection:
    made = await asyncpg.connect(postgres.url())
    yield made
    await made.close()


async def test_a_function_that_may_have_effects_is_not_listed_as_harmless(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(
        "select distinct proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace and provolatile = 'v'"
    )
    volatile = {row["proname"] for row in rows}
    assert catalogue.HARMLESS & volatile <= VOLATILE_AND_HARMLESS
    assert len(volatile) > 100


async def test_listed_operators_and_types_are_the_servers(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch("select distinct oprname from pg_operator")
    assert {row["oprname"] for row in rows} <= catalogue.OPERATORS
    rows = await connection.fetch("select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace")
    assert {row["typname"] for row in rows} >= catalogue.TYPES


async def test_listed_parameters_may_be_set_by_anybody(connection: asyncpg.Connection) -> None:
    """A parameter that only a superuser may set is never of the session."""
    rows = await connection.fetch("select lower(name) as name from pg_settings where context <> 'user'")
    listed = catalogue.SETTINGS_WITH_MEANING | catalogue.SETTINGS_WITHOUT_MEANING
    assert listed & {row["name"] for row in rows} == set()


async def test_whatever_takes_a_whole_row_by_dot_is_opaque(connection: asyncpg.Connection) -> None:
    """`t.f` calls f(t): each built-in function that shows the row that way makes its output opaque."""
    await connection.execute("create temp table dotted as select 1 as k, 'canary'::text as v")
    names = await connection.fetch(
        "select distinct proname as name from pg_proc where pronamespace = 'pg_catalog'::regnamespace "
        "and proname ~ '^[a-z_0-9]+$' and (pronargs <= 1 or provariadic <> 0 or pronargdefaults > 0)"
    )
    shown = [row["name"] for row in names if await _shows_the_canary(connection, row["name"])]
    assert len(shown) > 8
    for name in shown:
        lineage = StatementClassifier().parse(f"select t.{name} from dotted t".encode()).statements[0].lineage
        assert lineage is not None
        assert lineage.outputs is not None
        assert lineage.outputs[0].opaque, name


async def _shows_the_canary(connection: asyncpg.Connection, name: str) -> bool:
    try:
        found = await connection.fetchval(f'select t."{name}"::text from dotted t')
    except asyncpg.PostgresError:
        return False
    return "canary" in str(found) or b"canary".hex() in str(found)
