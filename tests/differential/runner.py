"""Runs regression files with psql against one endpoint, each to its own output file."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PsqlEndpoint:
    host: str
    port: int
    user: str
    password: str
    database: str = "regression"


def run_file(psql: Path, endpoint: PsqlEndpoint, regress: Path, name: str, build: Path) -> str:
    """What psql prints, both streams, for sql/NAME.sql; settings as pg_regress gives them."""
    environment = {
        **os.environ, "PGHOST": endpoint.host, "PGPORT": str(endpoint.port), "PGUSER": endpoint.user,
        "PGPASSWORD": endpoint.password, "PGDATABASE": endpoint.database, "PGTZ": "PST8PDT",
        "PGDATESTYLE": "Postgres, MDY", "PG_ABS_SRCDIR": str(regress), "PG_ABS_BUILDDIR": str(build),
        "PG_LIBDIR": str(build), "PG_DLSUFFIX": ".so", "PGSSLMODE": "disable", "LC_MESSAGES": "C",
        "PGOPTIONS": "-c intervalstyle=postgres_verbose", "PGAPPNAME": f"pg_regress/{name}",
    }  # fmt: skip
    command = [psql, "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"]
    with (regress / "sql" / f"{name}.sql").open("rb") as statements:
        done = subprocess.run(
            command, stdin=statements, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            check=False, timeout=300,
        )  # fmt: skip
    return done.stdout.decode(errors="replace")


# Which plan is best depends on what VACUUM could mark while other sessions were reading, the gateway's own among them.
PLAN = re.compile(r"^ *QUERY PLAN *\n-+\n(?:.*\n)*?\(\d+ rows?\)\n", re.MULTILINE)


def comparable(output: str) -> str:
    """The output with the text of plans left out: not even two direct runs always agree on it."""
    return PLAN.sub("(a plan)\n", output)


def run_all(psql: Path, endpoint: PsqlEndpoint, regress: Path, names: Sequence[str], build: Path) -> dict[str, str]:
    return {name: comparable(run_file(psql, endpoint, regress, name, build)) for name in names}


def difference(name: str, direct: str, through: str) -> str:
    """A unified diff, cut to what a person reads."""
    lines = difflib.unified_diff(direct.splitlines(), through.splitlines(), f"{name} direct", f"{name} through", n=1)
    return "\n".join(list(lines)[:60])
