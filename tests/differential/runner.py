"""Runs regression files with psql against one endpoint, each to its own output file."""

from __future__ import annotations

import difflib
import os
import re
import shlex
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
    server_port: int = 0  # of the server behind a gateway, and the password there
    server_password: str = ""


# VACUUM marks pages for index-only scans unless another session's snapshot is older than what they hold, and plans
# follow from that. The gateway reads the catalogue after each CREATE, so a VACUUM waits until nobody else reads.
VACUUM = re.compile(rb"^(?=vacuum\b)", re.IGNORECASE | re.MULTILINE)
NOBODY_READS = """
DO 'BEGIN
  WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = ''{}'' AND backend_xmin IS NOT NULL
      AND backend_type = ''client backend'' AND application_name NOT LIKE ''pg_regress/%'') LOOP
    PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
  END LOOP;
END'
"""


def alone(psql: Path, endpoint: PsqlEndpoint) -> str:
    """A shell command that returns when no other session of the database has a snapshot."""
    asked = {"host": endpoint.host, "port": endpoint.server_port or endpoint.port, "user": endpoint.user}
    conninfo = " ".join(f"{key}={value}" for key, value in {**asked, "dbname": "postgres"}.items())
    ask = [str(psql), "-X", "-q", "-d", conninfo, "-c", NOBODY_READS.format(endpoint.database).replace("\n", " ")]
    return f"PGPASSWORD={shlex.quote(endpoint.server_password or endpoint.password)} PGOPTIONS= {shlex.join(ask)}"


def run_file(psql: Path, endpoint: PsqlEndpoint, regress: Path, name: str, build: Path) -> str:
    """What psql prints, both streams, for sql/NAME.sql; settings as pg_regress gives them."""
    environment = {
        **os.environ, "PGHOST": endpoint.host, "PGPORT": str(endpoint.port), "PGUSER": endpoint.user,
        "PGPASSWORD": endpoint.password, "PGDATABASE": endpoint.database, "PGTZ": "PST8PDT",
        "PGDATESTYLE": "Postgres, MDY", "PG_ABS_SRCDIR": str(regress), "PG_ABS_BUILDDIR": str(build),
        "PG_LIBDIR": str(build), "PG_DLSUFFIX": ".so", "PGSSLMODE": "disable", "LC_MESSAGES": "C",
        "PGOPTIONS": "-c intervalstyle=postgres_verbose", "PGAPPNAME": f"pg_regress/{name}",
        "ALONE": alone(psql, endpoint),
    }  # fmt: skip
    command = [psql, "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"]
    statements = VACUUM.sub(rb"\\! eval $ALONE\n", (regress / "sql" / f"{name}.sql").read_bytes())
    done = subprocess.run(
        command, input=statements, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        check=False, timeout=300,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")


def run_all(psql: Path, endpoint: PsqlEndpoint, regress: Path, names: Sequence[str], build: Path) -> dict[str, str]:
    return {name: run_file(psql, endpoint, regress, name, build) for name in names}


def difference(name: str, direct: str, through: str) -> str:
    """A unified diff, cut to what a person reads, and how the file ended through the gateway."""
    lines = difflib.unified_diff(direct.splitlines(), through.splitlines(), f"{name} direct", f"{name} through", n=1)
    return "\n".join([*list(lines)[:60], f"{name} through the gateway ended with:", *through.splitlines()[-5:]])
