"""The console's session cookie. Over https it is `__Host-`: this host only, never over plain http.

It goes with the browser's session; when the sign-in ends is decided here, not by the browser.
"""

from __future__ import annotations

from starlette.responses import Response

from control_plane.identities.sign_ins import OpenedSignIn


class Cookies:
    def __init__(self, public_url: str) -> None:
        self._secure = public_url.startswith("https://")
        self.name = "__Host-assentry" if self._secure else "assentry"

    def set(self, response: Response, opened: OpenedSignIn) -> None:
        response.set_cookie(
            self.name,
            opened.token.reveal(),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def of_flow(self, flow: str) -> str:
        """The name of the cookie with which a browser comes back from a provider."""
        return f"{self.name}-oidc-{flow}"

    def keep(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="lax"
        )  # fmt: skip

    def forget(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="lax")

    def clear(self, response: Response) -> None:
        response.delete_cookie(self.name, path="/", secure=self._secure, httponly=True, samesite="lax")
