"""HTTP to the control plane. Every failure becomes an `ApiError` that says what to do; none carries the token."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from control_plane.cli.config import Profile, is_of_the_environment, missing_profile
from control_plane.cli.errors import CommandError

Json = dict[str, Any]
_PAGE: Final = 100
_MOST_TOLD: Final = 5
_FIRST: Final = "not signed in: `assentry login`, or set ASSENTRY_TOKEN to a service-account key"
_AGAIN: Final = "the sign-in has ended or its token is not valid: `assentry login` again"
_GIVEN: Final = (
    "the token in ASSENTRY_TOKEN has ended or is not valid: set another, or unset it and `assentry login` again"
)


def part(name: str) -> str:
    """A name that a user typed, as one part of a path."""
    return quote(name, safe="")


class ApiError(CommandError):
    """`status` 0: the control plane could not be reached. `problem` is its problem+json, when it sent one."""

    def __init__(self, message: str, status: int = 0, problem: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


def _told_without(profile: Profile) -> str:
    """To who is not taken: about the token that was shown."""
    if not profile.token:
        return missing_profile() or _FIRST
    return _GIVEN if is_of_the_environment(profile.token) else _AGAIN


class Api:
    """Calls of one signed-in user. Closed by whoever wants it sooner than its last user is gone."""

    def __init__(self, profile: Profile, timeout: float = 30) -> None:
        headers = {"Accept": "application/json"}
        if profile.token:
            headers["Authorization"] = f"Bearer {profile.token}"
        self._url = profile.url
        self._without = _told_without(profile)
        try:
            self._http = httpx.Client(base_url=profile.url, headers=headers, timeout=timeout)
        except httpx.InvalidURL as error:
            raise self._unreachable(error) from error
        weakref.finalize(self, self._http.close)

    @property
    def url(self) -> str:
        return self._url

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

    def form(self, path: str, **fields: str) -> Any:
        """A POST as OAuth's endpoints take it, without empty fields; the `problem` of its error has `error`."""
        return self._call("POST", path, data={name: value for name, value in fields.items() if value})

    def put(self, path: str, body: Any, if_match: str | None = None) -> Any:
        return self._call("PUT", path, json=body, headers=_seen(if_match))

    def patch(self, path: str, body: Any, if_match: str) -> Any:
        return self._call("PATCH", path, json=body, headers=_seen(if_match))

    def delete(self, path: str, if_match: str | None = None) -> Any:
        return self._call("DELETE", path, headers=_seen(if_match))

    def pages(self, path: str, limit: int = _PAGE, **query: Any) -> Iterator[Json]:
        """Every item of a cursor-paginated list, up to `limit`."""
        cursor: str | None = None
        left = limit
        while left > 0:
            page = self.get(path, cursor=cursor, limit=min(left, _PAGE), **query)
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
                if not response.is_success:
                    response.read()
                    raise self._refusal(response)
                yield response.iter_lines()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _call(self, method: str, path: str, headers: Mapping[str, str] | None = None, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, headers=headers, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise self._refusal(response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise ApiError(f"what answers at {self._url} is no Assentry control plane; set ASSENTRY_URL") from error

    def _unreachable(self, error: Exception) -> ApiError:
        why = str(error) or type(error).__name__
        return ApiError(
            f"cannot reach the control plane at {self._url}: {why}; is it running? ASSENTRY_URL names another"
        )

    def _refusal(self, response: httpx.Response) -> ApiError:
        problem = _problem(response)
        said = problem.get("detail") or problem.get("title") or problem.get("error_description")
        message = str(said or self._unexplained(response))
        if problem.get("errors"):
            told = [f"{one.get('path')}: {one.get('message')}" for one in problem["errors"][:_MOST_TOLD]]
            message = "; ".join([message.removesuffix(", see errors"), *told])
        signs_in = response.request.method == "POST" and response.url.path.endswith("/v1/session")
        if response.status_code == httpx.codes.UNAUTHORIZED and not signs_in:
            message = self._without
        return ApiError(message, response.status_code, problem)

    def _unexplained(self, response: httpx.Response) -> str:
        return f"{self._url} answered HTTP {response.status_code}; is it an Assentry control plane? Set ASSENTRY_URL"


def _seen(if_match: str | None) -> dict[str, str]:
    return {} if if_match is None else {"If-Match": if_match}


def _problem(response: httpx.Response) -> Json:
    """Empty when the answer is something else."""
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
