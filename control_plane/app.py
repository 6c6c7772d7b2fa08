"""The HTTP application: routes, limits, headers and the OpenAPI description. What serves it is `__main__`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from control_plane.access.documents import AccessOffer
from control_plane.assembly import ControlPlane
from control_plane.documents.resources import document_schemas
from control_plane.kit.access import Access, Open, calls_of, open_to_all
from control_plane.kit.errors import Problem, install_error_handlers, problems
from control_plane.kit.http import Limits, RequestLog
from control_plane.kit.wiring import provide
from control_plane.notifications.documents import NotificationChannel
from control_plane.sign_on.documents import IdentityProvider
from control_plane.web import pages
from control_plane.web.routes import missing
from control_plane.workloads.documents import WorkloadTrust
from data_plane.policy import model

_DESCRIPTION = """Approvals, policies, identities and the audit log of Assentry.

Errors are problem+json (RFC 9457). Lists are pages: give `next_cursor` back as `cursor`. A POST that creates may
carry an `Idempotency-Key`. What is edited has an ETag; send it back in `If-Match`."""

health = APIRouter(tags=["health"])


@health.get("/healthz", summary="The process answers", dependencies=[open_to_all("tells nothing")])
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


def create_app(control_plane: ControlPlane) -> FastAPI:
    """Starts and stops the control plane with the application's lifespan."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await control_plane.open()
            await control_plane.serve()
            yield
        finally:
            await control_plane.close()

    app = FastAPI(
        title="Assentry",
        version="1",
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    provide(app, control_plane.parts())
    app.state.control_plane = control_plane
    for router in (health, *control_plane.routers(), pages.router):
        app.router.routes.extend(router.routes)  # as they are: `include_router` would work out every route once more
    app.mount("/static", pages.static_files())
    install_error_handlers(app)
    app.add_exception_handler(404, missing)
    app.add_middleware(Limits)
    app.add_middleware(RequestLog, https=control_plane.settings.url.startswith("https://"))
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    @app.get(
        "/v1/openapi.json", include_in_schema=False, dependencies=[open_to_all("the description of this API is public")]
    )
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _openapi(app)
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _openapi(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    components = described.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schemas["Problem"].pop("$defs", {}))
    schemas.update(document_schemas(model.Policy, model.ApprovalChain, model.OnCallSchedule, model.Mask, model.Target))
    schemas.update(document_schemas(NotificationChannel, AccessOffer, WorkloadTrust, IdentityProvider))
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "a sign-in, an API token, a machine's key",
        },
        "cookie": {"type": "apiKey", "in": "cookie", "name": app.state.control_plane.cookies.name},
    }
    classes = calls_of(app.routes)
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            _common_answers(operation)
            _say_who_may(operation, classes[f"{method.upper()} {path}"])
    described["security"] = [{"bearer": []}, {"cookie": []}]
    return described


def _say_who_may(operation: dict[str, Any], access: Access | Open) -> None:
    """For machines, and in words for whoever reads the description."""
    if isinstance(access, Open):
        operation["security"] = []
        operation["x-open"] = access.reason
        return
    operation["x-permission"] = access.permission.value
    operation["x-credentials"] = list(access.by)


def _common_answers(operation: dict[str, Any]) -> None:
    """What any request may get, whatever its endpoint says."""
    repeatable = any(parameter["name"] == "idempotency-key" for parameter in operation.get("parameters", ()))
    statuses = (400, 413, 503, *((409,) if repeatable else ()))
    for status, answer in problems(*statuses).items():
        operation["responses"].setdefault(str(status), answer)
