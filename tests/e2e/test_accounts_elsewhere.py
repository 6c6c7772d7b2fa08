"""Both planes with the target's account in a file or a Vault: it is taken from there at each sign-in, and Vault's own
accounts of sessions are gone with them, also when the agent was killed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, Stack, eventually, policy, running_stack, target
from tests.support.vault import VaultServer, vault

__all__ = ["vault"]

NAME = "elsewhere"
MAKE = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE pg_read_all_data"""
MAY = {
    "secret/data/orders": ["read"],
    "database/creds/*": ["read"],
    "auth/token/create-orphan": ["update"],
    "sys/leases/renew": ["update"],
    "sys/leases/revoke": ["update"],
}


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute(f"CREATE DATABASE {NAME}", "CREATE ROLE kept LOGIN PASSWORD 'first'")
    documents = [target(NAME, postgres, NAME), policy(NAME, NAME, ALLOW_ALL)]
    with running_stack(postgres, documents, {NAME: ("kept", "first")}) as running:
        yield running


def configured_anew(stack: Stack, credential: dict[str, Any], username: str) -> None:
    """The agent starts again with its account elsewhere."""
    stack.agent.stop()
    lines = [line for line in stack.agent.config_file.read_text().splitlines() if not line.startswith("password_file")]
    lines = [line for line in lines if not line.startswith(("username", "credential"))]
    lines += [f"username = {json.dumps(username)}"] if username else []
    stack.agent.config_file.write_text("\n".join([*lines, f"credential = {inline(credential)}"]) + "\n")
    stack.agent.start()


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {inline(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


def of_vault(vault: VaultServer, **more: Any) -> dict[str, Any]:
    role_id, secret_id = vault.approle("agent-e2e", MAY)
    auth = {"approle": {"role_id": role_id, "secret_id_file": str(secret_id)}}
    return {"address": vault.address, "ca_file": str(vault.ca), "auth": auth, **more}


def asked(stack: Stack, question: str) -> Any:
    with psycopg.connect(stack.dsn(NAME), autocommit=True) as client:
        return client.execute(question).fetchone()[0]


def test_a_password_that_was_replaced_in_its_file_is_used_at_once(stack: Stack, postgres: PostgresServer) -> None:
    assert asked(stack, "SELECT current_user") == "kept"
    postgres.execute("ALTER ROLE kept PASSWORD 'second'")
    with pytest.raises(psycopg.OperationalError):
        asked(stack, "SELECT 1")
    (stack.agent.state / f"{NAME}.password").write_text("second")
    assert asked(stack, "SELECT current_user") == "kept"


def test_a_password_in_vault_is_used_as_it_is_there(stack: Stack, postgres: PostgresServer, vault: VaultServer) -> None:
    def keep(password: str) -> None:
        told = {"username": "kept", "password": password}
        vault.root.secrets.kv.v2.create_or_update_secret("orders", told, mount_point="secret")
        postgres.execute(f"ALTER ROLE kept PASSWORD '{password}'")

    keep("third")
    configured_anew(stack, {"vault_kv": of_vault(vault, path="orders")}, "")
    assert asked(stack, "SELECT current_user") == "kept"
    keep("fourth")
    assert asked(stack, "SELECT current_user") == "kept"


def test_accounts_that_vault_makes_live_as_long_as_their_session(
    stack: Stack, postgres: PostgresServer, vault: VaultServer
) -> None:
    vault.root.secrets.database.configure(
        "pg",
        plugin_name="postgresql-database-plugin",
        allowed_roles=["*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{postgres.port}/postgres",
        username=postgres.superuser,
        password=postgres.password,
    )
    vault.root.secrets.database.create_role("session", "pg", [MAKE], default_ttl="1h", max_ttl="24h")
    configured_anew(stack, {"vault_database": of_vault(vault, role="session")}, "")
    with psycopg.connect(stack.dsn(NAME)) as one, psycopg.connect(stack.dsn(NAME)) as other:
        users = [client.execute("SELECT current_user").fetchone()[0] for client in (one, other)]
        assert len(set(users)) == 2
        assert set(users) <= accounts(postgres)
    eventually(gone(postgres, users), "the end of the accounts")

    with contextlib.closing(psycopg.connect(stack.dsn(NAME))) as client:
        left = client.execute("SELECT current_user").fetchone()[0]
        stack.agent.kill()
    assert left in accounts(postgres)
    stack.agent.start()
    eventually(gone(postgres, [left]), "the end of what the killed agent has left")
    assert asked(stack, "SELECT current_user").startswith("v-")


def accounts(postgres: PostgresServer) -> set[str]:
    with psycopg.connect(postgres.url(), autocommit=True) as client:
        return {row[0] for row in client.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")}


def gone(postgres: PostgresServer, names: list[str]) -> Callable[[], bool]:
    return lambda: accounts(postgres).isdisjoint(names)
