"""Where a target's account comes from, as `[targets.NAME.credential.…]` of the agent's configuration says it.

Shapes only; `config` reads them, checks them and makes the file names absolute.
"""

from __future__ import annotations

import msgspec


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file."""


class AppRole(Table, frozen=True):
    role_id: str
    secret_id_file: str
    mount: str = "approle"


class KubernetesLogin(Table, frozen=True):
    role: str
    jwt_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    mount: str = "kubernetes"


class VaultAuth(Table, frozen=True):
    """Exactly one of them."""

    token_file: str = ""  # kept fresh by somebody else, as Vault Agent does
    approle: AppRole | None = None
    kubernetes: KubernetesLogin | None = None


class VaultServer(Table, frozen=True):
    """Vault or OpenBao."""

    address: str  # https://…
    auth: VaultAuth
    namespace: str = ""
    ca_file: str = ""  # empty: the system's authorities


class VaultKv(VaultServer, frozen=True, kw_only=True):
    """A secret of the key-value engine, version 2: `username` and `password`."""

    path: str
    mount: str = "secret"


class VaultDatabase(VaultServer, frozen=True, kw_only=True):
    """An account from the database engine for each session, and one for the agent itself."""

    role: str
    mount: str = "database"
    own_role: str = ""  # for the agent's own account, which reads the catalogue; empty: `role`


class AwsSecret(Table, frozen=True):
    id: str  # name or ARN
    region: str


class RdsIam(Table, frozen=True):
    """A token for the target's `username`."""

    region: str


class CloudSqlIam(Table, frozen=True):
    """A token for the target's `username`. Nothing else is to be said: the table stands empty."""


class CredentialSettings(Table, frozen=True):
    """At most one of them; none: a password of the table above, or a secret that the target's document names."""

    vault_kv: VaultKv | None = None
    vault_database: VaultDatabase | None = None
    aws_secret: AwsSecret | None = None
    rds_iam: RdsIam | None = None
    cloud_sql_iam: CloudSqlIam | None = None

    @property
    def chosen(self) -> list[str]:
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]
