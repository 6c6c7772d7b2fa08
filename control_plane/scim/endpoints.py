"""`/scim/v2/{client}`: people and groups, as RFC 7644 §3 has them. `discovery` has what describes this service.

Only a token of that very client is taken. What is not here: /Bulk, /Me and a search over both kinds at once.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from scim2_models import Context, ResponseParameters

from control_plane.kit.access import PROVISIONERS, Permission, Principal, requires
from control_plane.kit.wiring import provided
from control_plane.scim import payloads
from control_plane.scim.answers import ScimRoute, listed, resource, selection
from control_plane.scim.resources import Group, User
from control_plane.scim.service import ScimService

router = APIRouter(prefix="/scim/v2/{client}", route_class=ScimRoute, include_in_schema=False)
Scim = Annotated[ScimService, provided(ScimService)]
Pusher = Annotated[Principal, requires(Permission.PROVISION, by=PROVISIONERS)]
IfMatch = Annotated[str | None, Header(max_length=255)]
IfNoneMatch = Annotated[str | None, Header(max_length=255)]


async def _sent(request: Request) -> dict[str, Any]:
    return payloads.decoded(await request.body())


def _unchanged(found: User | Group, seen: str | None) -> bool:
    """The client has this version already (RFC 7644 §3.14)."""
    version = (found.meta.version or "") if found.meta is not None else ""
    return seen is not None and version.removeprefix("W/") in {
        one.strip().removeprefix("W/") for one in seen.split(",")
    }


# ------------------------------------------------------------------ people


@router.get("/Users")
async def list_users(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    return await _found_users(client, pusher, scim, dict(request.query_params))


@router.post("/Users/.search")
async def search_users(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    return await _found_users(client, pusher, scim, await _sent(request))


async def _found_users(name: str, pusher: Principal, scim: ScimService, sent: dict[str, Any]) -> Response:
    asked = payloads.asked(User, sent)
    async with scim.reading(pusher, name) as (uow, client):
        found = await scim.users_listed.find(uow, client, asked)
    return listed(found.page, total=found.total, start=found.start, selected=asked)


@router.post("/Users")
async def create_user(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    selected, sent = selection(User, request.query_params), await _sent(request)
    async with scim.writing(pusher, client) as (uow, who):
        user = await scim.people.create(uow, who, sent)
    return resource(user, Context.RESOURCE_CREATION_RESPONSE, 201, selected=selected)


@router.get("/Users/{user_id}")
async def show_user(
    client: str, user_id: str, pusher: Pusher, scim: Scim, request: Request, if_none_match: IfNoneMatch = None
) -> Response:
    selected = selection(User, request.query_params)
    async with scim.reading(pusher, client) as (uow, who):
        user = await scim.people.get(uow, who, user_id)
    if _unchanged(user, if_none_match):
        return Response(status_code=304)
    return resource(user, Context.RESOURCE_QUERY_RESPONSE, selected=selected)


@router.put("/Users/{user_id}")
async def replace_user(
    client: str, user_id: str, pusher: Pusher, scim: Scim, request: Request, if_match: IfMatch = None
) -> Response:
    selected, sent = selection(User, request.query_params), await _sent(request)
    async with scim.writing(pusher, client) as (uow, who):
        user = await scim.people.replace(uow, who, user_id, sent, if_match)
    return resource(user, Context.RESOURCE_REPLACEMENT_RESPONSE, selected=selected)


@router.patch("/Users/{user_id}")
async def patch_user(
    client: str, user_id: str, pusher: Pusher, scim: Scim, request: Request, if_match: IfMatch = None
) -> Response:
    selected, sent = selection(User, request.query_params), await _sent(request)
    async with scim.writing(pusher, client) as (uow, who):
        user = await scim.people.patch(uow, who, user_id, sent, if_match)
    return resource(user, Context.RESOURCE_PATCH_RESPONSE, selected=selected)


@router.delete("/Users/{user_id}")
async def delete_user(client: str, user_id: str, pusher: Pusher, scim: Scim, if_match: IfMatch = None) -> Response:
    async with scim.writing(pusher, client) as (uow, who):
        await scim.people.delete(uow, who, user_id, if_match)
    return Response(status_code=204)


# ------------------------------------------------------------------ groups


@router.get("/Groups")
async def list_groups(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    return await _found_groups(client, pusher, scim, dict(request.query_params))


@router.post("/Groups/.search")
async def search_groups(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    return await _found_groups(client, pusher, scim, await _sent(request))


async def _found_groups(name: str, pusher: Principal, scim: ScimService, sent: dict[str, Any]) -> Response:
    asked = payloads.asked(Group, sent)
    members = "members" in str(asked.filter or "").lower() or _wants_members(asked)
    async with scim.reading(pusher, name) as (uow, client):
        found = await scim.groups_listed(members=members).find(uow, client, asked)
    return listed(found.page, total=found.total, start=found.start, selected=asked)


def _wants_members(selected: ResponseParameters[Any]) -> bool:
    """Large groups are not read for who leaves their members out."""
    excluded = {str(one).lower() for one in selected.excluded_attributes or ()}
    wanted = [str(one).lower() for one in selected.attributes or ()]
    return "members" not in excluded and (not wanted or any("members" in one for one in wanted))


@router.post("/Groups")
async def create_group(client: str, pusher: Pusher, scim: Scim, request: Request) -> Response:
    selected, sent = selection(Group, request.query_params), await _sent(request)
    async with scim.writing(pusher, client) as (uow, who):
        group = await scim.groups.create(uow, who, sent, members=_wants_members(selected))
    return resource(group, Context.RESOURCE_CREATION_RESPONSE, 201, selected=selected)


@router.get("/Groups/{group_id}")
async def show_group(
    client: str, group_id: str, pusher: Pusher, scim: Scim, request: Request, if_none_match: IfNoneMatch = None
) -> Response:
    selected = selection(Group, request.query_params)
    async with scim.reading(pusher, client) as (uow, who):
        group = await scim.groups.get(uow, who, group_id, members=_wants_members(selected))
    if _unchanged(group, if_none_match):
        return Response(status_code=304)
    return resource(group, Context.RESOURCE_QUERY_RESPONSE, selected=selected)


@router.put("/Groups/{group_id}")
async def replace_group(
    client: str, group_id: str, pusher: Pusher, scim: Scim, request: Request, if_match: IfMatch = None
) -> Response:
    selected, sent = selection(Group, request.query_params), await _sent(request)
    async with scim.writing(pusher, client) as (uow, who):
        await scim.groups.replace(uow, who, group_id, sent, if_match)
        group = await scim.groups.get(uow, who, group_id, members=_wants_members(selected))
    return resource(group, Context.RESOURCE_REPLACEMENT_RESPONSE, selected=selected)


@router.patch("/Groups/{group_id}")
async def patch_group(
    client: str, group_id: str, pusher: Pusher, scim: Scim, request: Request, if_match: IfMatch = None
) -> Response:
    """204, as RFC 7644 §3.5.2 allows when no attributes are asked for: who adds one member wants no list of all."""
    selected, sent = selection(Group, request.query_params), await _sent(request)
    async with scim.writing(pusher, client) as (uow, who):
        await scim.groups.patch(uow, who, group_id, sent, if_match)
        group = await scim.groups.get(uow, who, group_id, members=bool(selected.attributes))
    if selected.attributes is None:
        return Response(status_code=204, headers={"etag": (group.meta and group.meta.version) or ""})
    return resource(group, Context.RESOURCE_PATCH_RESPONSE, selected=selected)


@router.delete("/Groups/{group_id}")
async def delete_group(client: str, group_id: str, pusher: Pusher, scim: Scim, if_match: IfMatch = None) -> Response:
    async with scim.writing(pusher, client) as (uow, who):
        await scim.groups.delete(uow, who, group_id, if_match)
    return Response(status_code=204)
