"""A real sshd on loopback that trusts nothing but an authority's user certificates, and hears what is revoked by a file.

Everybody signs in as the user who runs the tests: who may is a matter of the principals that the server takes, as on a
server where many names share one account. As root it needs /run/sshd, where it puts itself away before sign-in.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.cli.demo.ports import free_port

HOST = "127.0.0.1"
_CONFIG = """
ListenAddress {host}
Port {port}
HostKey {folder}/host
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
AuthorizedKeysFile none
PermitRootLogin prohibit-password
TrustedUserCAKeys {folder}/ca.pub
RevokedKeys {folder}/revoked
AuthorizedPrincipalsFile {folder}/principals
"""


class Sshd:
    """`take(…)` says which principals may sign in; `trust(…)` whose certificates; `refuse(…)` which ones not."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.user = folder, free_port(), getpass.getuser()
        self.known_hosts = folder / "known_hosts"

    def trust(self, authorities: str, revoked: bytes) -> None:
        (self.folder / "ca.pub").write_text(authorities)
        self.refuse(revoked)

    def refuse(self, revoked: bytes) -> None:
        (self.folder / "revoked").write_bytes(revoked)

    def take(self, *principals: str) -> None:
        (self.folder / "principals").write_text("".join(f"{one}\n" for one in principals))

    def ssh(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Asks who the account is. `words`: ssh's options."""
        command = [
            "ssh", "-p", str(self.port), "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "BatchMode=yes",
            "-l", self.user, *words, HOST, "id -un",
        ]  # fmt: skip
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=30
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Raises RuntimeError when the machine has none."""
    binary = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        raise RuntimeError("no sshd for the tests: run `make system`")
    server = Sshd(folder)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True)
    host_key = (folder / "host.pub").read_text().split()
    server.known_hosts.write_text(f"[{HOST}]:{server.port} {host_key[0]} {host_key[1]}\n")
    (folder / "config").write_text(_CONFIG.format(host=HOST, port=server.port, folder=folder))
    server.trust("", b"")
    server.take()
    process = subprocess.Popen([binary, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")])
    try:
        _wait(server.port)
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
