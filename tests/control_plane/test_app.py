"""The application as a whole: limits, headers, errors, logs, its description, and its settings."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from pydantic import ValidationError

from control_plane.__main__ import main
from control_plane.config import Settings, parse_address
from control_plane.kit.access import every_route
from control_plane.kit.http import LARGEST_BODY

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@sqlite
async def test_every_answer_has_security_headers_and_an_id(anonymous: httpx.AsyncClient):
    answer = await anonymous.get("/v1/session")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.headers["x-request-id"]) == 20


@sqlite
async def test_a_plausible_request_id_is_kept_and_another_is_not(anonymous: httpx.AsyncClient):
    kept = await anonymous.get("/healthz", headers={"x-request-id": "from-the-proxy-1"})
    assert kept.headers["x-request-id"] == "from-the-proxy-1"
    other = await anonymous.get("/healthz", headers={"x-request-id": "x\ty"})
    assert len(other.headers["x-request-id"]) == 20


@sqlite
@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/approval/apr_1", "text/html,*/*;q=0.8", "text/html"),
        ("/approval/apr_1", "*/*", "application/problem+json"),
        ("/v1/approval", "text/html,*/*;q=0.8", "application/problem+json"),
    ],
)
async def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_programs(
    anonymous: httpx.AsyncClient, path: str, accept: str, kind: str
):
    answer = await anonymous.get(path, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, kind)
    assert ("there is no such page in this console" in answer.text) is (kind == "text/html")


@sqlite
async def test_a_body_beyond_the_limit_is_refused_whatever_its_length_says(anonymous: httpx.AsyncClient):
    told = await anonymous.post("/v1/session", content=b"x" * (LARGEST_BODY + 1))
    assert told.status_code == 413

    async def untold():
        for _ in range(LARGEST_BODY // 65_536 + 2):
            yield b"x" * 65_536

    assert (await anonymous.post("/v1/session", content=untold())).status_code == 413


@sqlite
@pytest.mark.parametrize("path", ["/v1/audit?kind=%00", "/v1/identities/%00"])
async def test_an_address_holds_no_nul(admin: httpx.AsyncClient, path: str):
    assert (await admin.get(path)).status_code == 400


@sqlite
async def test_errors_are_problems(admin: httpx.AsyncClient, anonymous: httpx.AsyncClient):
    for answer, status in (
        (await anonymous.get("/nowhere"), 404),
        (await anonymous.put("/v1/session"), 405),
        (await anonymous.post("/v1/session", content=b"{"), 422),
        (await anonymous.post("/v1/session", json={"name": 1}), 422),
        (await anonymous.get("/v1/audit"), 401),
        (await admin.get("/v1/identities/nobody"), 404),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


@sqlite
async def test_an_error_of_validation_does_not_repeat_the_password(anonymous: httpx.AsyncClient):
    answer = await anonymous.post("/v1/session", json={"name": 1, "password": "hunter2" * 100})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert {error["path"] for error in answer.json()["errors"]} == {"$.name", "$.password"}


@sqlite
async def test_a_failure_inside_is_a_problem_that_tells_nothing(app: FastAPI, anonymous: httpx.AsyncClient):
    async def fail() -> None:
        raise RuntimeError("the password is hunter2")

    app.add_api_route("/v1/fails", fail)
    answer = await anonymous.get("/v1/fails")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text


@sqlite
async def test_the_log_has_no_query_no_token_and_no_password(
    anonymous: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
):
    await anonymous.post("/v1/session?secret=hunter2", json={"name": "ada", "password": "hunter2"})
    await anonymous.get("/v1/session", headers={"authorization": "Bearer assentry_s_hunter2"})
    logged = capsys.readouterr()
    assert "/v1/session" in logged.out + logged.err
    assert "hunter2" not in logged.out + logged.err


@sqlite
async def test_the_description_is_complete(anonymous: httpx.AsyncClient):
    described = (await anonymous.get("/v1/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert {"Problem", "Policy", "Rule", "Target", "IdentityOut"} <= set(described["components"]["schemas"])
    operations = [one for path in described["paths"].values() for one in path.values()]
    assert all(one.get("summary") and one.get("tags") for one in operations)
    references = {part.split('"')[0] for part in json.dumps(described).split('"#/components/schemas/')[1:]}
    assert references <= set(described["components"]["schemas"])


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ASSENTRY_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("ASSENTRY_HTTP_ADDRESS", "[::1]:8443")
    monkeypatch.setenv("ASSENTRY_DATABASE_URL", "postgresql://assentry:hunter2@db/assentry")
    settings = Settings()
    assert (settings.http.host, settings.http.port, settings.url) == ("::1", 8443, "http://[::1]:8443")
    assert settings.database.drivername == "postgresql+asyncpg"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("wrong", ["8080", "localhost", "localhost:http", "localhost:70000", ":80"])
def test_an_address_is_host_and_port(wrong: str):
    with pytest.raises(ValueError, match="host:port"):
        parse_address(wrong)
    with pytest.raises(ValidationError):
        Settings(http_address=wrong)


def test_init_makes_the_first_admin_once_and_tells_the_password_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ASSENTRY_STATE_DIR", str(tmp_path))
    assert main(["init"]) == 0
    assert capsys.readouterr().out.startswith("admin: ")
    assert main(["init"]) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ASSENTRY_HTTP_ADDRESS", "hunter2")
    assert main(["serve"]) == 2
    told = capsys.readouterr().err
    assert "ASSENTRY_HTTP_ADDRESS" in told


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_help_names_the_commands_and_every_setting(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "serve" in told
    assert "init" in told
    assert all(f"ASSENTRY_{name.upper()} " in told for name in Settings.model_fields)


def test_a_database_url_that_cannot_be_read_is_told_without_any_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ASSENTRY_DATABASE_URL", "postgresql://bob:hun@db:ter2@db/approvals")
    assert main(["serve"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ASSENTRY_DATABASE_URL: ")
    assert "ter2" not in told


def test_an_unknown_command_is_told_what_there_is(capsys: pytest.CaptureFixture[str]):
    assert main(["start"]) == 2
    assert "serve|init" in capsys.readouterr().err


@sqlite
def test_no_dependency_of_a_route_takes_a_thread(app: FastAPI):
    """FastAPI runs plain functions in a thread: a hop there and back for every part of every request."""
    routes = list(every_route(app.routes))
    assert {"/sign-in", "/v1/targets", "/v1/approvals/{approval_id}/approve"} <= {route.path for route in routes}
    plain = {
        f"{route.path}: {call}" for route in routes for call in _called(route.dependant) if not _is_coroutine(call)
    }
    assert plain == set()


def _called(dependant: Dependant) -> Iterator[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _called(inner)


def _is_coroutine(call: Any) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(call.__call__)
