"""Whatever the description of the API allows is answered as the description says, and never with a failure inside.

Signed in as a person with every role. Left out: what never ends (events) and what ends this very sign-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_plane.app import create_app
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import QUICK, ROLES, ManualClock

EXAMPLES = 12
LEFT_OUT = {"GET /v1/approvals/events", "DELETE /v1/session", "PUT /v1/session/password"}
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]

Send = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Send, dict[str, Any]]]:
    """How to send a request, and the description. One event loop for all of them, outside of hypothesis."""
    made = ControlPlane(Settings(state_dir=tmp_path_factory.mktemp("openapi")), ManualClock(), QUICK)
    app = create_app(made)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")
    with asyncio.Runner() as runner:
        runner.run(made.open())
        client.headers["authorization"] = f"Bearer {runner.run(_sign_in(made))}"
        yield lambda **asked: runner.run(client.request(**asked)), app.openapi()
        runner.run(client.aclose())
        runner.run(made.close())


async def _sign_in(control_plane: ControlPlane) -> str:
    async with control_plane.units() as uow:
        identity = await control_plane.identities.create(uow, SYSTEM, name="everybody", kind="person")
        await control_plane.identities.put_group(uow, SYSTEM, "all", roles=ROLES, members=["everybody"])
        opened = await control_plane.sign_ins.open(uow, identity, "cli")
    return opened.token.reveal()


@pytest.mark.timeout(600)
def test_every_operation_answers_as_described(running: tuple[Send, dict[str, Any]]):
    send, description = running
    failures: dict[str, str] = {}
    operations = [found.ok() for found in schemathesis.openapi.from_dict(description).get_all_operations()]
    for operation in operations:
        if operation.label not in LEFT_OUT:
            try:
                _try(send, operation)
            except (AssertionError, BaseExceptionGroup) as error:
                failures[operation.label] = str(error)
    assert not failures, "\n".join(f"{label}: {told}" for label, told in failures.items())
    assert len(operations) > 50


def _try(send: Send, operation: schemathesis.APIOperation) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers_as_described(case: schemathesis.Case) -> None:
        asked = case.as_transport_kwargs(base_url="http://127.0.0.1:8080")
        asked.pop("cookies")
        answer = send(**asked)
        assert answer.status_code < 500, answer.text
        case.validate_response(answer, checks=CHECKS)

    answers_as_described()
