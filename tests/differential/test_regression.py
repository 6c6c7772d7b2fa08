"""PostgreSQL's own regression tests through an allow-all policy give what they give without the gateway.

Both runs have servers of their own with the same settings and names, and run the files one after the other; plans are
compared too, so nothing is vacuumed or analysed but by the files. What a gateway must answer differently is named in
DIFFERENT with its reason; a file that is named there and does not differ any more fails the test too. Needs the Debian
source package of the server: without it the test says so and fails.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.differential import sources
from tests.differential.runner import PsqlEndpoint, difference, run_all
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.stack import ALLOW_ALL, HOST, policy, running_stack, target

DATABASE = "regression"
AS_PG_REGRESS = (
    "lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'",
    "timezone_abbreviations TO 'Default'",
)  # fmt: skip

DIFFERENT = {
    "strings": "standard_conforming_strings is pinned: with it off the same text would mean something else",
    "largeobject": r"psql's \lo_unlink, \lo_import and \lo_export are FunctionCall messages, which are refused",
    "portals": "a cursor that a function opened was never judged, so its name is unknown",
    "plpgsql": "the same, and standard_conforming_strings",
}


@contextmanager
def server() -> Iterator[PostgresServer]:
    with running_postgres("log_statement=none", "autovacuum=off") as running:
        running.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0 LOCALE 'C'")
        running.execute(*(f"ALTER DATABASE {DATABASE} SET {setting}" for setting in AS_PG_REGRESS))
        yield running


def build_folder(parent: Path) -> Path:
    """Where files of the tests are written, by the server too; the same path for both runs."""
    folder = parent / "build"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    (folder / "results").mkdir(parents=True)
    for path in (parent, folder, folder / "results"):
        path.chmod(0o777)
    return folder


def direct(regress: Path, names: list[str], parent: Path) -> dict[str, str]:
    with server() as running:
        endpoint = PsqlEndpoint(running.host, running.port, running.superuser, running.password)
        return run_all(running.bin / "psql", endpoint, regress, names, build_folder(parent))


def through(regress: Path, names: list[str], parent: Path) -> dict[str, str]:
    with server() as running:
        documents = [target("open", running, ""), policy("open", "open", ALLOW_ALL)]
        accounts = {"open": (running.superuser, running.password)}
        with running_stack(running, documents, accounts) as stack:
            port, behind = stack.port("open"), (DATABASE, running.port, running.password)
            endpoint = PsqlEndpoint(HOST, port, running.superuser, stack.token, *behind)
            return run_all(running.bin / "psql", endpoint, regress, names, build_folder(parent))


@pytest.mark.timeout(1800)
def test_the_regression_files_give_the_same_through_the_gateway() -> None:
    regress = sources.fetch(Path(tempfile.gettempdir()) / f"assentry-regress-{os.getuid()}")
    names = sources.schedule(regress)
    with tempfile.TemporaryDirectory(prefix="assentry-regression-") as folder:
        expected = direct(regress, names, Path(folder))
        seen = through(regress, names, Path(folder))
    different = {name: difference(name, expected[name], seen[name]) for name in names if expected[name] != seen[name]}
    surprising = [text for name, text in different.items() if name not in DIFFERENT]
    assert not surprising, f"{len(different)} of {len(names)} files differ:\n" + "\n".join(surprising)
    assert set(DIFFERENT) <= set(different), "a file that is said to differ does not"
