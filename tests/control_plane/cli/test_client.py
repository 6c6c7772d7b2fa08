"""What the command says when the control plane does not take its token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from control_plane.cli.client import Api, ApiError
from control_plane.cli.config import Profile, load_profile, save_profile


class _TakesNobody(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("ASSENTRY_URL", "ASSENTRY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ASSENTRY_PROFILE", str(tmp_path / "profile.json"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TakesNobody)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_named_a_profile_that_is_not_there_hears_of_that(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENTRY_URL", url)
    with Api(load_profile()) as api, pytest.raises(ApiError, match=r"/profile\.json: ASSENTRY_PROFILE names this file"):
        api.get("/v1/session")


@pytest.mark.parametrize(
    ("stored", "given", "told"),
    [
        ("", "", "not signed in: `assentry login`, or set ASSENTRY_TOKEN"),
        ("ended", "", "the sign-in has ended or its token is not valid: `assentry login` again"),
        ("ended", "wrong\n", "the token in ASSENTRY_TOKEN has ended or is not valid: set another, or unset it"),
    ],
)
def test_who_is_not_taken_hears_of_the_token_that_was_shown(
    url: str, monkeypatch: pytest.MonkeyPatch, stored: str, given: str, told: str
) -> None:
    save_profile(Profile(url, stored))
    monkeypatch.setenv("ASSENTRY_TOKEN", given)
    with Api(load_profile()) as api, pytest.raises(ApiError) as refused:
        api.get("/v1/session")
    assert str(refused.value).startswith(told)
