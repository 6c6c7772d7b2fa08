"""One client at one provider: where browsers are sent, and what is asked for at the token and userinfo endpoints.

Authlib speaks OAuth; how it may be spoken (addresses, sizes, times) is `outside`'s.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.parameters import (  # type: ignore[import-untyped]
    prepare_grant_uri,
    prepare_token_request,
)
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

from control_plane.kit.outside import TOTAL_SECONDS, OutsideError, fetch_object, settings
from control_plane.kit.secret import Secret
from control_plane.sign_on.documents import Oidc
from control_plane.sign_on.oidc_metadata import Announced

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_LONGEST_TOKEN: Final = 64 * 1024
T = TypeVar("T")


class ProviderSaysNoError(Exception):
    """The provider's error code (RFC 6749 §5.2, RFC 8628 §3.5) is `code`; `args[0]` is for the audit log."""

    def __init__(self, code: str, description: str = "") -> None:
        self.code = code[:64]
        super().__init__(f"the provider says {self.code!r} {description[:200]!r}")


class Tokens(msgspec.Struct, frozen=True):
    """As the token endpoint gave them: nothing is verified. Empty: not given."""

    access_token: str = ""
    id_token: str = ""
    refresh_token: str = ""


class DeviceStart(msgspec.Struct, frozen=True):
    """RFC 8628 §3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    verification_uri_complete: str = ""
    interval: int = 5


class OidcClient:
    def __init__(self, spec: Oidc, announced: Announced, secret: Secret | None, redirect_uri: str) -> None:
        self._spec = spec
        self._announced = announced
        self._secret = secret
        self._redirect_uri = redirect_uri

    # -------------------------------------------------------------- where the browser goes

    def authorization_url(
        self, *, state: str, nonce: str, verifier: str, max_age: timedelta, again: bool, hint: str = ""
    ) -> str:
        """`again`: the person is to prove who they are now, whatever session they have there."""
        more = {
            "nonce": nonce,
            "max_age": str(int(max_age.total_seconds())),
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
            **({"prompt": "login"} if again else {}),
            **({"acr_values": " ".join(self._spec.acr_values)} if self._spec.acr_values else {}),
            **({"login_hint": hint} if hint else {}),
        }
        url: str = prepare_grant_uri(
            self._announced.authorization_endpoint,
            client_id=self._spec.client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope=list(self._spec.scopes),
            state=state,
            **more,
        )
        return url

    def end_session_url(self, id_token: str, back: str) -> str:
        """RP-Initiated Logout 1.0. Empty: the provider has none."""
        endpoint = self._announced.end_session_endpoint
        if not endpoint:
            return ""
        told = {"client_id": self._spec.client_id, "post_logout_redirect_uri": back}
        if id_token:
            told["id_token_hint"] = id_token
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(told)}"

    # -------------------------------------------------------------- tokens

    async def exchange(self, code: str, verifier: str) -> Tokens:
        """Raises ProviderSaysNoError, OutsideError, as the others here do."""
        back = self._redirect_uri
        return await self._granted("authorization_code", code=code, redirect_uri=back, code_verifier=verifier)

    async def refresh(self, refresh_token: str) -> Tokens:
        return await self._granted("refresh_token", refresh_token=refresh_token)

    async def device(self) -> DeviceStart:
        endpoint = self._announced.device_authorization_endpoint
        if not endpoint:
            raise OutsideError("the provider announces no device flow")
        form = urlencode({"scope": " ".join(self._spec.scopes)})
        return _shaped(await self._posted(endpoint, form), DeviceStart)

    async def device_tokens(self, device_code: str) -> Tokens:
        return await self._granted(DEVICE_GRANT, device_code=device_code)

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        """Empty: the provider has no such endpoint."""
        if not self._announced.userinfo_endpoint or not access_token:
            return {}
        return await fetch_object(self._announced.userinfo_endpoint, {"authorization": f"Bearer {access_token}"})

    async def _granted(self, grant_type: str, **values: str) -> Tokens:
        form = prepare_token_request(grant_type, "", **values)
        tokens = _shaped(await self._posted(self._announced.token_endpoint, form), Tokens)
        if max(map(len, (tokens.access_token, tokens.id_token, tokens.refresh_token))) > _LONGEST_TOKEN:
            raise OutsideError("the provider gave a token that is too long")
        return tokens

    async def _posted(self, url: str, form: str) -> dict[str, Any]:
        """As this client."""
        secret = None if self._secret is None else self._secret.reveal()
        how = ClientAuth(self._spec.client_id, secret, _method(self._announced) if secret else "none")
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        url, headers, form = how.prepare("POST", url, headers, form)
        try:
            async with asyncio.timeout(TOTAL_SECONDS), httpx.AsyncClient(**settings()) as client:
                answer = await client.post(url, content=form, headers=headers)
            found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            raise OutsideError(f"{url} gave no answer that is JSON: {type(error).__name__}") from None
        if not isinstance(found, dict) or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise OutsideError(f"{url} answered {answer.status_code}")
        if "error" in found:
            raise ProviderSaysNoError(str(found["error"]), str(found.get("error_description", "")))
        if answer.status_code != httpx.codes.OK:
            raise OutsideError(f"{url} answered {answer.status_code}")
        return found


def _method(announced: Announced) -> str:
    """By form where it may be: what is in a Basic header is encoded in more than one way out there."""
    supported = announced.token_endpoint_auth_methods_supported
    return "client_secret_post" if "client_secret_post" in supported else "client_secret_basic"


def _shaped(found: dict[str, Any], shape: type[T]) -> T:
    try:
        return msgspec.convert(found, shape)
    except msgspec.ValidationError as error:
        raise OutsideError(f"the provider's answer has not the shape that it must have: {error}") from error
