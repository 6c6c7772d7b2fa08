"""Jira Cloud, by its REST API v3: issues found by a label, described in the Atlassian Document Format.

A label, not an issue property, because JQL searches properties only when an installed app declares them. The link to
the console is a remote link with a `globalId`, which Jira itself keeps from being there twice.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from control_plane.approvals.domain import State
from control_plane.kit.display import visible
from control_plane.notifications.documents import JiraSpec
from control_plane.notifications.outgoing import Outgoing, Reply, settled
from control_plane.notifications.ports import Later, Never
from control_plane.notifications.rendering import Message
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.tickets import Ticket

_LONGEST_SUMMARY: Final = 255
_PROPERTY: Final = "assentry"
_COMMENTS_LOOKED_AT: Final = 100
_APPROVED: Final = frozenset({State.EXECUTED, State.FAILED, State.OUTCOME_UNKNOWN, State.ENDED})
Json = Mapping[str, Any]


class Jira:
    """The port Tickets."""

    most_characters = 30_000  # Jira refuses texts beyond 32,767

    def __init__(self, spec: JiraSpec, outgoing: Outgoing, secrets: Secrets) -> None:
        self._spec = spec
        self._base = spec.url.rstrip("/")
        self._outgoing = outgoing
        self._secrets = secrets

    async def find(self, approval_id: str) -> Ticket | None:
        jql = f'project = "{self._spec.project}" AND labels = "{_label(approval_id)}" ORDER BY created ASC'
        asked = {"jql": jql, "maxResults": 1, "fields": ["status"]}
        issues = (await self._call("POST", "search/jql", asked)).get("issues", [])
        return self.known(str(issues[0]["key"])) if issues else None

    async def open(self, approval_id: str, told: Message) -> Ticket:
        fields = {
            "project": {"key": self._spec.project},
            "issuetype": {"name": self._spec.issue_type},
            "summary": told.title[:_LONGEST_SUMMARY],  # names only; the text is in the description
            "description": _document(told),
            "labels": ["assentry", _label(approval_id)],
        }
        made = await self._call("POST", "issue", {"fields": fields})
        ticket = self.known(str(made.get("key", "")))
        await self._link(ticket, approval_id, told.url)
        return ticket

    def known(self, reference: str) -> Ticket:
        return Ticket(reference, reference, f"{self._base}/browse/{quote(reference, safe='')}")

    async def comment(self, ticket: Ticket, told: Message, delivery_id: str, *, repeated: bool) -> None:
        path = f"issue/{quote(ticket.reference, safe='')}/comment"
        if repeated and await self._has_comment(path, delivery_id):
            return
        mark = {"key": _PROPERTY, "value": {"delivery": delivery_id}}
        await self._call("POST", path, {"body": _document(told), "properties": [mark]})

    async def close(self, ticket: Ticket, state: State) -> str:
        wanted = self._spec.approved_transition if state in _APPROVED else self._spec.closed_transition
        wanted = wanted or self._spec.closed_transition
        if not wanted or await self._is_done(ticket):
            return ""
        path = f"issue/{quote(ticket.reference, safe='')}/transitions"
        offered = (await self._call("GET", path)).get("transitions", [])
        found = next((one["id"] for one in offered if one.get("name") == wanted), None)
        if found is None:
            names = ", ".join(visible(str(one.get("name"))) for one in offered)
            return f"not closed: it has no transition {wanted!r} now, but {names or 'none'}"
        await self._call("POST", path, {"transition": {"id": found}})
        return "closed"

    async def _is_done(self, ticket: Ticket) -> bool:
        found = await self._call("GET", f"issue/{quote(ticket.reference, safe='')}?fields=status")
        category = found.get("fields", {}).get("status", {}).get("statusCategory", {})
        return bool(category.get("key") == "done")

    async def _has_comment(self, path: str, delivery_id: str) -> bool:
        asked = f"{path}?orderBy=-created&maxResults={_COMMENTS_LOOKED_AT}&expand=properties"
        comments = (await self._call("GET", asked)).get("comments", [])
        marks = [one for comment in comments for one in comment.get("properties", [])]
        return any(one.get("key") == _PROPERTY and one["value"].get("delivery") == delivery_id for one in marks)

    async def _link(self, ticket: Ticket, approval_id: str, url: str) -> None:
        body = {
            "globalId": f"assentry:{approval_id}",
            "application": {"type": "dev.assentry", "name": "Assentry"},
            "object": {"url": url, "title": "Decide it in the Assentry console"},
        }
        await self._call("POST", f"issue/{quote(ticket.reference, safe='')}/remotelink", body)

    async def _call(self, method: str, path: str, body: Json | None = None) -> dict[str, Any]:
        token = self._secrets.read(self._spec.token_from).reveal()
        basic = base64.b64encode(f"{self._spec.user}:{token}".encode()).decode()
        headers = {"authorization": f"Basic {basic}", "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        encoded = b"" if body is None else msgspec.json.encode(body)
        reply = await self._outgoing.request(method, f"{self._base}/rest/api/3/{path}", headers, encoded)
        return answered(settled(reply, _complaint(reply)))


def answered(reply: Reply) -> dict[str, Any]:
    """The JSON object of a good reply; no body is an empty one."""
    try:
        found = msgspec.json.decode(reply.body) if reply.body else {}
    except msgspec.DecodeError:
        raise Later(0, "answered with something that is no JSON") from None
    if not isinstance(found, dict):
        raise Never("answered with something else than an object")
    return found


def _label(approval_id: str) -> str:
    return f"assentry-{approval_id}"


def _complaint(reply: Reply) -> str:
    """What Jira says is wrong: `errorMessages`, and `errors` by field."""
    if reply.ok or not reply.body:
        return ""
    try:
        found = msgspec.json.decode(reply.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return ""
    fields = found.get("errors") if isinstance(found.get("errors"), dict) else {}
    told = [*found.get("errorMessages", []), *(f"{name}: {why}" for name, why in (fields or {}).items())]
    return visible("; ".join(map(str, told)))[:300]


# ------------------------------------------------------------------ Atlassian Document Format


def _document(told: Message) -> Json:
    facts = [_paragraph([_text(f"{fact.label}: ", strong=True), _text(fact.value)]) for fact in told.facts]
    blocks = [*facts]
    if told.text:
        blocks.append({"type": "codeBlock", "content": [_text(told.text)]})
    if told.hidden:
        blocks.append(_paragraph([_text(told.hidden, strong=True)]))
    link = {"type": "text", "text": told.url, "marks": [{"type": "link", "attrs": {"href": told.url}}]}
    return {"type": "doc", "version": 1, "content": [*blocks, _paragraph([link])]}


def _paragraph(content: Sequence[Json]) -> Json:
    return {"type": "paragraph", "content": list(content)}


def _text(text: str, *, strong: bool = False) -> Json:
    marks = {"marks": [{"type": "strong"}]} if strong else {}
    return {"type": "text", "text": text, **marks}
