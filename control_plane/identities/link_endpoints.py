"""`/v1/session/links`: a one-time link with which a person who is signed in opens the console in a browser."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from control_plane.identities.sign_in_links import SignInLinkService
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/session", tags=["session"], responses=problems(401, 403))
Service = Annotated[SignInLinkService, provided(SignInLinkService)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]


class SignInLinkOut(BaseModel):
    path: str = Field(description="append it to the console's address", examples=["/sign-in/link#assentry_l_…"])
    expires_at: datetime


@router.post("/links", status_code=201, summary="A one-time link that signs one's browser in")
async def make_link(person: Person, service: Service, units: UnitsOfWork, response: Response) -> SignInLinkOut:
    async with units() as uow:
        link = await service.make(uow, person)
    response.headers["cache-control"] = "no-store"
    return SignInLinkOut(path=f"/sign-in/link#{link.code.reveal()}", expires_at=link.expires_at)
