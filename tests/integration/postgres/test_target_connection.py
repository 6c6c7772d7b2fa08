"""Opening a real PostgreSQL with every method of authentication and TLS, and refusing the wrong ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
import trustme

from data_plane.credentials.ports import PasswordCredential
from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.protocols.postgres.target_connection import Address, Opened, open_target, read_address
from data_plane.protocols.postgres.target_startup import Failed
from data_plane.runtime.secret import Secret
from tests.support.postgres import PostgresServer

METHODS = {
    "wire_scram": "host all wire_scram 127.0.0.1/32 scram-sha-256",
    "wire_md5": "host all wire_md5 127.0.0.1/32 md5",
    "wire_password": "host all wire_password 127.0.0.1/32 password",
    "wire_trust": "host all wire_trust 127.0.0.1/32 trust",
    "wire_reject": "host all wire_reject 127.0.0.1/32 reject",
}


@pytest.fixture(scope="module")
def methods(postgres: PostgresServer) -> Iterator[PostgresServer]:
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("\n".join(METHODS.values()) + "\n" + before)
    postgres.execute("set password_encryption = md5; create role wire_md5 login password 'päss'")
    names = [name for name in METHODS if name != "wire_md5"]
    postgres.execute(*(f"create role {name} login password 'päss'" for name in names), "select pg_reload_conf()")
    yield postgres
    rules.write_text(before)
    postgres.execute(*(f"drop role {name}" for name in METHODS), "select pg_reload_conf()")


async def opening(server: PostgresServer, user: str, **named: str) -> Opened | Failed:
    mode = named.pop("mode", "verify-full")
    ca = named.pop("ca", server.ca_pem)
    address = named.pop("address", f"{server.host}:{server.port}")
    spec = TargetSpec("postgres", "test", "agent", address, "", TargetTls(mode, ca))
    credential = PasswordCredential(user, Secret(named.pop("password", "päss")))
    return await open_target(spec, credential, named.pop("database", "postgres"), named)


async def closed(opened: Opened) -> None:
    opened.connection.abort()
    assert await opened.connection.receive() == b""


@pytest.mark.parametrize("mode", ["disable", "require", "verify-ca", "verify-full"])
@pytest.mark.parametrize("user", ["wire_scram", "wire_md5", "wire_password", "wire_trust"])
async def test_each_method_opens_in_each_tls_mode(methods: PostgresServer, user: str, mode: str) -> None:
    opened = await opening(methods, user, mode=mode)
    assert isinstance(opened, Opened), opened
    assert opened.ready.parameters["session_authorization"] == user
    assert opened.ready.parameters["standard_conforming_strings"] == "on"
    assert opened.ready.state == {"search_path": '"$user", public', "role": "none", "user": user}
    assert opened.ready.key is not None
    assert opened.ready.rest == b""
    await closed(opened)


async def test_scram_is_bound_to_the_channel(methods: PostgresServer) -> None:
    """The server itself refuses SCRAM-SHA-256 from a client that says it could bind and was not offered it."""
    seen: list[bytes] = []
    opened = await opening(methods, "wire_scram")
    assert isinstance(opened, Opened)
    await closed(opened)
    from data_plane.protocols.postgres import scram

    original = scram.Scram.first

    def first(self: scram.Scram) -> bytes:
        seen.append(original(self))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scram.Scram, "first", first)
        opened = await opening(methods, "wire_scram")
    assert isinstance(opened, Opened)
    await closed(opened)
    assert seen[0].startswith(b"p=tls-server-end-point,,")


@pytest.mark.parametrize("user", ["wire_scram", "wire_md5", "wire_password"])
async def test_a_wrong_password_fails_as_the_target_says(methods: PostgresServer, user: str) -> None:
    failed = await opening(methods, user, password="wrong")
    assert isinstance(failed, Failed)
    assert (failed.sqlstate, failed.by_target) == ("28P01", True)


async def test_a_rejected_account_fails_as_the_target_says(methods: PostgresServer) -> None:
    failed = await opening(methods, "wire_reject")
    assert isinstance(failed, Failed)
    assert (failed.sqlstate, failed.by_target) == ("28000", True)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_a_certificate_of_another_authority_is_refused(methods: PostgresServer, mode: str) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    failed = await opening(methods, "wire_scram", mode=mode, ca=other)
    assert failed == Failed("08001", "the target's TLS certificate is not accepted")


async def test_a_certificate_for_another_name_is_refused_by_verify_full_only(methods: PostgresServer) -> None:
    address = f"127.1:{methods.port}"  # the same host by a name that its certificate does not have
    assert await opening(methods, "wire_scram", address=address) == Failed(
        "08001", "the target's TLS certificate is not accepted"
    )
    opened = await opening(methods, "wire_scram", address=address, mode="verify-ca")
    assert isinstance(opened, Opened)
    await closed(opened)


async def test_a_target_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from data_plane.protocols.postgres import target_connection

    monkeypatch.setattr(target_connection, "CONNECT_SECONDS", 0.1)
    given_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        given_up.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = TargetSpec("postgres", "test", "agent", f"127.0.0.1:{port}", "", TargetTls("require"))
    credential = PasswordCredential("app", Secret("secret"))
    assert await open_target(spec, credential, "postgres", {}) == Failed("08001", "the target cannot be reached")
    await given_up.wait()
    server.close()


async def test_settings_reach_the_target(methods: PostgresServer) -> None:
    opened = await opening(methods, "wire_scram", search_path="pg_catalog", application_name="wire")
    assert isinstance(opened, Opened)
    assert opened.ready.state["search_path"] == "pg_catalog"
    assert opened.ready.parameters["application_name"] == "wire"
    await closed(opened)


def test_addresses_are_read() -> None:
    assert read_address("db.example.org:5433") == Address("db.example.org", 5433)
    assert read_address("db.example.org") == Address("db.example.org", 5432)
    assert read_address("[::1]:5433") == Address("::1", 5433)
    assert read_address("/run/postgresql:5433").path == "/run/postgresql/.s.PGSQL.5433"
    for wrong in ("", ":5432", "host:port", "[::1", "[::1]x", "host:²"):
        with pytest.raises(ValueError):
            read_address(wrong)


async def test_catalogue_readers_and_sessions_are_told_apart(methods: PostgresServer) -> None:
    """What we open really is a session of its own at the server."""
    opened = await opening(methods, "wire_scram", application_name="told-apart")
    assert isinstance(opened, Opened)
    assert opened.ready.key is not None
    connection = await asyncpg.connect(methods.url())
    found = await connection.fetchval("select pid from pg_stat_activity where application_name = 'told-apart'")
    await connection.close()
    await closed(opened)
    assert found == opened.ready.key.process_id
