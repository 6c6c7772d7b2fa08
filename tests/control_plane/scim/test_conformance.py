"""scim2-tester's conformance run against a control plane of its own, over HTTP.

Everything that the service publishes of itself is tried: discovery, all operations on both resources, every attribute
that may be written by each kind of PATCH, and partial answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from scim2_client import BaseSyncSCIMClient
from scim2_client.errors import RequestNetworkException
from scim2_tester import Status, check_server

from control_plane.cli.client import Api
from control_plane.cli.demo.planes import LocalControlPlane

GOOD = {Status.SUCCESS, Status.COMPLIANT, Status.ACCEPTABLE}
# A search over both resource types at once is optional, and answered with 501.
NOT_OFFERED = {"search_with_attributes"}


class HttpClient(BaseSyncSCIMClient):
    def __init__(self, http: httpx.Client) -> None:
        super().__init__()
        self.http = http

    def _stays_under_base_url(self, endpoint: str) -> bool:
        return str(self.http.build_request("GET", endpoint).url).startswith(str(self.http.base_url))

    def _parse_json(self, response: Any) -> Any:
        return response.json()

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        try:
            return self.http.request(method, url, **kwargs)
        except httpx.RequestError as error:
            raise RequestNetworkException from error


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    control = LocalControlPlane(tmp_path / "control-plane")
    try:
        with Api(control.admin) as admin:
            admin.post("/v1/scim-clients", {"name": "tester"})
            token = admin.post("/v1/scim-clients/tester/tokens", {})["token"]
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{control.url}/scim/v2/tester", headers=headers, timeout=30) as client:
            yield client
    finally:
        control.stop()


@pytest.mark.timeout(300)
def test_everything_that_the_service_says_it_does_it_does_as_the_rfcs_say(http: httpx.Client) -> None:
    results = check_server(HttpClient(http))
    bad = [result for result in results if result.status not in GOOD]
    assert [f"{one.title} {one.resource_type}: {one.reason}" for one in bad if one.title not in NOT_OFFERED] == []
    assert {one.status for one in bad} <= {Status.SKIPPED}
    assert len(results) >= 70
    assert {one.resource_type for one in results} == {None, "User", "Group"}
