"""What a terminal says of a request, and that it says nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.cli import approval_card

BY: dict[str, Any] = {
    "name": "bot", "kind": "machine", "owner": None, "client_address": "10.1.2.3:5", "credential": "token",
    "application_name": "",
}  # fmt: skip
ON = {"name": "shop", "environment": "test", "protocol": "postgres"}


@pytest.mark.parametrize(
    ("address", "says"),
    [("10.1.2.3:5", "bot (machine) from 10.1.2.3:5 with token"), ("", "bot (machine) with token")],
)
def test_who_asks_beforehand_has_no_address(address: str, says: str) -> None:
    approval = {"requested_by": {**BY, "client_address": address}, "on": ON, "said": "", "undo": None}
    assert approval_card._who(approval)["requester"] == says


@pytest.mark.parametrize(("rows", "says"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (50_000, "50,000 rows")])
def test_one_row_is_not_rows(rows: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(approval_card, "say", said.append)
    count = {"rows": rows, "label": "counted", "missing": ""}
    impact = {"count": count, "dry_run": None, "estimate": None, "notes": []}
    approval_card._impact({"impact": impact, "row_guard": None})
    assert f"[/bold]{says} [dim]" in said[0]
