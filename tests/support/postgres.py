"""A real PostgreSQL for tests: SCRAM passwords, TLS, its statement log; one per test process, thrown away after,
also when the test process is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import trustme

from control_plane.cli.demo.ports import HOST, free_port
from control_plane.cli.demo.postgres import SUPERUSER, binaries, initialise, start, stop
from tests.support.watching import watched

__all__ = ["PostgresServer", "postgres", "running_postgres"]


@dataclass
class PostgresServer:
    """`password` is the superuser's; `ca_pem` signed the server's certificate for localhost and 127.0.0.1."""

    host: str
    port: int
    superuser: str
    password: str
    folder: Path
    bin: Path
    ca_pem: str

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{self.superuser}:{self.password}@{self.host}:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements as the superuser, each on its own (so CREATE DATABASE works)."""
        asyncio.run(self._execute(statements, database))

    async def _execute(self, statements: tuple[str, ...], database: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def fresh_database(self) -> str:
        """A new empty database, its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        run = subprocess.run(
            [self.bin / "createdb", "-h", self.host, "-p", str(self.port), "-U", self.superuser, name],
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise RuntimeError(run.stderr)
        return name


def certify(folder: Path) -> str:
    """Writes a server certificate for localhost and 127.0.0.1; returns the PEM of its authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", HOST)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.crt")
    (folder / "server.key").chmod(0o600)
    return authority.cert_pem.bytes().decode()


@contextlib.contextmanager
def running_postgres(*options: str, bin_folder: Path | None = None, tls: bool = True) -> Iterator[PostgresServer]:
    """Starts a server in a temporary folder; `options` are further `name=value` settings."""
    bin_folder = bin_folder or binaries()
    if bin_folder is None:
        raise RuntimeError("no PostgreSQL server found: run `make setup`")
    folder = Path(tempfile.mkdtemp(prefix="assentry-pg-"))
    folder.chmod(0o755)
    port, password = free_port(), "superuser-password"
    with watched(folder):
        ca_pem = certify(folder)
        initialise(folder, bin_folder, password)
        secured = ["ssl=on", f"ssl_cert_file={folder}/server.crt", f"ssl_key_file={folder}/server.key"] if tls else []
        fixed = [*secured, "log_statement=all", "max_connections=200", "wal_level=logical"]
        start(folder, bin_folder, port, [*fixed, *options])
        try:
            yield PostgresServer(HOST, port, SUPERUSER, password, folder, bin_folder, ca_pem)
        finally:
            stop(folder, bin_folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server
