"""`/v1/identity-providers`: where people sign in, for admins."""

from __future__ import annotations

from typing import Final

from control_plane.documents.resources import document_router
from control_plane.kit.access import Permission
from control_plane.sign_on.documents import IdentityProvider

router: Final = document_router(IdentityProvider, "/v1/identity-providers", Permission.ADMIN)
