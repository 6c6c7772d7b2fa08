"""People are shown the operation that they decide about, and not another one that looks like it."""

from __future__ import annotations

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import SYNC, bind, execute, query
from tests.support.stack import Stack

ONE = "PREPARE one AS DELETE FROM public.orders WHERE id = 1"
ALL = "PREPARE all_of_them AS DELETE FROM public.orders WHERE id > 0"


@pytest.mark.parametrize(("name", "text"), [("one", ONE), ("all_of_them", ALL)])
@pytest.mark.parametrize("by_query", [False, True])
def test_which_of_several_prepared_statements_runs(
    connect: Connect, attacked: Stack, name: str, text: str, *, by_query: bool
) -> None:
    with connect("held") as client:
        client.run(f"{ONE}; {ALL}")
        client.send(query(f"EXECUTE {name}") if by_query else bind("", name) + execute("") + SYNC)
        approval = attacked.pending(f"EXECUTE {name}" if by_query else text[: text.index(" AS")])
        asked = attacked.reviewer.get(f"/v1/approvals/{approval['id']}")

    assert asked["text"] == (f"EXECUTE {name};\n{text}" if by_query else text)
