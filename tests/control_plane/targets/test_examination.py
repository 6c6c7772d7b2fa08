"""`POST /v1/targets/{name}/examine`: an errand for the agent, its answer as it is, and who asked in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx
import pytest
from sqlmodel import select

from control_plane.agents.errors import NoAgentError
from control_plane.assembly import ControlPlane
from control_plane.audit.tables import AuditRow
from control_plane.cli import targets as command

ANSWER: Mapping[str, Any] = {
    "target": "orders",
    "database": "shop",
    "account": "postgres",
    "account_to_use": "assentry_orders",
    "server_version": 160004,
    "findings": [
        {
            "severity": "critical",
            "code": "superuser",
            "about": "postgres",
            "says": "it is SUPERUSER",
            "advice": "",
            "things": [],
            "sql": [],
        },
        {
            "severity": "remark",
            "code": "held-reads",
            "about": "orders",
            "says": "rules hold reads",
            "advice": "",
            "things": ["a"],
            "sql": ["b"],
        },
    ],
    "sql": "BEGIN;\nCOMMIT;\n",
    "session_roles": {"roles": {"read": ["orders_read"]}, "owner": ""},
}


class Agent:
    """Stands where the errands of agents are."""

    def __init__(self) -> None:
        self.answer: Any = ANSWER
        self.asked: list[tuple[str, str, Mapping[str, Any]]] = []

    async def ask(self, target: str, kind: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        self.asked.append((target, kind, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def agent(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Agent:
    made = Agent()
    monkeypatch.setattr(control_plane.agents.errands, "ask", made.ask)
    return made


async def test_the_agents_answer_is_given_as_it_is_and_who_asked_is_kept(
    admin: httpx.AsyncClient, agent: Agent, control_plane: ControlPlane
) -> None:
    answer = await admin.post("/v1/targets/orders/examine", json={"masks": "agent"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == ANSWER
    assert agent.asked == [("orders", "examine-target", {"database": "", "masks": "agent"})]
    async with control_plane.units.reading() as uow:
        (row,) = (await uow.session.exec(select(AuditRow).where(AuditRow.kind == "target.examined"))).all()
    assert row.subject == "orders"
    assert '"critical":1' in row.data.replace(" ", "")


async def test_only_admins_ask(client_of: Any, agent: Agent) -> None:
    for role in ("policy-editor", "reviewer", "auditor", "requester"):
        client = await client_of(role)
        assert (await client.post("/v1/targets/orders/examine", json={})).status_code == 403
    assert agent.asked == []


async def test_what_cannot_be_done_is_told(admin: httpx.AsyncClient, agent: Agent) -> None:
    agent.answer = NoAgentError("agent 'demo', which serves 'orders', is not connected: start it, or see its log")
    answer = await admin.post("/v1/targets/orders/examine", json={})
    assert answer.status_code == 503
    assert "is not connected" in answer.json()["detail"]
    agent.answer = {"something": "else"}
    answer = await admin.post("/v1/targets/orders/examine", json={})
    assert answer.status_code == 409
    assert "update the agent" in answer.json()["detail"]
    assert (await admin.post("/v1/targets/orders/examine", json={"masks": "some"})).status_code == 422


class Answering:
    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def post(self, path: str, body: Any) -> Any:
        assert path == "/v1/targets/orders/examine"
        return self._found


@pytest.mark.parametrize(
    ("severities", "accepted", "code"),
    [
        ((), (), 0),
        (("remark",), (), 0),
        (("remark", "warning"), (), 3),
        (("critical",), (), 3),
        (("warning",), ("code-0",), 0),
        (("warning", "critical"), ("code-0",), 3),
    ],
)
def test_the_exit_code_says_whether_something_is_to_be_mended(
    severities: tuple[str, ...], accepted: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    found = [
        {**ANSWER["findings"][0], "severity": one, "code": f"code-{number}"} for number, one in enumerate(severities)
    ]
    monkeypatch.setattr(command, "Api", lambda *_, **__: Answering({**ANSWER, "findings": found}))
    words = ["doctor", "orders", *(word for one in accepted for word in ("--accept", one))]
    assert CliRunner().invoke(command.app, words).exit_code == code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "assentry targets doctor orders --sql"),
        (["--masks", "agent"], "assentry targets doctor orders --masks agent --sql"),
        (["--database", "a", "--masks", "closed"], "assentry targets doctor orders --database a --sql"),
        (["--accept", "superuser"], ""),
        (["--output", "json"], ""),
    ],
)
def test_what_is_told_to_apply_mends_what_was_asked_about(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--masks agent` the columns stay open; what `--sql` writes without it closes them."""
    from typer.testing import CliRunner

    said: list[str] = []
    monkeypatch.setattr(command, "Api", lambda *_, **__: Answering(ANSWER))
    monkeypatch.setattr(command, "warn", said.append)
    CliRunner().invoke(command.app, ["doctor", "orders", *words])
    assert [line.partition("[/dim] ")[2] for line in said[:1]] == ([told] if told else [])


def test_text_from_a_database_cannot_colour_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {**ANSWER["findings"][0], "about": "a\x1b[31m[red]b", "sql": ["DROP\x1b[2J"]}
    monkeypatch.setattr(command, "Api", lambda *_, **__: Answering({**ANSWER, "findings": [bad], "sql": "--\x1b[2J\n"}))
    from typer.testing import CliRunner

    for words in ([], ["--sql"], ["--output", "json"]):
        done = CliRunner().invoke(command.app, ["doctor", "orders", *words])
        assert "\x1b[31m" not in done.output + capsys.readouterr().out
        assert "\x1b[2J" not in done.output
