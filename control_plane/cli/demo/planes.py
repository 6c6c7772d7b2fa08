"""Starts both planes on this machine as their own processes and waits until they serve. Also what the tests use.

Everything lives in one folder: control-plane state, agent state, logs. Passwords are made up and stay in it.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from control_plane.cli.client import Api
from control_plane.cli.config import Profile, client_environment
from control_plane.cli.demo.ports import HOST, free_pair, free_port

PATIENCE_SECONDS = 120.0


class StartError(Exception):
    """A process did not come up, or ended by itself; the message ends with the tail of its log."""


class Plane:
    """One process with a log file and a URL that answers 200 when it serves."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=client_environment(**environment)
            )

    def wait(self, url: str) -> None:
        """Raises StartError when it ends or does not answer in time; it is stopped then."""
        try:
            self._wait(url)
        except BaseException:
            self.stop()
            raise

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _answers(url):
            self.check()
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} does not answer at {url}:\n{self._tail()}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raises StartError when it has ended."""
        if self.process.poll() is not None:
            raise StartError(f"{self.name} ended with {self.process.returncode}:\n{self._tail()}")

    def stop(self) -> None:
        """Asks it to end; after ten seconds it is killed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """As a crash: nothing is told, nothing is written any more."""
        self.process.kill()
        self.process.wait()

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


class LocalControlPlane:
    """A control plane on loopback with its first admin. `state` survives; start another on it to restart. Browsers
    use security keys only where it is called by name: `public_host="localhost"`."""

    def __init__(self, state: Path, public_host: str = HOST, **settings: str) -> None:
        self.state = state
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.http_port, self.grpc_port = free_port(), free_pair()
        self.url = f"http://{HOST}:{self.http_port}"
        self.public_url = f"http://{public_host}:{self.http_port}"
        password_file = state / "admin-password"
        if not password_file.exists():
            password_file.touch(mode=0o600)
            password_file.write_text(secrets.token_urlsafe(18))
        self.admin_password = password_file.read_text()
        self._environment = {
            "ASSENTRY_STATE_DIR": str(state),
            "ASSENTRY_HTTP_ADDRESS": f"{HOST}:{self.http_port}",
            "ASSENTRY_GRPC_ADDRESS": f"{HOST}:{self.grpc_port}",
            "ASSENTRY_PUBLIC_URL": self.public_url,
            "ASSENTRY_ADMIN_PASSWORD_FILE": str(password_file),
            **{f"ASSENTRY_{name.upper()}": value for name, value in settings.items()},
        }
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "control_plane", "serve"]
        self.plane = Plane("the control plane", command, self.state / "log", self._environment)
        self.plane.wait(f"{self.url}/healthz")

    def stop(self) -> None:
        self.plane.stop()

    def kill(self) -> None:
        self.plane.kill()

    def sign_in(self, name: str = "admin", password: str = "") -> Profile:
        """A session as the command line has one."""
        body = {"name": name, "password": password or self.admin_password, "channel": "cli"}
        with Api(Profile(self.url)) as nobody:
            return Profile(self.url, nobody.post("/v1/session", body)["token"])

    @cached_property
    def admin(self) -> Profile:
        """One sign-in for everything that an admin does here: each costs a password hash."""
        return self.sign_in()

    def give_password(self, name: str) -> str:
        """A new password for a person, made up by the control plane."""
        with Api(self.admin) as admin:
            return str(admin.post(f"/v1/identities/{name}/password", {})["password"])

    def machine_token(self, machine: str, targets: Sequence[str] = ("*",)) -> str:
        """A short-lived token of a machine, by way of a service-account key as a machine gets one."""
        with Api(self.admin) as admin:
            key = admin.post("/v1/service-account-keys", {"identity": machine, "ttl_days": 1})["key"]
        with Api(Profile(self.url, key)) as itself:
            return str(itself.post("/v1/tokens", {"targets": list(targets)})["token"])

    def apply(self, documents: Sequence[Mapping[str, Any]]) -> Any:
        with Api(self.admin) as admin:
            return admin.post("/v1/documents/apply", {"documents": list(documents), "prune": False})


class LocalAgent:
    """An agent on loopback, enrolled with a one-time token. `endpoints`: target name to (username, password), and for
    previews another two."""

    def __init__(
        self, control: LocalControlPlane, state: Path, endpoints: Mapping[str, tuple[str, ...]], **settings: Any
    ) -> None:
        self.state = state
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ports = {target: free_port() for target in endpoints}
        self.metrics_port = free_port()
        name = settings.pop("name", "demo")
        with Api(control.admin) as admin:
            joining = admin.post("/v1/join-tokens", {"agent": name})
        self._write("join-token", joining["token"])
        self._write("ca.pem", joining["ca"])
        self.config = {
            "name": name,
            "state": str(state),
            "control_plane": f"{HOST}:{control.grpc_port}",
            "control_plane_ca": str(state / "ca.pem"),
            "join_token_file": str(state / "join-token"),
            "metrics": f"{HOST}:{self.metrics_port}",
            **settings,
            "targets": {target: self._endpoint(target, *account) for target, account in endpoints.items()},
        }
        self.config_file = state / "agent.toml"
        self.config_file.write_text(_toml(self.config))
        self.start()

    def _endpoint(self, target: str, username: str, password: str, *preview: str) -> dict[str, Any]:
        self._write(f"{target}.password", password)
        listen = f"{HOST}:{self.ports[target]}"
        endpoint = {"listen": listen, "username": username, "password_file": str(self.state / f"{target}.password")}
        if not preview:
            return endpoint
        self._write(f"{target}-preview.password", preview[1])
        file = str(self.state / f"{target}-preview.password")
        return {**endpoint, "preview_username": preview[0], "preview_password_file": file}

    def _write(self, name: str, secret: str) -> None:
        path = self.state / name
        path.touch(mode=0o600)
        path.write_text(secret)

    def start(self) -> None:
        command = [sys.executable, "-m", "data_plane", "--config", str(self.config_file)]
        self.plane = Plane("the agent", command, self.state / "log", {})
        self.ready()

    def ready(self) -> None:
        """Returns when every worker can serve."""
        self.plane.wait(f"http://{HOST}:{self.metrics_port}/readyz")

    def stop(self) -> None:
        self.plane.stop()

    def kill(self) -> None:
        self.plane.kill()


def _toml(values: Mapping[str, Any]) -> str:
    """Strings, numbers and lists as TOML writes them, then the tables of targets."""
    plain = {name: value for name, value in values.items() if name != "targets"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for target, settings in values["targets"].items():
        lines += [
            "",
            f"[targets.{json.dumps(target)}]",
            *(f"{key} = {json.dumps(one)}" for key, one in settings.items()),
        ]
    return "\n".join(lines) + "\n"
