"""The trusts of the examples can be applied with the rest of them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from control_plane.cli.yaml_documents import load_documents

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples" / "documents"


async def test_the_examples_are_sound(admin: httpx.AsyncClient):
    documents = [loaded.content for loaded in load_documents(EXAMPLES)]
    answer = await admin.post("/v1/documents/plan", json={"documents": documents, "prune": False})
    assert answer.status_code == 200, answer.text
