"""PgBouncer in session mode in front of a PostgreSQL: the yardstick for speed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from control_plane.cli.demo.ports import free_port
from control_plane.cli.demo.postgres import as_owner, give_to_owner
from tests.support.postgres import PostgresServer
from tests.support.watching import watched


@contextlib.contextmanager
def running_pgbouncer(server: PostgresServer) -> Iterator[tuple[int, int]]:
    """Yields (port, pid)."""
    binary = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(binary).exists():
        raise RuntimeError("pgbouncer is not installed: run `make system`")
    folder, port = Path(tempfile.mkdtemp(prefix="assentry-pgbouncer-")), free_port()
    folder.chmod(0o755)
    (folder / "users.txt").write_text(f'"{server.superuser}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nauth_type=scram-sha-256\nauth_file={folder}/users.txt\npool_mode=session\n"
        f"max_client_conn=200\ndefault_pool_size=100\nunix_socket_dir=\nlogfile={folder}/log\npidfile={folder}/pid\n"
        "ignore_startup_parameters=extra_float_digits\nlog_connections=0\nlog_disconnections=0\nlog_stats=0\n"
    )
    give_to_owner(folder)
    with watched(folder):
        process = subprocess.Popen(as_owner([binary, "-q", folder / "pgbouncer.ini"]), stdout=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            yield port, _written_pid(folder / "pid")
        finally:
            process.terminate()
            process.wait()


def _written_pid(file: Path, seconds: float = 10) -> int:
    """The file is made before the number stands in it, and PgBouncer listens before either."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(file.read_text())
        time.sleep(0.02)
    raise RuntimeError(f"PgBouncer wrote no process id to {file} in {seconds} s")


def wait_for_port(port: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing listens on port {port} after {seconds} s")
        time.sleep(0.02)
