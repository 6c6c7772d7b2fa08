"""ServiceNow's Table API, as far as its documentation says: records with encoded queries, and the journal of work notes.

Strict: unknown tables and columns in queries, values beyond a column's length and wrong credentials are refused. (The
real one cuts what is too long without a word, which is why this one complains.)
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from aiohttp import web

from tests.support.sinks import Got

_LENGTHS = {
    "short_description": 160,
    "description": 4000,
    "correlation_id": 100,
    "correlation_display": 100,
    "work_notes": 4000,
}
_COLUMNS = {*_LENGTHS, "assignment_group", "state", "close_code", "close_notes", "category"}


class ServiceNowError(Exception):
    def __init__(self, status: int, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.detail = status, message, detail


@dataclass
class ServiceNowDouble:
    user: str
    password: str
    table: str = "incident"
    records: list[dict[str, Any]] = field(default_factory=list)
    journal: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, got: Got) -> web.Response:
        try:
            status, result = self._answer(got)
        except ServiceNowError as error:
            told = {"error": {"message": error.message, "detail": error.detail}, "status": "failure"}
            return web.json_response(told, status=error.status)
        return web.json_response({"result": result}, status=status)

    def _answer(self, got: Got) -> tuple[int, Any]:
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if got.headers.get("authorization") != f"Basic {expected}":
            raise ServiceNowError(401, "User Not Authenticated", "Required to provide Auth information")
        if got.headers.get("accept") != "application/json":
            raise ServiceNowError(406, "Not acceptable")
        parts = urlsplit(got.path)
        steps = parts.path.removeprefix("/api/now/table/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = msgspec.json.decode(got.body) if got.body else None
        match got.method, steps:
            case "GET", ["sys_journal_field"]:
                return 200, self._found(self.journal, query)
            case _, [table, *_] if table != self.table:
                raise ServiceNowError(400, "Invalid table", table)
            case "GET", [_]:
                return 200, self._found(self.records, query)
            case "POST", [_]:
                return 201, self._shown(self._create(body), query)
            case "PATCH", [_, sys_id]:
                return 200, self._shown(self._change(sys_id, body), query)
        raise ServiceNowError(405, "Method not supported")

    def _create(self, values: dict[str, str]) -> dict[str, Any]:
        number = len(self.records) + 1
        record = {"sys_id": hashlib.md5(str(number).encode()).hexdigest(), "number": f"INC{number:07d}", "state": "1"}
        self.records.append(record)
        self._write(record, values)
        return record

    def _change(self, sys_id: str, values: dict[str, str]) -> dict[str, Any]:
        for record in self.records:
            if record["sys_id"] == sys_id:
                self._write(record, values)
                return record
        raise ServiceNowError(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")

    def _write(self, record: dict[str, Any], values: dict[str, str]) -> None:
        for name, value in values.items():
            if name not in _COLUMNS or not isinstance(value, str):
                raise ServiceNowError(400, "Invalid column", name)
            if len(value) > _LENGTHS.get(name, 4000):
                raise ServiceNowError(400, "Value too long", name)
            if name == "work_notes":
                self.journal.append({"element": name, "element_id": record["sys_id"], "value": value, "sys_id": "j"})
            else:
                record[name] = value

    def _found(self, rows: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        kept = list(rows)
        for term in query["sysparm_query"].split("^"):
            if term.startswith("ORDERBY"):
                continue
            if "LIKE" in term:
                name, _, value = term.partition("LIKE")
                kept = [row for row in kept if value in row[name]]
            else:
                name, _, value = term.partition("=")
                kept = [row for row in kept if row.get(name) == value]
        return [self._shown(row, query) for row in kept[: int(query["sysparm_limit"])]]

    def _shown(self, row: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        return {name: row[name] for name in query["sysparm_fields"].split(",") if name in row}
