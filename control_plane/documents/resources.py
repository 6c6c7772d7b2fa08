"""The endpoints of one kind of document: list, show, put, delete and its versions, the same for each kind."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Path, Response

from control_plane.documents.schemas import DocumentOut, VersionOut
from control_plane.documents.service import DocumentService, InvalidDocumentsError
from control_plane.documents.stored_kind import StoredKind
from control_plane.documents.tables import DocumentRow
from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import FieldProblem, NotFoundError, problems
from control_plane.kit.etags import IfMatch, check_version, etag
from control_plane.kit.names import PATTERN
from control_plane.kit.pagination import Page, PagingQuery, single_key
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.kit.wiring import UnitsOfWork, provided
from data_plane.policy import model

Service = Annotated[DocumentService, provided(DocumentService)]
NamePath = Annotated[str, Path(pattern=PATTERN, max_length=63, examples=["production"])]
_NEWEST = 2**31 - 1


def document_router(shape: type[model.Document], path: str, edit: Permission) -> APIRouter:
    """`GET path`, `GET|PUT|DELETE path/{name}` and `GET path/{name}/versions`. `edit`: what changing needs."""
    tag = path.rpartition("/")[2]
    router = APIRouter(prefix=path, tags=[tag], responses=problems(401, 403, 422))
    reader = requires(Permission.POLICY_READ, by=PEOPLE)
    editor = requires(edit, by=SIGN_INS)
    one = f"the {shape.__name__}"
    add = router.add_api_route
    endpoints = _Endpoints(shape.__name__, reader, editor)
    add("", endpoints.list_all(), methods=["GET"], summary=f"List every {shape.__name__}", name=f"list {tag}")
    add(
        "/{name}", endpoints.show(), methods=["GET"], summary=f"Show {one}", responses=problems(404), name=f"show {tag}"
    )
    add(
        "/{name}",
        endpoints.put(),
        methods=["PUT"],
        summary=f"Create or replace {one}",
        responses={**problems(412, 428), 200: {"headers": {"ETag": {"schema": {"type": "string"}}}}},
        openapi_extra=_body(shape),
        name=f"put {tag}",
    )
    add(
        "/{name}",
        endpoints.delete(),
        methods=["DELETE"],
        status_code=204,
        summary=f"Delete {one}, unless something needs it",
        responses=problems(404, 412, 428),
        name=f"delete {tag}",
    )
    add(
        "/{name}/versions",
        endpoints.versions(),
        methods=["GET"],
        summary=f"Every version of {one}, newest first",
        name=f"versions of {tag}",
    )
    return router


def document_schemas(*shapes: type[model.Document]) -> dict[str, Any]:
    """JSON Schemas of the documents, for the components of the OpenAPI description."""
    _, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    return components


def _body(shape: type[model.Document]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{shape.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


class _Endpoints:
    """Makes the endpoint functions of one kind."""

    def __init__(self, kind: str, reader: Any, editor: Any) -> None:
        self._kind = kind
        self._reader = reader
        self._editor = editor

    def list_all(self) -> Any:
        reader, kind = self._reader, self._kind

        async def list_documents(
            service: Service, units: UnitsOfWork, paging: PagingQuery, _reader: Principal = reader
        ) -> Page[DocumentOut]:
            async with units.reading() as uow:
                after = single_key(paging, str) or ""
                rows = await service.stored_kind(kind).rows(uow, after, paging.limit + 1)
            kept, cursor = paging.page(rows, lambda row: (row.name,))
            return Page(items=[DocumentOut.of(row) for row in kept], next_cursor=cursor)

        return list_documents

    def show(self) -> Any:
        reader, kind = self._reader, self._kind

        async def show_document(
            name: NamePath, response: Response, service: Service, units: UnitsOfWork, _reader: Principal = reader
        ) -> DocumentOut:
            async with units.reading() as uow:
                return _shown(await _row(service.stored_kind(kind), uow, name), response)

        return show_document

    def put(self) -> Any:
        editor, kind = self._editor, self._kind

        async def put_document(
            name: NamePath,
            document: Annotated[dict[str, Any], Body()],
            response: Response,
            service: Service,
            units: UnitsOfWork,
            if_match: IfMatch = None,
            principal: Principal = editor,
        ) -> DocumentOut:
            _check_told(kind, name, document)
            stored = service.stored_kind(kind)
            async with units() as uow:
                present = await stored.row(uow, name)
                check_version(if_match, present.version if present else None)
                await service.put(uow, principal, document)
                return _shown(await _row(stored, uow, name), response)

        return put_document

    def delete(self) -> Any:
        editor, kind = self._editor, self._kind

        async def delete_document(
            name: NamePath,
            service: Service,
            units: UnitsOfWork,
            if_match: IfMatch = None,
            principal: Principal = editor,
        ) -> None:
            async with units() as uow:
                check_version(if_match, (await _row(service.stored_kind(kind), uow, name)).version)
                await service.delete(uow, principal, kind, name)

        return delete_document

    def versions(self) -> Any:
        reader, kind = self._reader, self._kind

        async def list_versions(
            name: NamePath, service: Service, units: UnitsOfWork, paging: PagingQuery, _reader: Principal = reader
        ) -> Page[VersionOut]:
            below = min(single_key(paging, int) or _NEWEST, _NEWEST)
            async with units.reading() as uow:
                rows = await service.stored_kind(kind).versions(uow, name, below, paging.limit + 1)
            kept, cursor = paging.page(rows, lambda row: (row.version,))
            return Page(items=[VersionOut.of(row) for row in kept], next_cursor=cursor)

        return list_versions


async def _row(kind: StoredKind, uow: UnitOfWork, name: str) -> DocumentRow:
    row = await kind.row(uow, name)
    if row is None:
        raise NotFoundError(f"there is no {kind.kind} named {name!r}")
    return row


def _shown(row: DocumentRow, response: Response) -> DocumentOut:
    response.headers["etag"] = etag(row.version)
    return DocumentOut.of(row)


def _check_told(kind: str, name: str, document: dict[str, Any]) -> None:
    metadata = document.get("metadata")
    told = metadata.get("name") if isinstance(metadata, dict) else None
    if document.get("kind") != kind:
        raise InvalidDocumentsError("another kind", [FieldProblem(path="$.kind", message=f"must be {kind}")])
    if told != name:
        problem = FieldProblem(path="$.metadata.name", message=f"must be {name!r}, as in the path")
        raise InvalidDocumentsError("another name", [problem])
