"""The lists of names agree with each other; tests/integration asks a server about them."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres.statements import catalogue


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LISTS = ("functions_harmless", "functions_writing", "functions_administrative", "functions_executing")
DANGEROUS = words("""
    pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_import lo_export dblink dblink_exec query_to_xml
    table_to_xml database_to_xml cursor_to_xml ts_stat xpath_table crosstab set_config pg_reload_conf
    pg_terminate_backend pg_cancel_backend pg_notify pg_logical_emit_message pg_create_logical_replication_slot
    pg_drop_replication_slot pg_import_system_collations pg_advisory_lock nextval setval
""")


def test_a_function_is_in_one_list() -> None:
    for one in LISTS:
        for other in LISTS:
            assert one == other or not catalogue.names(one) & catalogue.names(other)


@pytest.mark.parametrize("name", sorted(DANGEROUS))
def test_what_is_dangerous_is_not_harmless(name: str) -> None:
    assert name not in catalogue.HARMLESS


def test_what_reveals_nothing_or_is_opaque_is_harmless_to_call() -> None:
    assert catalogue.REVEALING_NOTHING <= catalogue.HARMLESS
    assert catalogue.OPAQUE <= catalogue.HARMLESS
    assert not catalogue.OPAQUE & catalogue.REVEALING_NOTHING


def test_lists_hold_plain_names() -> None:
    for file in LISTS:
        assert all(name.isidentifier() and name == name.lower() for name in catalogue.names(file))
    assert len(catalogue.HARMLESS) > 500
    assert len(catalogue.OPERATORS) > 70
    assert {"#", "->>", "!=", "<>", "=", "||"} <= catalogue.OPERATORS
