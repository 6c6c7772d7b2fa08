"""All pages of the console and its own files, for `app` to include."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.staticfiles import StaticFiles

from control_plane.web import (
    access_review_pages,
    account_pages,
    act_pages,
    approval_pages,
    credential_pages,
    delegation_pages,
    device_pages,
    oidc_pages,
    review_pages,
    saml_pages,
    secret_pages,
    security_key_pages,
    session_pages,
    sign_in_pages,
)
from control_plane.web.rendering import STATIC

router = APIRouter()
for part in (
    sign_in_pages,
    saml_pages,
    oidc_pages,
    device_pages,
    approval_pages,
    act_pages,
    delegation_pages,
    review_pages,
    session_pages,
    account_pages,
    credential_pages,
    secret_pages,
    security_key_pages,
    access_review_pages,
):
    router.include_router(part.router)


def static_files() -> StaticFiles:
    """The style sheet and the script: no secret, no sign-in."""
    return StaticFiles(directory=STATIC)
