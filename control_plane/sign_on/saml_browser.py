"""The cookie that ties a sign-in at a SAML provider to the browser that began it.

The answer comes as a form that the provider's page posts, from another site, so over https the cookie must go with such
requests too (`SameSite=None`). That gives nobody anything: it opens one request only, which ends with its first answer.
Over plain http, on one machine, browsers send no such cookie; there the provider must be on the same host.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.sign_on.saml_flow import PATIENCE, Begun

_LONGEST: Final = 128
_FLOW: Final = re.compile(r"[0-9a-f]{12}\Z")


class SamlCookie:
    def __init__(self, public_url: str) -> None:
        self._secure = public_url.startswith("https://")
        self._name = "__Host-assentry-saml-" if self._secure else "assentry-saml-"

    def of(self, request: Request, flow: str) -> str:
        """Empty: it has none, or what came back with the answer names none."""
        value = request.cookies.get(self._name + flow, "") if _FLOW.match(flow) else ""
        return value if len(value) <= _LONGEST else ""

    def set(self, response: Response, begun: Begun) -> None:
        self._write(response, begun.flow, begun.browser, int(PATIENCE.total_seconds()))

    def clear(self, response: Response, flow: str) -> None:
        if _FLOW.match(flow):
            self._write(response, flow, "", 0)

    def _write(self, response: Response, flow: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._name + flow,
            value,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="none" if self._secure else "lax",
        )
