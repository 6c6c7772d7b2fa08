"""The demo's story, unattended: every step is checked, and the first that is not as it should be ends it.

The client is psql, unmodified; what really happened is read from the database past the gateway.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from control_plane.audit.verification import verify
from control_plane.cli.audit import public_keys
from control_plane.cli.client import Api, ApiError
from control_plane.cli.config import Profile, client_environment
from control_plane.cli.demo import shop
from control_plane.cli.demo.planes import LocalAgent, LocalControlPlane
from control_plane.cli.demo.ports import HOST
from control_plane.cli.output import cell, console

PATIENCE_SECONDS = 20


class StoryError(Exception):
    """A step was not as it should be."""


def expect(condition: object, what: str, seen: object = "") -> None:
    if not condition:
        raise StoryError(f"{what}{f'; saw: {seen}' if seen else ''}")


def eventually(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer. Raises StoryError when there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise StoryError(f"{what} did not happen in {PATIENCE_SECONDS} s")


class Story:
    def __init__(
        self, control: LocalControlPlane, agent: LocalAgent, target: shop.Shop, reviewer: Profile, token: str
    ) -> None:
        self._target, self._api = target, Api(reviewer)
        self._profile = control.sign_in()
        self._admin = Api(self._profile)
        self._environment = client_environment(
            PGHOST=HOST, PGPORT=str(agent.ports[shop.TARGET]), PGUSER=shop.BOT, PGPASSWORD=token,
            PGDATABASE=shop.DATABASE, PGAPPNAME="the demo's psql", LC_ALL="C.UTF-8",
        )  # fmt: skip
        self._started = time.monotonic()

    def run(self) -> None:
        self._masked_read()
        self._session_role()
        self._least_privilege()
        self._held_and_approved_delete()
        self._held_and_denied_update()
        self._refusals()
        self._replay()
        self._audit()
        console.print(f"[green]The story went as it should, in {time.monotonic() - self._started:.1f} s.[/green]")

    def _masked_read(self) -> None:
        done = self._psql("SELECT name, email, card FROM customers ORDER BY id")
        expect(done.returncode == 0, "a read flows", done.stderr)
        expect("Ada" in done.stdout, "the read has its rows", done.stdout)
        for secret in ("ada@example.com", "4111 1111 1111 1111", "5500"):
            expect(secret not in done.stdout, "protected values are masked", done.stdout)
        self._tell("a read flowed, e-mail and card masked", done.stdout.splitlines()[0])

    def _session_role(self) -> None:
        role = self._psql("SELECT current_user").stdout.strip()
        expect(role.startswith("gw_"), "a session has an account of its own", role)
        eventually(lambda: role not in self._target.session_roles(), f"the account {role} going with its session")
        self._tell("each session has an account of its own at the target, which is gone when it ends", role)

    def _least_privilege(self) -> None:
        found = [one for one in shop.examined(self._profile)["findings"] if one["severity"] != "remark"]
        left = [one for one in found if one["code"] != "createrole-before-16"]
        expect(not left, "the agent's account and the roles of sessions can do no more than policy says", left)
        command = f"assentry targets doctor {shop.TARGET} --masks agent --accept createrole-before-16"
        self._tell("the agent's account is as narrow as policy lets it be", f"{command} finds nothing to mend")

    def _held_and_approved_delete(self) -> None:
        client = self._start_psql("DELETE FROM orders WHERE id = 2")
        pending = self._pending("DELETE FROM orders WHERE id = 2")
        expect(client.poll() is None, "the client waits")
        expect(self._target.count_orders() == 4, "nothing ran before the approval")
        approval = self._api.get(f"/v1/approvals/{pending['id']}")
        impact, guard = approval["impact"], approval["row_guard"]
        expect(bool(impact) and impact["count"]["rows"] == 1, "the card counts the rows", impact)
        expect(bool(guard) and guard["most_rows"] == 2, "more rows than that would be undone", guard)
        approved_at = time.monotonic()
        self._api.post(f"/v1/approvals/{approval['id']}/approve", {"digest": approval["digest"], "channel": "cli"})
        out, notices = client.communicate(timeout=PATIENCE_SECONDS)
        waited = (time.monotonic() - approved_at) * 1000
        expect(client.returncode == 0 and "DELETE 1" in out, "the approved DELETE ran", out + notices)
        expect(pending["short_code"] in notices, "the client was told the code", notices)
        expect(self._target.count_orders() == 3, "exactly one row is gone")
        told = f"a DELETE waited, its card counted 1 row, it was approved and ran, {waited:.0f} ms after the click"
        self._tell(told, notices.splitlines()[0])

    def _held_and_denied_update(self) -> None:
        client = self._start_psql("UPDATE orders SET total = 0 WHERE id = 1")
        approval = self._api.get(f"/v1/approvals/{self._pending('UPDATE orders')['id']}")
        self._api.post(
            f"/v1/approvals/{approval['id']}/deny",
            {"digest": approval["digest"], "channel": "cli", "reason": "ask finance first"},
        )
        _, notices = client.communicate(timeout=PATIENCE_SECONDS)
        expect(client.returncode != 0 and "ask finance first" in notices, "the reason reaches the client", notices)
        self._tell("an UPDATE was denied by a person, whose reason reached psql", notices.splitlines()[-1])

    def _refusals(self) -> None:
        done = self._psql("DELETE FROM orders", "DROP TABLE orders", "SELECT 'still here'")
        expect("add a WHERE clause" in done.stderr, "a DELETE without WHERE is refused with advice", done.stderr)
        expect("schema changes" in done.stderr, "a DROP is refused", done.stderr)
        expect("still here" in done.stdout, "the session lives on after refusals", done.stdout)
        expect(self._target.count_orders() == 3, "nothing refused ran")
        self._tell("a DELETE without WHERE and a DROP were refused; the session lived on", done.stderr.splitlines()[0])

    def _replay(self) -> None:
        def recorded() -> Any:
            for session in self._api.pages("/v1/sessions", 10):
                page = self._timeline(session["id"]) if session["held"] and not session["open"] else None
                if page and page["status"] == "complete" and "DELETE 1" in json.dumps(page["events"]):
                    return page["events"]
            return None

        events = eventually(recorded, "the recording of the approved DELETE arriving")
        kinds = {event["kind"] for event in events}
        expect({"opened", "input", "decision", "hold", "approval", "completed", "closed"} <= kinds, "a replay", kinds)
        expect("ada@example.com" not in json.dumps(events), "no protected value in a recording")
        self._tell(f"the session was replayed: {len(events)} events, from opened to closed")

    def _timeline(self, session_id: str) -> Any:
        try:
            return self._api.get(f"/v1/sessions/{session_id}/timeline")
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None  # nothing of it has arrived yet

    def _audit(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / "audit.ndjson"
            with self._admin.stream("/v1/audit/export") as lines:
                exported.write_text("\n".join(lines) + "\n")
            trusted = public_keys(self._admin)
            result = verify(exported.read_bytes().splitlines(), trusted)
            expect(result.intact, "the audit log verifies", result.problems)
            text = exported.read_text()
            expect("approval.approved" in text, "the approval is in the audit log")
            spoilt = text.replace("approval.approved", "approval.denied", 1).encode().splitlines()
            expect(not verify(spoilt, trusted).intact, "a changed audit log does not verify")
        self._tell(f"the audit log verifies offline ({result.events} events), and a changed copy does not")

    # -------------------------------------------------------------- how the client runs

    def _pending(self, text: str) -> Any:
        def found() -> Any:
            waiting = self._api.pages("/v1/approvals", 50, show="mine")
            return next((item for item in waiting if item["headline"].startswith(text)), None)

        return eventually(found, f"a request for {text}")

    def _command(self, statements: tuple[str, ...]) -> list[str]:
        words = [str(self._target.bin / "psql"), "-X", "-A", "-t"]
        return [*words, *(word for statement in statements for word in ("-c", statement))]

    def _psql(self, *statements: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(statements), env=self._environment, capture_output=True, text=True, check=False, timeout=60
        )

    def _start_psql(self, statement: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command((statement,)),
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _tell(self, what: str, line: str = "") -> None:
        console.print(f"[green]✓[/green] {cell(what)}" + (f"\n    [dim]{cell(line)}[/dim]" if line else ""))
