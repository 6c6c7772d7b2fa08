"""Unmodified clients through listener, session glue and driver to a real PostgreSQL, with a core that lets all through."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import psycopg
import pytest

from data_plane.gate import admission
from data_plane.gate.interface import Code
from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.protocols.postgres.target_startup import encode_startup
from tests.support.postgres import PostgresServer
from tests.support.relaying import TOKEN, Relay, certificates, relaying


def spec_of(postgres: PostgresServer, database: str = "", mode: str = "verify-full") -> TargetSpec:
    ca = postgres.ca_pem if mode.startswith("verify") else ""
    return TargetSpec("postgres", "test", "agent", f"{postgres.host}:{postgres.port}", database, TargetTls(mode, ca))


def through(postgres: PostgresServer, **settings):
    database, mode = settings.pop("database", ""), settings.pop("mode", "verify-full")
    password = settings.pop("password", postgres.password)
    return relaying(spec_of(postgres, database, mode), postgres.superuser, password, **settings)


async def started(port: int, sql: str, *, password: str = TOKEN, **parameters: str) -> asyncio.subprocess.Process:
    wanted = {"host": "127.0.0.1", "port": str(port), "user": "robot", "dbname": "postgres"} | parameters
    conninfo = " ".join(f"{name}='{value}'" for name, value in wanted.items())
    return await asyncio.create_subprocess_exec(
        "psql",
        "-XAt",
        "-v",
        "VERBOSITY=verbose",
        conninfo,
        "-c",
        sql,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PGPASSWORD": password},
    )


async def psql(port: int, sql: str, *, password: str = TOKEN, **parameters: str) -> tuple[int, str, str]:
    process = await started(port, sql, password=password, **parameters)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def dsn(relay: Relay) -> str:
    return f"postgresql://robot:{TOKEN}@127.0.0.1:{relay.port}/postgres"


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def running(postgres: PostgresServer, application_name: str) -> int:
    connection = await asyncpg.connect(postgres.url())
    try:
        return await connection.fetchval(
            "select count(*) from pg_stat_activity where application_name = $1 and state = 'active'", application_name
        )
    finally:
        await connection.close()


async def until_running(postgres: PostgresServer, application_name: str, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while await running(postgres, application_name) != count:
            await asyncio.sleep(0.02)


# ------------------------------------------------------------------ ways in


async def test_psql_reads_through_the_gateway_and_leaves_nothing_behind(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        assert await psql(relay.port, "select 6*7", sslmode="disable") == (0, "42\n", "")
        await until(lambda: relay.sessions.count == 0)
        admitted = relay.admission.admitted[0]
        assert len(admitted.gate.closed_with) == 1
        assert len(admitted.recorder.closed_with) == 1
        assert len(relay.cancels) == 0
    credential, target, address, application, details = relay.admission.seen[0]
    assert (target, application, details) == ("orders", "psql", {"database": "postgres", "user": "robot"})
    assert address.startswith("127.0.0.1:")
    assert TOKEN not in repr(credential)


@pytest.mark.parametrize("mode", ["disable", "require", "verify-ca", "verify-full"])
async def test_every_tls_mode_towards_the_target_works(postgres: PostgresServer, mode: str) -> None:
    async with through(postgres, mode=mode) as relay:
        sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert await psql(relay.port, sql) == (0, "f\n" if mode == "disable" else "t\n", "")


async def test_psql_verifies_the_gateways_certificate(postgres: PostgresServer, tmp_path: Path) -> None:
    tls, *_ = certificates(tmp_path)
    async with through(postgres, tls=tls) as relay:
        trusted = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.crt")}
        assert await psql(relay.port, "select 1", **trusted) == (0, "1\n", "")


async def test_direct_tls_works(postgres: PostgresServer, tmp_path: Path) -> None:
    tls, *_ = certificates(tmp_path)
    async with through(postgres, tls=tls) as relay:
        trusted = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.crt"), "sslnegotiation": "direct"}
        code, out, err = await psql(relay.port, "select 1", **trusted)
        if "invalid connection option" in err:  # libpq before 17
            code, out, err = await direct_by_hand(relay.port, tmp_path)
        assert (code, out, err) == (0, "1\n", "")


async def direct_by_hand(port: int, folder: Path) -> tuple[int, str, str]:
    import ssl

    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.set_alpn_protocols(["postgresql"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(encode_startup("robot", "postgres", {}))
    answer = await reader.readexactly(9)
    writer.close()
    return (0, "1\n", "") if answer == b"R\0\0\0\x08\0\0\0\x03" else (1, "", repr(answer))


async def test_a_client_certificate_takes_the_place_of_the_token(postgres: PostgresServer, tmp_path: Path) -> None:
    tls, _, certificate, key = certificates(tmp_path)
    async with through(postgres, tls=tls) as relay:
        shown = {"sslmode": "require", "sslcert": str(certificate), "sslkey": str(key)}
        assert await psql(relay.port, "select 1", password="", **shown) == (0, "1\n", "")
    assert isinstance(relay.admission.seen[0][0], admission.CertificateCredential)


async def test_drivers_connect_unmodified(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        connection = await asyncpg.connect(dsn(relay))
        assert await connection.fetchval("select $1::int + 1", 41) == 42
        assert await connection.fetchval("select pg_backend_pid()") == connection.get_server_pid()
        await connection.close()
        async with await psycopg.AsyncConnection.connect(dsn(relay)) as other:
            cursor = await other.execute("select %s::text", ["ü"])
            assert await cursor.fetchone() == ("ü",)
            assert other.info.parameter_status("client_encoding") == "UTF8"


async def test_the_clients_allowed_settings_hold_at_the_target(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        options = "-c search_path=pg_catalog,public --statement-timeout=1234"
        sql = "select current_setting('search_path') || ' ' || current_setting('statement_timeout')"
        assert await psql(relay.port, sql, options=options) == (0, "pg_catalog,public 1234ms\n", "")
        assert relay.cores[0].parameters["search_path"] == "pg_catalog,public"
        assert relay.cores[0].parameters["user"] == "postgres"
        assert relay.cores[0].parameters["database"] == "postgres"


async def test_a_large_result_passes_whole(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        connection = await asyncpg.connect(dsn(relay))
        rows = await connection.fetch("select i, repeat('x', 100) from generate_series(1, 200000) i")
        assert len(rows) == 200000
        assert rows[-1][0] == 200000
        await connection.close()


async def test_a_client_that_does_not_read_is_not_buffered_without_bound(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        connection = await psycopg.AsyncConnection.connect(dsn(relay), autocommit=True)
        driver = relay.cores[0].output
        connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 500000)")
        connection.pgconn.flush()
        await until(lambda: driver.target.paused)
        assert driver.client.transport.get_write_buffer_size() < 2 * 1024 * 1024
        connection.pgconn.finish()
        await until(lambda: relay.sessions.count == 0)


# ------------------------------------------------------------------ refusals


async def test_a_bad_token_is_refused_as_a_bad_password(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        code, _, err = await psql(relay.port, "select 1", password="a-bad-token")
        assert code == 2
        assert "FATAL:  28P01: the token is not valid: get a new one" in err or "the token is not valid" in err
        assert "a-bad-token" not in err


@pytest.mark.parametrize(
    ("code", "sqlstate"),
    [(Code.POLICY, "42501"), (Code.UNAVAILABLE, "57P03"), (Code.LIMIT, "53300"), (Code.ENDED, "57P01")],
)
async def test_a_refused_admission_has_its_sqlstate(postgres: PostgresServer, code: Code, sqlstate: str) -> None:
    async with through(postgres) as relay:
        relay.admission.refusal = admission.Refused(code, "not here")
        with pytest.raises(asyncpg.PostgresError) as refused:
            await asyncpg.connect(dsn(relay), ssl=False)
        assert (refused.value.sqlstate, str(refused.value)) == (sqlstate, "not here")


async def refusal(relay: Relay, **named) -> asyncpg.PostgresError:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await asyncpg.connect(dsn(relay), ssl=False, **named)
    return refused.value


async def test_one_session_too_many_is_53300(postgres: PostgresServer) -> None:
    async with through(postgres, sessions={"most": 1}) as relay:
        connection = await asyncpg.connect(dsn(relay))
        assert (await refusal(relay)).sqlstate == "53300"
        await connection.close()


async def test_plaintext_is_refused_where_tls_is_required(postgres: PostgresServer, tmp_path: Path) -> None:
    tls, *_ = certificates(tmp_path)
    async with through(postgres, tls=tls, tls_required=True) as relay:
        assert (await refusal(relay)).sqlstate == "28000"
        assert (await psql(relay.port, "select 1", sslmode="require"))[1] == "1\n"


async def test_another_database_than_the_targets_is_refused(postgres: PostgresServer) -> None:
    async with through(postgres, database="postgres") as relay:
        assert (await refusal(relay, database="template1")).sqlstate == "3D000"
        assert await psql(relay.port, "select current_database()", dbname="robot") == (0, "postgres\n", "")


async def test_a_database_that_does_not_exist_is_told_as_the_target_tells_it(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        error = await refusal(relay, database="nowhere")
        assert (error.sqlstate, str(error)) == ("3D000", 'database "nowhere" does not exist')


async def test_what_the_target_says_of_the_agents_credential_stays_here(postgres: PostgresServer) -> None:
    async with through(postgres, password="wrong") as relay:
        error = await refusal(relay)
        assert error.sqlstate == "08004"
        assert postgres.superuser not in str(error)
        assert relay.admission.admitted[0].gate.closed_with == ["the target refused the agent's own credential"]


async def test_a_target_that_is_away_is_08001() -> None:
    spec = TargetSpec("postgres", "test", "agent", "127.0.0.1:1", "", TargetTls("disable"))
    async with relaying(spec, "app", "secret-password") as relay:
        error = await refusal(relay)
        assert (error.sqlstate, str(error)) == ("08001", "the target cannot be reached")


# ------------------------------------------------------------------ cancelling


async def test_ctrl_c_in_psql_cancels_the_statement(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        process = await started(relay.port, "select pg_sleep(20)", application_name="ctrl-c")
        await until_running(postgres, "ctrl-c")
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert b"57014" in err


@pytest.mark.parametrize("version", ["3.0", "3.2"])
async def test_libpq_cancels_with_either_protocol_version(
    postgres: PostgresServer, tmp_path: Path, version: str
) -> None:
    tls, *_ = certificates(tmp_path)
    newest = {"max_protocol_version": version} if psycopg.pq.version() >= 180000 else {}
    async with through(postgres, tls=tls) as relay:
        wanted = newest | {"sslmode": "require", "application_name": f"libpq-{version}"}
        connection = await psycopg.AsyncConnection.connect(dsn(relay), autocommit=True, **wanted)
        query = asyncio.ensure_future(connection.execute("select pg_sleep(20)"))
        await until_running(postgres, f"libpq-{version}")
        await connection.cancel_safe(timeout=5)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await query
        if newest:
            keys = [len(secret) for entries in relay.cancels._by_process.values() for secret, _ in entries]
            assert keys == [4 if version == "3.0" else 32]
        await connection.close()


async def test_a_cancel_over_tls_works(postgres: PostgresServer, tmp_path: Path) -> None:
    tls, *_ = certificates(tmp_path)
    async with through(postgres, tls=tls) as relay:
        connection = await asyncpg.connect(dsn(relay), ssl="require")
        with pytest.raises(TimeoutError):
            await connection.fetch("select pg_sleep(20)", timeout=0.2)
        assert await connection.fetchval("select 1") == 1
        await connection.close()


async def test_a_cancel_that_the_core_takes_does_not_reach_the_target(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        connection = await asyncpg.connect(dsn(relay))
        relay.cores[0].forward_cancel = False
        task = asyncio.ensure_future(connection.fetchval("select pg_sleep(0.5)::text || 'slept'"))
        await asyncio.sleep(0.1)
        await connection._cancel(asyncio.get_running_loop().create_future())
        assert await task == "slept"
        assert "cancel" in relay.cores[0].heard
        await connection.close()


async def test_cancels_do_not_hit_the_next_statement(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        connection = await psycopg.AsyncConnection.connect(dsn(relay), autocommit=True)
        for _ in range(20):
            query = asyncio.ensure_future(connection.execute("select pg_sleep(20)"))
            await asyncio.sleep(0.02)
            await connection.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await query
            assert await (await connection.execute("select 1")).fetchone() == (1,)
        await connection.close()
