"""The `assentry` command as its users run it: its own process, its own profile, against a running stack."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from control_plane.cli.config import Profile, save_profile_to
from control_plane.cli.main import main
from tests.support.stack import HOST, MACHINES_END, REQUESTER, REVIEWER, Stack, document, eventually

RUN = [sys.executable, "-c", "from control_plane.cli.main import main; main()"]
WAIT = 60


class Cli:
    """One user at a terminal that is none: what is printed is captured.

    Most commands run in this process, as `main` runs them, because a fresh one needs a second to import everything.
    """

    def __init__(self, folder: Path, profile: Profile | None = None, **environment: str) -> None:
        self.profile = folder / "profile.json"
        if profile is not None:
            save_profile_to(self.profile, profile)
        without = {key: value for key, value in os.environ.items() if not key.startswith("ASSENTRY_")}
        self.environment = {**without, "ASSENTRY_PROFILE": str(self.profile), **environment}

    def run(self, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        out, problems = StringIO(), StringIO()
        with (
            mock.patch.dict(os.environ, {**self.environment, **more}, clear=True),
            mock.patch.object(sys, "argv", ["assentry", *arguments]),
            mock.patch.object(sys, "stdin", StringIO(stdin)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(problems),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        code = int(ended.value.code or 0)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), problems.getvalue())

    def run_apart(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own: what becomes another program."""
        return subprocess.run(
            [*RUN, *arguments],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT,
        )

    def said(self, *arguments: str, **more: Any) -> str:
        return _output(self.run(*arguments, **more))

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--output", "json"))

    def refused(self, *arguments: str, **more: str) -> str:
        """Its only line on standard error."""
        done = self.run(*arguments, **more)
        assert done.returncode == 1, done
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*RUN, *arguments], env=self.environment, stdout=subprocess.PIPE, text=True)


