"""Binary values are read as PostgreSQL itself writes them: the server is the judge."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.recordings.postgres_results import ResultReader
from control_plane.recordings.postgres_values import _BINARY, read_value
from tests.support.postgres import PostgresServer

VALUES = [
    "true",
    "false",
    "'\\x00ff10'::bytea",
    "32767::int2",
    "(-2147483648)::int4",
    "9223372036854775807::int8",
    "4294967295::oid",
    "1.5::float4",
    "'-0.1'::float8",
    "'NaN'::float8",
    "'-Infinity'::float4",
    "'text with ⟨marks⟩'::text",
    "'varying'::varchar",
    "'x'::char(3)",
    "'a'::name",
    "'{\"a\": [1, null]}'::json",
    "'{\"a\": [1, null]}'::jsonb",
    "'6a3f1c9e-8d0b-4a77-9f0e-1d2c3b4a5f60'::uuid",
    "'2024-02-29'::date",
    "'1999-12-31'::date",
    "'infinity'::date",
    "'23:59:59.000001'::time",
    "'12:00'::time",
    "'12:00:00+05:30'::timetz",
    "'12:00:00-08'::timetz",
    "'2024-02-29 12:34:56.789'::timestamp",
    "'-infinity'::timestamp",
    "'2024-02-29 12:34:56+00'::timestamptz",
    "'10.1.2.3'::inet",
    "'10.0.0.0/8'::cidr",
    "'2001:db8::1'::inet",
    "ARRAY[1,2,NULL]::int4[]",
    "ARRAY[]::int4[]",
    "ARRAY[[1,2],[3,4]]",
    "ARRAY['plain','with \"quotes\"','', 'null', 'a,b', 'back\\slash']::text[]",
    "ARRAY['6a3f1c9e-8d0b-4a77-9f0e-1d2c3b4a5f60']::uuid[]",
]
NUMERICS = "0 0.0 1 -1 0.1 -0.0001 0.00000001 123456789.987654321 10000 10000.0001 1e20 1e-20 12345678901234567890.5 NaN Infinity -Infinity"


def both(server: PostgresServer, expression: str) -> tuple[int, bytes, str]:
    """Type, binary form and text form of one value."""
    with psycopg.connect(server.url()) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        binary = connection.cursor(binary=True).execute(f"SELECT {expression}")
        assert binary.pgresult is not None
        data = binary.pgresult.get_value(0, 0)
        text = connection.execute(f"SELECT {expression}").pgresult
        assert text is not None
        plain = text.get_value(0, 0)
        assert data is not None
        assert plain is not None
        return binary.pgresult.ftype(0), data, plain.decode()


@pytest.mark.parametrize("expression", [*VALUES, *(f"'{number}'::numeric" for number in NUMERICS.split())])
def test_it_reads_like_the_server_s_own_text(postgres: PostgresServer, expression: str) -> None:
    oid, data, text = both(postgres, expression)
    assert read_value(oid, data, binary=True) == text


def test_an_interval_is_readable(postgres: PostgresServer) -> None:
    oid, data, _ = both(postgres, "'1 mon 2 days 03:04:05.5'::interval")
    assert read_value(oid, data, binary=True) == "1 mons 2 days 03:04:05.500000"


def test_binary_that_was_announced_as_text_is_recognised(postgres: PostgresServer) -> None:
    """A statement described before its Bind says text for every column."""
    oid, data, text = both(postgres, "1041::int4")
    assert read_value(oid, data, binary=False) == text


@given(st.sampled_from(sorted(_BINARY)), st.binary(max_size=64))
def test_no_bytes_raise(oid: int, data: bytes) -> None:
    assert isinstance(read_value(oid, data, binary=True), str)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_output_raises(pieces: list[bytes]) -> None:
    reader = ResultReader()
    for piece in pieces:
        list(reader.feed(piece))
