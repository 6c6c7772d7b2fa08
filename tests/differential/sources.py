"""The regression tests of exactly the installed PostgreSQL, from its Debian source package."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


class SourcesUnavailable(Exception):
    """The source package could not be had; the message says what was tried."""


def installed_version() -> str:
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${source:Package}=${Version}\n", "postgresql-1?"],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not found:
        raise SourcesUnavailable("no postgresql package of the system is installed")
    return max(found)


def source_lists(folder: Path) -> list[str]:
    """Options that make apt read the machine's own archives for source packages, in a private state folder."""
    parts = folder / "sources.d"
    parts.mkdir(parents=True, exist_ok=True)
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    for file in Path("/etc/apt/sources.list.d").glob("debian*.sources"):
        (parts / file.name).write_text(re.sub(r"^Types: deb$", "Types: deb-src", file.read_text(), flags=re.MULTILINE))
    return [
        "-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={parts}",
        "-o", f"Dir::State::lists={folder}/lists", "-qq",
    ]  # fmt: skip


def fetch(folder: Path) -> Path:
    """Downloads and unpacks the tests below `folder`; returns the folder with `sql/` and `parallel_schedule`."""
    regress = folder / "src" / "test" / "regress"
    if (regress / "parallel_schedule").exists():
        return regress
    options = source_lists(folder)
    for command in (["update"], ["source", "--download-only", installed_version()]):
        done = subprocess.run(["apt-get", *options, *command], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SourcesUnavailable(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}")
    archive = next(folder.glob("*.orig.tar.*"))
    command = ["tar", "xf", str(archive), "--strip-components=1", "--wildcards", "*/src/test/regress/*"]
    subprocess.run(command, cwd=folder, check=True)
    return regress


def schedule(regress: Path) -> list[str]:
    """The names of the test files in the order of the schedule."""
    lines = (regress / "parallel_schedule").read_text().splitlines()
    return [name for line in lines if line.startswith("test:") for name in line.removeprefix("test:").split()]
