"""`/v1/notification-channels`, `/v1/notifications/deliveries` and the callback of webhooks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from control_plane.approvals.domain import Refusal, Refused
from control_plane.approvals.errors import (
    ApprovalNotFoundError,
    ApprovalOverError,
    ChannelError,
    NotEntitledError,
    ReasonMissingError,
    ReauthenticateError,
    SecurityKeyError,
    StaleDigestError,
)
from control_plane.documents.resources import NamePath, document_router
from control_plane.kit.access import SIGN_INS, Permission, Principal, open_to_all, requires
from control_plane.kit.errors import ProblemError, problems
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.notifications.callbacks import Callbacks, PersonUnknownError
from control_plane.notifications.documents import NotificationChannel
from control_plane.notifications.domain import DeliveryState
from control_plane.notifications.repository import Filter
from control_plane.notifications.schemas import DecisionIn, DecisionTakenOut, DeliveryOut
from control_plane.notifications.service import NotificationService

router = APIRouter()
deliveries = APIRouter(prefix="/v1/notifications/deliveries", tags=["notifications"], responses=problems(401, 403, 422))
callbacks = APIRouter(prefix="/v1/webhooks", tags=["notifications"])

Service = Annotated[NotificationService, provided(NotificationService)]
Taker = Annotated[Callbacks, provided(Callbacks)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]

_PROBLEMS: dict[Refusal, type[ProblemError]] = {
    Refusal.OVER: ApprovalOverError,
    Refusal.STALE: StaleDigestError,
    Refusal.NOT_ENTITLED: NotEntitledError,
    Refusal.REASON_MISSING: ReasonMissingError,
    Refusal.CHANNEL: ChannelError,
    Refusal.REAUTHENTICATE: ReauthenticateError,
    Refusal.SECURITY_KEY: SecurityKeyError,
}


@deliveries.get("", summary="Every notice on its way through every channel, newest first")
async def list_deliveries(
    _admin: Admin,
    service: Service,
    units: UnitsOfWork,
    paging: PagingQuery,
    channel: Annotated[str, Query(max_length=64)] = "",
    state: DeliveryState | None = None,
    key: Annotated[str, Query(max_length=64, description="an approval's id")] = "",
    kind: Annotated[str, Query(max_length=64, examples=["approval.pending"])] = "",
) -> Page[DeliveryOut]:
    async with units.reading() as uow:
        rows, cursor = await service.deliveries(uow, Filter(channel, state or "", key, kind), paging)
    return Page(items=[DeliveryOut.of(row) for row in rows], next_cursor=cursor)


@deliveries.get("/{delivery_id}", summary="One delivery", responses=problems(404))
async def show_delivery(_admin: Admin, delivery_id: str, service: Service, units: UnitsOfWork) -> DeliveryOut:
    async with units.reading() as uow:
        return DeliveryOut.of(await service.delivery(uow, delivery_id))


@deliveries.post("/{delivery_id}/redeliver", summary="Try it again now", responses=problems(404, 409))
async def redeliver(admin: Admin, delivery_id: str, service: Service, units: UnitsOfWork) -> DeliveryOut:
    """Channels show the present state, so this never brings back what was."""
    async with units() as uow:
        return DeliveryOut.of(await service.redeliver(uow, admin, delivery_id))


@callbacks.post(
    "/{channel}/decisions",
    summary="Decide on behalf of a person",
    dependencies=[open_to_all("signed with the channel's secret; a credential of Assentry plays no part in it")],
    responses=problems(401, 403, 404, 409, 412, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": DecisionIn.model_json_schema()}},
        },
        "security": [],
    },
)
async def decide(channel: NamePath, request: Request, taker: Taker) -> DecisionTakenOut:
    """Signed as Standard Webhooks says (`webhook-id`, `webhook-timestamp`, `webhook-signature`) with the channel's
    secret. An id is taken once. Off unless the channel's document has `decisions`."""
    ruling, taken = await taker.take(channel, request.headers, await request.body())
    if not taken.person:
        raise PersonUnknownError("there is not exactly one person whom the channel's mapping gives; ask an admin")
    if ruling is None:
        raise ApprovalNotFoundError(taken.approval_id)
    if isinstance(ruling, Refused):
        raise _PROBLEMS[ruling.why](ruling.detail)
    return taken


router.include_router(document_router(NotificationChannel, "/v1/notification-channels", Permission.ADMIN))
router.include_router(deliveries)
router.include_router(callbacks)
