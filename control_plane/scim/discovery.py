"""What describes this service (RFC 7644 §4), and the answer to whatever is not here."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request, Response
from scim2_models import (
    Context,
    ForbiddenException,
    Meta,
    NotFoundException,
    NotImplementedException,
    Resource,
    ResourceType,
    Schema,
)
from starlette.exceptions import HTTPException

from control_plane.scim.answers import ScimRoute, listed, resource
from control_plane.scim.endpoints import Pusher, Scim
from control_plane.scim.resources import CONFIG, PROVIDER

router = APIRouter(prefix="/scim/v2/{client}", route_class=ScimRoute, include_in_schema=False)
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_ONLY_READ: Final = ("ServiceProviderConfig", "ResourceTypes", "Schemas")
_RESOURCES: Final = ("Users", "Groups")
_NOT_HERE: Final = ("Me", "Bulk", ".search")

R = TypeVar("R", bound=Resource[Any])


@router.get("/ServiceProviderConfig")
async def service_provider_config(client: str, pusher: Pusher, scim: Scim) -> Response:
    async with scim.reading(pusher, client) as (_, who):
        found = _located(CONFIG, f"{who.url}/ServiceProviderConfig", "ServiceProviderConfig")
    return resource(found, Context.RESOURCE_QUERY_RESPONSE)


@router.get("/ResourceTypes")
async def resource_types(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    found = await _types(client, pusher, scim, request)
    return listed(found, total=len(found))


@router.get("/ResourceTypes/{name}")
async def resource_type(client: str, name: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    return _one(await _types(client, pusher, scim, request), name)


@router.get("/Schemas")
async def schemas(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    found = await _schemas(client, pusher, scim, request)
    return listed(found, total=len(found))


@router.get("/Schemas/{name}")
async def schema(client: str, name: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    return _one(await _schemas(client, pusher, scim, request), name)


@router.api_route("/{rest:path}", methods=_METHODS)
async def anything_else(client: str, rest: str, pusher: Pusher, scim: Scim) -> Response:
    """Routes are looked at in order, so this one comes last."""
    async with scim.reading(pusher, client):
        first, *more = rest.split("/")
    if first in _NOT_HERE:
        raise NotImplementedException(detail=f"/{first} is not offered here")
    if first in _ONLY_READ and len(more) <= 1:
        raise HTTPException(405, "this is only read", {"allow": "GET"})
    if first in _RESOURCES and len(more) <= 1:
        allow = "GET, PUT, PATCH, DELETE" if more and more[0] != ".search" else "GET, POST"
        raise HTTPException(405, "this method is not offered here", {"allow": allow})
    raise NotFoundException(detail="there is nothing here")


async def _types(client: str, pusher: Pusher, scim: Scim, request: Request) -> list[ResourceType]:
    _no_filter(request)
    async with scim.reading(pusher, client) as (_, who):
        return [_located(one, f"{who.url}/ResourceTypes/{one.id}", "ResourceType") for one in PROVIDER.resource_types]


async def _schemas(client: str, pusher: Pusher, scim: Scim, request: Request) -> list[Schema]:
    _no_filter(request)
    async with scim.reading(pusher, client) as (_, who):
        return [_located(one, f"{who.url}/Schemas/{one.id}", "Schema") for one in PROVIDER.schemas]


def _no_filter(request: Request) -> None:
    if "filter" in request.query_params:
        raise ForbiddenException(detail="what describes this service cannot be filtered")


def _located(one: R, location: str, kind: str) -> R:
    found = one.model_copy(deep=True)
    found.meta = Meta(resource_type=kind, location=location)
    return found


def _one(found: list[ResourceType] | list[Schema], name: str) -> Response:
    for one in found:
        if str(one.id).lower() == name.lower():
            return resource(one, Context.RESOURCE_QUERY_RESPONSE)
    raise NotFoundException(detail="there is nothing here")
