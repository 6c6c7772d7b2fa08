"""What was refused to whoever pushes, in the audit log with its exact cause.

Whoever has no token can send any number of requests, so what is refused for want of one is told once a minute for each
cause, with how many there were.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fastapi import Request
from sqlmodel import col, select

from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, Json, UnitOfWork, Units
from control_plane.scim.domain import client_name
from control_plane.scim.tables import ScimClientRow
from control_plane.scim.tokens import TokenService

_EVERY: Final = timedelta(minutes=1)
_LONGEST: Final = 500


class Refusals:
    def __init__(self, units: Units, tokens: TokenService) -> None:
        self._units = units
        self._tokens = tokens
        self._told: dict[tuple[str, str], datetime] = {}
        self._untold: dict[tuple[str, str], int] = {}

    async def tell(self, request: Request, status: int, cause: str) -> None:
        principal: Principal | None = getattr(request.state, "principal", None)
        data: dict[str, Json] = {
            "method": request.method,
            "path": request.url.path[:_LONGEST],
            "status": status,
            "cause": cause[:_LONGEST],
        }
        if principal is not None:
            async with self._units() as uow:
                uow.audit(AuditEvent("push.refused", principal.actor, client_name(principal), data))
            return
        await self._tell_of_stranger(request, data)

    async def _tell_of_stranger(self, request: Request, data: dict[str, Json]) -> None:
        token = request.headers.get("authorization", "").partition(" ")[2].strip()
        async with self._units.reading() as uow:
            cause = await self._tokens.cause_of_refusal(uow, token)
            client = await self._known(uow, str(request.path_params.get("client", "")))
            now = uow.now
        key = (client, cause)
        if now < self._told.get(key, now) + _EVERY and key in self._told:
            self._untold[key] = self._untold.get(key, 0) + 1
            return
        self._told[key] = now
        more = self._untold.pop(key, 0)
        async with self._units() as uow:
            uow.audit(AuditEvent("push.refused", NOBODY, client, {**data, "cause": cause, "more_before": more}))

    async def _known(self, uow: UnitOfWork, name: str) -> str:
        """Empty: there is no such client, so that nobody writes what they like into the log."""
        found = await uow.session.exec(select(ScimClientRow.name).where(col(ScimClientRow.name) == name))
        return found.first() or ""
