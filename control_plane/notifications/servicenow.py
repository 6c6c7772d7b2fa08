"""ServiceNow, by its Table API: records found by `correlation_id`, followed by work notes.

The correlation columns are there for exactly this: they say which record of another system one belongs to.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from control_plane.approvals.domain import State
from control_plane.kit.display import visible
from control_plane.notifications.documents import ServiceNowSpec
from control_plane.notifications.jira import answered
from control_plane.notifications.outgoing import Outgoing, Reply, settled
from control_plane.notifications.ports import Never
from control_plane.notifications.rendering import Message, plain
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.tickets import Ticket

_LONGEST_SUMMARY: Final = 160
_FIELDS: Final = "sys_id,number"


class ServiceNow:
    """The port Tickets. A reference is `sys_id number`."""

    most_characters = 3900  # of the 4,000 that descriptions and notes of the task tables hold

    def __init__(self, spec: ServiceNowSpec, outgoing: Outgoing, secrets: Secrets) -> None:
        self._spec = spec
        self._base = spec.url.rstrip("/")
        self._outgoing = outgoing
        self._secrets = secrets

    async def find(self, approval_id: str) -> Ticket | None:
        query = f"correlation_id={approval_id}^correlation_display=Assentry^ORDERBYsys_created_on"
        found = await self._call("GET", self._spec.table, {"sysparm_query": query, "sysparm_limit": "1"})
        return self._ticket(found[0]) if found else None

    async def open(self, approval_id: str, told: Message) -> Ticket:
        record = {
            **self._spec.fields,
            "short_description": told.title[:_LONGEST_SUMMARY],  # names only; the text is in the description
            "description": plain(told),
            "correlation_id": approval_id,
            "correlation_display": "Assentry",
        }
        return self._ticket((await self._call("POST", self._spec.table, {}, record))[0])

    def known(self, reference: str) -> Ticket:
        sys_id, _, number = reference.partition(" ")
        address = f"{self._base}/{quote(self._spec.table)}.do?{urlencode({'sys_id': sys_id})}"
        return Ticket(reference, number or sys_id, address)

    async def comment(self, ticket: Ticket, told: Message, delivery_id: str, *, repeated: bool) -> None:
        if repeated and await self._has_note(ticket, delivery_id):
            return
        note = f"{told.title}\n{plain(told)}\n({delivery_id})"
        await self._call("PATCH", self._path(ticket), {}, {"work_notes": note})

    async def close(self, ticket: Ticket, _state: State) -> str:
        if not self._spec.closed:
            return ""
        await self._call("PATCH", self._path(ticket), {}, self._spec.closed)
        return "closed"

    async def _has_note(self, ticket: Ticket, delivery_id: str) -> bool:
        """Work notes are a journal: they are read in a table of their own."""
        sys_id = ticket.reference.partition(" ")[0]
        query = f"element_id={sys_id}^element=work_notes^valueLIKE{delivery_id}"
        found = await self._call("GET", "sys_journal_field", {"sysparm_query": query, "sysparm_limit": "1"})
        return bool(found)

    def _path(self, ticket: Ticket) -> str:
        return f"{self._spec.table}/{quote(ticket.reference.partition(' ')[0], safe='')}"

    def _ticket(self, record: Mapping[str, Any]) -> Ticket:
        sys_id, number = str(record.get("sys_id", "")), visible(str(record.get("number", "")))
        if not sys_id.isalnum():
            raise Never("answered without the sys_id of the record")
        return self.known(f"{sys_id} {number}")

    async def _call(
        self, method: str, path: str, query: Mapping[str, str], record: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        password = self._secrets.read(self._spec.password_from).reveal()
        basic = base64.b64encode(f"{self._spec.user}:{password}".encode()).decode()
        headers = {"authorization": f"Basic {basic}", "accept": "application/json"}
        if record is not None:
            headers["content-type"] = "application/json"
        asked = urlencode({**query, "sysparm_fields": _FIELDS, "sysparm_exclude_reference_link": "true"})
        encoded = b"" if record is None else msgspec.json.encode(record)
        url = f"{self._base}/api/now/table/{path}?{asked}"
        reply = await self._outgoing.request(method, url, headers, encoded)
        result = answered(settled(reply, _complaint(reply))).get("result", [])
        return result if isinstance(result, list) else [result]


def _complaint(reply: Reply) -> str:
    """`error.message` and `error.detail` of the Table API."""
    if reply.ok or not reply.body:
        return ""
    try:
        error = msgspec.json.decode(reply.body, type=dict[str, Any]).get("error")
    except msgspec.DecodeError:
        return ""
    if not isinstance(error, dict):
        return ""
    told = [str(error[name]) for name in ("message", "detail") if error.get(name)]
    return visible("; ".join(told))[:300]
