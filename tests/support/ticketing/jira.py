"""Jira Cloud's REST API v3, as far as its documentation says: issues, JQL by label, comments, remote links, transitions.

Strict: unknown fields, texts beyond Jira's limits, documents that are not well-formed ADF, wrong media types and wrong
credentials are refused as Jira refuses them. The search lags behind like Jira's when `lag` says so.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from aiohttp import web

from tests.support.sinks import Got

_JQL = re.compile(r'project = "([A-Z]+)" AND labels = "([^" ]{1,255})" ORDER BY created ASC')
_LONGEST_TEXT = 32_767
_FIELDS = {"project", "issuetype", "summary", "description", "labels"}
_NODES = {
    "doc": {"version", "content"},
    "paragraph": {"content"},
    "codeBlock": {"content", "attrs"},
    "text": {"text", "marks"},
}
_TRANSITIONS = {"To Do": {"21": ("Start", "In Progress"), "31": ("Done", "Done")}, "Done": {"11": ("Reopen", "To Do")}}


@dataclass
class Issue:
    id: str
    key: str
    fields: dict[str, Any]
    status: str = "To Do"
    comments: list[dict[str, Any]] = field(default_factory=list)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)


class JiraError(Exception):
    def __init__(self, status: int, *messages: str, **errors: str) -> None:
        super().__init__(*messages)
        self.status, self.messages, self.errors = status, messages, errors


@dataclass
class JiraDouble:
    user: str
    token: str
    project: str = "OPS"
    issue_types: tuple[str, ...] = ("Task",)
    issues: list[Issue] = field(default_factory=list)
    lag: bool = False  # what was just created is not found yet

    def __call__(self, got: Got) -> web.Response:
        try:
            status, answer = self._answer(got)
        except JiraError as error:
            return web.json_response({"errorMessages": error.messages, "errors": error.errors}, status=error.status)
        return web.Response(status=204) if answer is None else web.json_response(answer, status=status)

    def _answer(self, got: Got) -> tuple[int, Any]:
        expected = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        if got.headers.get("authorization") != f"Basic {expected}":
            raise JiraError(401, "Client must be authenticated to access this resource.")
        parts = urlsplit(got.path)
        if not parts.path.startswith("/rest/api/3/"):
            raise JiraError(404, "null for uri")
        if got.method in {"POST", "PUT"} and got.headers.get("content-type") != "application/json":
            raise JiraError(415, "Unsupported Media Type")
        body = msgspec.json.decode(got.body) if got.body else None
        steps = parts.path.removeprefix("/rest/api/3/").split("/")
        match got.method, steps:
            case "POST", ["search", "jql"]:
                return 200, self._search(body)
            case "POST", ["issue"]:
                return 201, self._create(body)
            case method, ["issue", key, *more]:
                return self._on_issue(method, self._issue(key), more, parse_qs(parts.query), body)
        raise JiraError(405, "Method Not Allowed")

    def _search(self, body: dict[str, Any]) -> Any:
        found = _JQL.fullmatch(body["jql"])
        if found is None or not 0 < body["maxResults"] <= 5000:
            raise JiraError(400, "Error in the JQL Query")
        labelled = [one for one in self.issues if found[2] in one.fields["labels"] and found[1] == self.project]
        issues = [] if self.lag else labelled[: body["maxResults"]]
        return {"issues": [{"id": one.id, "key": one.key, "fields": {}} for one in issues], "isLast": True}

    def _create(self, body: dict[str, Any]) -> Any:
        fields = body["fields"]
        if unknown := fields.keys() - _FIELDS:
            raise JiraError(400, **dict.fromkeys(unknown, "cannot be set. It is not on the appropriate screen"))
        if fields["project"] != {"key": self.project}:
            raise JiraError(400, project="valid project is required")
        if fields["issuetype"].get("name") not in self.issue_types:
            raise JiraError(400, issuetype="The issue type selected is invalid.")
        if not 0 < len(fields["summary"]) <= 255 or "\n" in fields["summary"]:
            raise JiraError(400, summary="Summary must be less than 255 characters and have no newlines.")
        if any(" " in label or len(label) > 255 for label in fields["labels"]):
            raise JiraError(400, labels="The label can't contain spaces.")
        check_document(fields["description"])
        number = len(self.issues) + 1
        self.issues.append(Issue(str(10_000 + number), f"{self.project}-{number}", fields))
        return {"id": self.issues[-1].id, "key": self.issues[-1].key, "self": "https://jira.example/rest/api/3/issue/1"}

    def _on_issue(
        self, method: str, issue: Issue, more: list[str], query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        match method, more:
            case "GET", []:
                category = "done" if issue.status == "Done" else "new"
                return 200, {"key": issue.key, "fields": {"status": {"statusCategory": {"key": category}}}}
            case "POST", ["remotelink"]:
                return (200 if body["globalId"] in issue.links else 201), self._link(issue, body)
            case "GET", ["comment"]:
                shown = query.get("expand") == ["properties"]
                comments = [one if shown else {"body": one["body"]} for one in reversed(issue.comments)]
                return 200, {"comments": comments[: int(query["maxResults"][0])], "total": len(issue.comments)}
            case "POST", ["comment"]:
                check_document(body["body"])
                issue.comments.append(body)
                return 201, {"id": str(len(issue.comments))}
            case "GET", ["transitions"]:
                offered = _TRANSITIONS[issue.status].items()
                return 200, {"transitions": [{"id": number, "name": name} for number, (name, _) in offered]}
            case "POST", ["transitions"]:
                issue.status = self._transition(issue, body)
                return 204, None
        raise JiraError(405, "Method Not Allowed")

    def _link(self, issue: Issue, body: dict[str, Any]) -> Any:
        if (
            not body["globalId"]
            or len(body["globalId"]) > 255
            or not body["object"]["url"]
            or not body["object"]["title"]
        ):
            raise JiraError(400, "globalId, url and title are required")
        issue.links[body["globalId"]] = body["object"]
        return {"id": len(issue.links)}

    def _transition(self, issue: Issue, body: dict[str, Any]) -> str:
        found = _TRANSITIONS[issue.status].get(body["transition"]["id"])
        if found is None:
            raise JiraError(400, "It seems that you have tried to perform an illegal workflow operation.")
        return found[1]

    def _issue(self, key: str) -> Issue:
        for issue in self.issues:
            if issue.key == key:
                return issue
        raise JiraError(404, "Issue does not exist or you do not have permission to see it.")


def check_document(document: dict[str, Any]) -> None:
    """Well-formed ADF (its JSON schema, for the nodes that are known here), and not too long."""
    if document.get("type") != "doc" or document.get("version") != 1:
        raise JiraError(400, description="Operation value must be an Atlassian Document")
    if len(text_of(document)) > _LONGEST_TEXT:
        raise JiraError(
            400,
            description=f"The entered text is too long. It exceeds the allowed limit of {_LONGEST_TEXT} characters.",
        )
    _check_node(document)


def _check_node(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if kind not in _NODES or node.keys() - _NODES[kind] - {"type"}:
        raise JiraError(400, description=f"INVALID_INPUT: {kind}")
    if kind == "text":
        if not node["text"]:
            raise JiraError(400, description="INVALID_INPUT: a text node is not empty")
        return
    for child in node["content"]:
        allowed = {"doc": {"paragraph", "codeBlock"}, "paragraph": {"text"}, "codeBlock": {"text"}}[kind]
        if child.get("type") not in allowed or (kind == "codeBlock" and "marks" in child):
            raise JiraError(400, description=f"INVALID_INPUT: {child.get('type')} in {kind}")
        _check_node(child)


def text_of(node: dict[str, Any]) -> str:
    own = str(node.get("text", ""))
    inside = "".join(text_of(child) for child in node.get("content", []))
    return own + inside + ("\n" if node.get("type") in {"paragraph", "codeBlock"} else "")
