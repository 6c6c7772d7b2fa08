"""What the agent's configuration says of a target's account becomes a store; where it makes accounts, a provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from data_plane.credentials.aws import ManagedSecret, RdsTokens
from data_plane.credentials.cloud import CloudSqlTokens
from data_plane.credentials.files import FileSecret, FixedSecret
from data_plane.credentials.iam import IamTokens
from data_plane.credentials.ports import AccountProvider, SecretStore
from data_plane.credentials.settings import CredentialSettings, VaultDatabase
from data_plane.credentials.vault import Vault, VaultSecret
from data_plane.credentials.vault_accounts import DATABASE, Dynamic, VaultAccounts, VaultOwnAccount
from data_plane.gate.ports import Clock
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret

Place = CredentialSettings | Path | Secret
"""A path is that of a file with the secret, a `Secret` is one that stood in the environment."""


class Asking(msgspec.Struct, frozen=True):
    """For which target a store is opened. `spec`: as it is now; None: not known yet."""

    target: str
    username: str
    spec: Callable[[], TargetSpec | None]
    clock: Clock


def open_store(place: Place, asking: Asking) -> SecretStore:
    if isinstance(place, Path):
        return FileSecret(place)
    if isinstance(place, Secret):
        return FixedSecret(place, f"the variable with the password of {asking.target}")
    if place.vault_database is not None:
        role = place.vault_database.own_role or place.vault_database.role
        return VaultOwnAccount(_database(place.vault_database, role), asking.clock, asking.target)
    return _service(place, asking)


def _service(place: CredentialSettings, asking: Asking) -> SecretStore:
    if place.vault_kv is not None:
        return VaultSecret(Vault(place.vault_kv), place.vault_kv)
    if place.aws_secret is not None:
        return ManagedSecret(place.aws_secret)
    if place.rds_iam is not None:
        return IamTokens(RdsTokens(place.rds_iam, asking.username), asking.spec)
    if place.cloud_sql_iam is not None:
        return IamTokens(CloudSqlTokens(), asking.spec)
    raise ValueError("config chooses one of them")


def open_provider(place: Place | None, clock: Clock) -> AccountProvider | None:
    """None: accounts for sessions are made by the target's own protocol, or not at all."""
    if not isinstance(place, CredentialSettings) or place.vault_database is None:
        return None
    return VaultAccounts(_database(place.vault_database, place.vault_database.role), clock)


def _database(place: VaultDatabase, role: str) -> Dynamic:
    return Dynamic(Vault(place), DATABASE, place.mount, role)
