"""HTTP to the control plane. Every failure becomes an `ApiError` that says what to do; none carries the token."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import httpx

from control_plane.cli.config import Profile

Json = dict[str, Any]


class ApiError(Exception):
    """`status` 0: the control plane could not be reached. `problem` is its problem+json, when it sent one."""

    def __init__(self, message: str, status: int = 0, problem: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class Api:
    """Calls of one signed-in user."""

    def __init__(self, profile: Profile, timeout: float = 30) -> None:
        headers = {"Accept": "application/json"}
        if profile.token:
            headers["Authorization"] = f"Bearer {profile.token}"
        self._url = profile.url
        self._http = httpx.Client(base_url=profile.url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def pages(self, path: str, limit: int = 100, **query: Any) -> Iterator[Json]:
        """Every item of a cursor-paginated list, up to `limit`."""
        cursor: str | None = None
        left = limit
        while left > 0:
            page = self.get(path, cursor=cursor, limit=min(left, 100), **query)
            yield from page["items"][:left]
            left -= len(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    @contextmanager
    def stream(self, path: str, **query: Any) -> Iterator[Iterator[str]]:
        """Lines of an answer as they come; there is no read timeout."""
        timeout = httpx.Timeout(30, read=None)
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise self._refusal(response)
                yield response.iter_lines()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _call(self, method: str, path: str, headers: Mapping[str, str] | None = None, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, headers=headers, **arguments)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise self._refusal(response)
        return response.json() if response.content else None

    def _unreachable(self, error: httpx.HTTPError) -> ApiError:
        return ApiError(f"cannot reach the control plane at {self._url}: {error}; set ASSENTRY_URL or `assentry login`")

    def _refusal(self, response: httpx.Response) -> ApiError:
        problem: Json = {}
        if "json" in response.headers.get("content-type", ""):
            body = response.json()
            problem = body if isinstance(body, dict) else {}
        message = str(problem.get("detail") or problem.get("title") or f"HTTP {response.status_code}")
        if response.status_code == httpx.codes.UNAUTHORIZED:
            message += "; sign in with `assentry login`"
        return ApiError(message, response.status_code, problem)
