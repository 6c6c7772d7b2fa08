"""Accounts that Vault makes keep the contract of tests/contract/test_credential_sources.py, with the role that
deploy/README.md recommends: its statements are read from there.

Not kept, because Vault's API does not offer it: finding an account without its lease. Its token ends it instead
(test_accounts.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from data_plane.credentials.vault_accounts import VaultAccounts
from data_plane.policy.model import TargetCredential
from data_plane.runtime.clock import SystemClock
from tests.contract.test_credential_sources import (
    gone,
    opened,
    running,
    test_an_account_that_a_living_session_of_another_worker_uses_stays,
    test_an_account_that_nobody_signed_in_with_goes_as_well,
    test_many_sessions_at_once,
    test_removing_what_was_never_made_or_is_gone_is_no_error,
    test_two_sessions_have_two_accounts_and_one_end_leaves_the_other,
    test_what_a_crash_leaves_is_removed_by_the_next_process,
)
from tests.integration.vault.test_accounts import dynamic
from tests.support.accounts import Process, facts, leases_on_disk
from tests.support.places import PostgresPlace
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.vault import VaultServer

__all__ = [
    "running",
    "test_an_account_that_a_living_session_of_another_worker_uses_stays",
    "test_an_account_that_nobody_signed_in_with_goes_as_well",
    "test_many_sessions_at_once",
    "test_removing_what_was_never_made_or_is_gone_is_no_error",
    "test_two_sessions_have_two_accounts_and_one_end_leaves_the_other",
    "test_what_a_crash_leaves_is_removed_by_the_next_process",
]
README = Path(__file__).parents[3] / "deploy" / "README.md"


class VaultPlace(PostgresPlace):
    def __init__(self, server: PostgresServer, vault: VaultServer) -> None:
        super().__init__(server, PostgresPlace.found(server))
        self.spec = msgspec.structs.replace(self.spec, credential=TargetCredential())
        self._vault = vault

    def provider(self) -> VaultAccounts:  # type: ignore[override]
        return VaultAccounts(dynamic(self._vault, "contract"), SystemClock())


@pytest.fixture(scope="module")
def made(vault: VaultServer) -> Iterator[VaultPlace]:
    creation, revocation = re.findall(r"^(?:creation|revocation)_statements: (.*)$", README.read_text(), re.MULTILINE)
    with running_postgres(tls=False) as server:
        place = VaultPlace(server, vault)
        server.execute("CREATE ROLE orders_read")
        vault.root.secrets.database.configure(
            "contract",
            plugin_name="postgresql-database-plugin",
            allowed_roles=["contract"],
            connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{server.port}/postgres",
            username=server.superuser,
            password=server.password,
        )
        statements = {"creation_statements": [creation], "revocation_statements": [revocation]}
        role = {"db_name": "contract", "default_ttl": "1h", "max_ttl": "24h", **statements}
        vault.root.adapter.post("/v1/database/roles/contract", json=role)
        yield place
        vault.root.sys.revoke_prefix("database/creds/contract")


@pytest.fixture
def place(made: VaultPlace) -> VaultPlace:
    """Where Vault makes accounts, every session gets one."""
    return made


async def test_an_account_is_usable_until_its_session_is_over_and_gone_then(
    place: VaultPlace, running: Process, tmp_path: Path
) -> None:
    """As in the contract, but for its name, which nobody knows before it is made."""
    credential, use = await opened(place, running)
    assert await use.alive()
    assert await place.use(credential) is None, "nobody else signs in beside its session"
    await running.source.release(facts())
    assert await gone(place, running, credential)
    assert not await use.alive(), "what still ran under it has ended"
    assert leases_on_disk(tmp_path / "leases.db") == {}
    (leased, ended) = running.told.all
    assert leased == ("leased", "")
    assert ended[0] == "gone"
    assert ended[1].startswith(f"{credential.username} database/creds/contract/")
    await use.end()