def _output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rosa(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    profile = stack.control.sign_in(REVIEWER, stack.reviewer_password)
    return Cli(tmp_path_factory.mktemp("rosa"), profile)


@pytest.fixture(scope="module")
def admin(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("admin"), stack.control.sign_in())


@pytest.fixture
def nobody(stack: Stack, tmp_path: Path) -> Cli:
    return Cli(tmp_path, Profile(stack.control.url))


# -------------------------------------------------------------- signing in


def test_one_signs_in_sees_who_one_is_and_signs_out(nobody: Cli, stack: Stack, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(stack.reviewer_password + "\n")
    assert "Signed in" in nobody.said("login", "--name", REVIEWER, "--password-file", str(password))
    assert stat.S_IMODE(nobody.profile.stat().st_mode) == 0o600
    assert nobody.json("whoami")["name"] == REVIEWER
    nobody.said("logout")
    assert "not signed in: `assentry login`" in nobody.refused("whoami")
    nobody.said("logout")


def test_a_wrong_password_is_told_without_a_traceback(nobody: Cli, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong")
    said = nobody.refused("login", "--name", REVIEWER, "--password-file", str(password))
    assert "the name or the password is wrong" in said


def test_what_goes_wrong_is_one_line_that_says_what_to_do(nobody: Cli, tmp_path: Path) -> None:
    assert "is it running?" in nobody.refused("whoami", ASSENTRY_URL="http://127.0.0.1:1")
    assert "begins with https://" in nobody.refused("whoami", ASSENTRY_URL="nonsense")
    assert "login` again" in nobody.refused("whoami", ASSENTRY_TOKEN="not-a-token")
    assert "no token has" in nobody.refused("whoami", ASSENTRY_TOKEN="caf\u00e9")
    assert "No such file" in nobody.refused(
        "audit", "verify", str(tmp_path / "nothing"), "--keys", str(tmp_path / "no")
    )
    nobody.profile.write_text("{")
    assert "remove it and" in nobody.refused("whoami")


def test_wrong_use_is_exit_code_2(nobody: Cli) -> None:
    assert nobody.run("sessions", "list", "--limit", "0").returncode == 2
    assert nobody.run("approvals", "nonsense").returncode == 2


def test_a_reader_that_goes_away_is_no_complaint(admin: Cli) -> None:
    process = subprocess.Popen(
        [*RUN, "audit", "list", "--limit", "500", "-o", "json"], env=admin.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(WAIT) in {0, 1}


# -------------------------------------------------------------- credentials


def test_a_machine_gets_a_token_with_its_key_and_only_that(admin: Cli, nobody: Cli, stack: Stack) -> None:
    key = admin.json("identities", "key", REQUESTER, "--days", "1")
    machine = {"ASSENTRY_TOKEN": key["key"]}
    token = nobody.said("token", "shop", **machine).strip()
    assert stack.psql("shop", "SELECT 1", PGPASSWORD=token).stdout.strip() == "1"
    assert "error" in nobody.refused("approvals", "approve", "X", "--yes", **machine)
    admin.said("identities", "revoke", key["id"])
    assert "login` again" in nobody.refused("token", "shop", **machine)


def test_connect_becomes_psql_with_a_fresh_token_and_remembers_the_address(
    admin: Cli, nobody: Cli, stack: Stack
) -> None:
    key = admin.json("identities", "key", REQUESTER, "--days", "1")["key"]
    machine = {"ASSENTRY_TOKEN": key, "PGSSLMODE": "prefer"}
    assert "--address" in nobody.refused("connect", "shop", **machine)
    address = f"{HOST}:{stack.port('shop')}"
    read = ("--", "-X", "-A", "-t", "-c", "SELECT name FROM customers WHERE id = 1")
    assert _output(nobody.run_apart("connect", "shop", "--address", address, *read, **machine)).strip() == "Ada"
    assert key not in nobody.profile.read_text()
    assert _output(nobody.run_apart("connect", "shop", *read, **machine)).strip() == "Ada"
    shown = nobody.said("connect", "shop", "--print", **machine)
    assert f"PGPORT={stack.port('shop')} PGUSER={REQUESTER}" in shown
    assert "PGSSLMODE=verify-full" in nobody.said("connect", "far", "--address", "db.example:1", "--print", **machine)


def test_a_certificate_is_written_for_psql(admin: Cli, nobody: Cli, stack: Stack, tmp_path: Path) -> None:
    key = admin.json("identities", "key", REQUESTER, "--days", "1")["key"]
    said = nobody.said("certificate", "--folder", str(tmp_path / "c"), ASSENTRY_TOKEN=key)
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"client.key", "client.crt", "ca.crt"}
    exported = dict(word.split("=", 1) for word in said.splitlines()[-1].split()[1:])
    assert stack.psql("shop", "SELECT 1", PGPASSWORD="", **exported).stdout.strip() == "1"


def test_the_console_link_is_for_this_control_plane(rosa: Cli, stack: Stack) -> None:
    assert rosa.said("console").startswith(f"{stack.control.url}/sign-in/link#")


# -------------------------------------------------------------- approvals


def test_a_request_is_listed_shown_and_approved_by_its_code(rosa: Cli, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 17")
    code = stack.pending("DELETE FROM orders WHERE id = 17")["short_code"]
    assert code in rosa.said("approvals", "list")
    shown = rosa.said("approvals", "show", code)
    for part in (
        "DELETE FROM orders WHERE id = 17",
        "public.orders (",
        f"{REQUESTER} (machine",
        "shop/writes",
        "may decide",
    ):
        assert part in shown
    declined = rosa.run("approvals", "approve", code, stdin="n\n")
    assert (declined.returncode, "nothing was decided" in declined.stderr) == (1, True)
    assert client.poll() is None
    assert rosa.run("approvals", "approve", code, "--output", "json").returncode == 2
    assert "approved" in rosa.said("approvals", "approve", code, "--yes")
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    assert "error" in rosa.refused("approvals", "deny", code, "--reason", "late", "--yes")


def test_a_denial_carries_its_reason(rosa: Cli, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 18")
    code = stack.pending("DELETE FROM orders WHERE id = 18")["short_code"]
    rosa.said("approvals", "deny", code, "-r", "not [bold]today[/bold]", "--yes")
    _, notices = client.communicate(timeout=WAIT)
    assert "not [bold]today[/bold]" in notices
    assert "not [bold]today[/bold]" in rosa.said("approvals", "show", code)


@pytest.fixture
def watching(rosa: Cli) -> Iterator[queue.Queue[Any]]:
    """What `approvals watch` prints, line by line."""
    process = rosa.start("approvals", "watch", "-o", "json")
    lines: queue.Queue[Any] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    yield lines
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT) == 0
    reader.join()
    assert process.stdout is not None
    process.stdout.close()


def test_watching_tells_what_waits_and_every_change(stack: Stack, watching: queue.Queue[Any]) -> None:
    text = "UPDATE orders SET total = 1 WHERE id = 17"
    client = stack.start_psql("shop", text)
    stack.pending(text)
    seen = watching.get(timeout=WAIT)
    assert (seen["state"], seen["headline"], seen["requester"]) == ("pending", text, REQUESTER)
    stack.deny(text, "no")
    client.communicate(timeout=WAIT)
    assert watching.get(timeout=WAIT)["state"] == "denied"


# -------------------------------------------------------------- sessions


def test_a_session_is_replayed_as_a_timeline(rosa: Cli, stack: Stack) -> None:
    stack.psql("shop", "SELECT name, email FROM customers WHERE id = 1", "DROP TABLE orders", PGAPPNAME="cli-replay")
    stack.recorded("cli-replay")
    (session,) = [one for one in rosa.json("sessions", "list") if one["application_name"] == "cli-replay"]
    assert session["denied"] == 1
    told = rosa.said("sessions", "replay", session["id"])
    for part in (
        "opened on shop",
        "SELECT name, email",
        "allow read by shop/reads",
        "Ada",
        "no schema changes here",
        "closed:",
    ):
        assert part in told
    assert "ada@canary" not in told
    timed = rosa.said("sessions", "replay", session["id"], "--real-time", "--longest-pause", "0.01")
    assert "closed:" in timed
    whole = rosa.json("sessions", "replay", session["id"])
    assert (whole["status"], whole["events"][0]["kind"]) == ("complete", "opened")
    assert "client address" in rosa.said("sessions", "show", "last")
    assert "there is no session" in rosa.refused("sessions", "replay", "ses_nothing")


def test_a_session_is_killed_with_a_reason(admin: Cli, stack: Stack) -> None:
    client = stack.start_psql("open", "SELECT pg_sleep(60)")
    running = eventually(lambda: [one for one in stack.sessions(open=True) if one["target"] == "open"], "the session")
    admin.said("sessions", "kill", running[0]["id"], "--reason", "out of hours")
    _, notices = client.communicate(timeout=WAIT)
    assert "out of hours" in notices
    assert client.returncode != 0


# -------------------------------------------------------------- audit


def test_the_log_is_exported_and_verified_offline(admin: Cli, tmp_path: Path) -> None:
    log, keys, seen = (str(tmp_path / name) for name in ("audit.ndjson", "keys.json", "checkpoint.json"))
    admin.said("audit", "checkpoint", "--file", seen)
    said = admin.said("audit", "export", "--file", log, "--keys", keys)
    entries = sum('"type":"entry"' in line for line in Path(log).read_text().splitlines())
    assert f"{entries} entries written" in said
    piped = admin.said("audit", "export", "-f", "-").splitlines()
    assert [json.loads(line)["type"] for line in piped].count("entry") == entries + 1, "and the export before it"
    offline = Cli(tmp_path, ASSENTRY_URL="http://127.0.0.1:1")
    assert "intact" in offline.said("audit", "verify", log, "--keys", keys, "--checkpoint", seen)
    lines = Path(log).read_text().splitlines()
    spoilt = tmp_path / "spoilt"
    spoilt.write_text(
        "\n".join([lines[0], lines[1].replace('"actor"', '"actor" ').replace("system", "nobody"), *lines[3:]])
    )
    done = offline.run("audit", "verify", str(spoilt), "--keys", keys, "--checkpoint", seen)
    assert (done.returncode, "NOT intact" in done.stdout) == (1, True)
    assert "not a checkpoint" in offline.refused("audit", "verify", log, "--keys", keys, "--checkpoint", keys)
    assert admin.json("audit", "list", "--kind", "audit.")[0]["actor"]["name"] == "admin"


def test_every_decision_is_listed(admin: Cli, stack: Stack) -> None:
    """Invariant 8: one by one, also those of one batch."""
    stack.psql("shop", "SELECT name FROM customers", "SELECT 2", "DROP TABLE orders", PGAPPNAME="cli-decisions")
    stack.recorded("cli-decisions")
    (session,) = [one for one in admin.json("sessions", "list") if one["application_name"] == "cli-decisions"]
    listed = admin.json("audit", "decisions", session["id"])
    assert [one["operation"] for one in listed] == [3, 2, 1]
    assert [one["effect"] for one in listed] == ["deny", "allow", "allow"]
    assert listed[0]["rules"] == ["shop/ddl"]
    assert len(admin.json("audit", "decisions", session["id"], "--limit", "2")) == 2
    assert "shop/reads" in admin.said("audit", "decisions", session["id"])


# -------------------------------------------------------------- agents


def test_an_agent_is_let_in_with_files_that_only_its_owner_reads(admin: Cli, tmp_path: Path) -> None:
    admin.said("agents", "join", "second", "--folder", str(tmp_path / "agent"))
    files = sorted((tmp_path / "agent").iterdir())
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in files] == [
        ("ca.pem", 0o600),
        ("join-token", 0o600),
    ]
    assert files[1].read_text().startswith("ajt_")
    assert "demo" in admin.said("agents", "list")
    assert "no agent is named" in admin.refused("agents", "disable", "no-such")


# -------------------------------------------------------------- identities


def test_an_admin_disables_and_enables_somebody_and_what_has_ended_stays_so(
    admin: Cli, nobody: Cli, stack: Stack
) -> None:
    stack.control.apply(
        [
            document("Identity", "kim", kind="person"),
            document("Identity", "kims-bot", kind="machine", owner="kim", purpose="works", ends_at=MACHINES_END),
        ]
    )
    key = admin.json("identities", "key", "kims-bot", "--days", "1")["key"]
    assert nobody.said("whoami", ASSENTRY_TOKEN=key)
    assert admin.said("identities", "disable", "kim").startswith("kim is disabled; ")
    listed = {one["name"]: one for one in admin.json("identities", "list")}
    assert [(listed[one]["disabled"], listed[one]["able"]) for one in ("kim", "kims-bot")] == [
        (True, False),
        (False, False),
    ]
    assert "until the owner is too" in admin.said("identities", "enable", "kims-bot")
    assert admin.said("identities", "enable", "kim") == "kim is enabled\n"
    assert admin.said("identities", "enable", "kims-bot") == "kims-bot is enabled\n"
    assert "login` again" in nobody.refused("whoami", ASSENTRY_TOKEN=key)
    assert "no identity" in admin.refused("identities", "disable", "no-such")


def test_a_reviewer_may_not_do_what_admins_do(rosa: Cli) -> None:
    for command in (["agents", "join", "x"], ["export"], ["identities", "keys"], ["identities", "disable", "x"]):
        assert "permission" in rosa.refused(*command)
