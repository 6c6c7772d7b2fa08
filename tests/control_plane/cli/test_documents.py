"""`assentry plan` and `apply`: all the files that are named are sent, together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from control_plane.cli import documents
from control_plane.cli.client import ApiError
from control_plane.cli.config import Profile


class Listening:
    """What the command sends; nothing of it changes anything."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, _profile: Profile) -> Listening:
        return self

    def post(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        return {"changes": []}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Listening:
    listening = Listening()
    monkeypatch.setattr(documents, "Api", listening)
    monkeypatch.setattr(documents, "load_profile", lambda: Profile("http://127.0.0.1:1"))
    return listening


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(documents.plan)
    app.command()(documents.apply)
    return app


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_every_file_that_is_named_is_sent_and_they_are_sent_together(
    verb: str, app: typer.Typer, api: Listening, tmp_path: Path
) -> None:
    """With `--prune` a file that was passed over would take with it what stands in it."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(f"kind: {name}\n")
    words = [word for name in ("b", "a", "c") for word in ("-f", str(tmp_path / f"{name}.yaml"))]
    assert CliRunner().invoke(app, [verb, "--prune", *words]).exit_code == 0
    assert api.bodies == [{"documents": [{"kind": "b"}, {"kind": "a"}, {"kind": "c"}], "prune": True}]


def test_a_pipe_is_read_as_a_file_is(app: typer.Typer, api: Listening) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"kind: Mask\n")
    os.close(writing)
    try:
        assert CliRunner().invoke(app, ["plan", "-f", f"/dev/fd/{reading}"]).exit_code == 0
    finally:
        os.close(reading)
    assert api.bodies == [{"documents": [{"kind": "Mask"}], "prune": False}]


def test_a_name_that_stands_in_two_files_is_told_with_both_places(
    app: typer.Typer, api: Listening, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("kind: Group\nmetadata:\n  name: dba\n")
    problem = {"path": "$.documents[1].metadata.name", "message": "$.documents[0] has it too"}

    def refused(_path: str, _body: dict[str, Any]) -> dict[str, Any]:
        raise ApiError("these documents cannot be applied", 422, {"errors": [problem]})

    api.post = refused  # type: ignore[method-assign]
    with pytest.raises(typer.Exit):
        documents.apply([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    told = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path}/b.yaml:3:3: metadata.name: {tmp_path}/a.yaml:3:3 has it too" in told
