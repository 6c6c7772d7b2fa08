"""Decisions that a security key has signed, checked as they stand in an audit log: offline, with nothing but the log.

Each must carry the key's signature over its own request, as the person that it names, with a key that the same log says
to be theirs. What this cannot see: who held the key. Light, as all of `verification`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from control_plane.audit.chain import Entry
from control_plane.security_keys.signed import Signed, problem
from control_plane.security_keys.statement import Decision, Request, decode

_VERBS: Final = {"approval.agreed": "approve", "approval.glass-broken": "break-glass"}


class Registered(msgspec.Struct, frozen=True):
    identity_id: str
    public_key: str
    removed: bool = False


class Signatures:
    def __init__(self) -> None:
        self.good = 0
        self._keys: dict[str, Registered] = {}

    def look(self, entry: Entry, deployment: str, *, from_the_beginning: bool) -> str:
        """What is wrong with the entry's signature. Empty: nothing, or it carries none. `from_the_beginning`: every
        registration of a key has been seen; else a key that is not known may have been registered before."""
        if entry.kind.startswith("security-key."):
            self._remember(entry)
        if entry.kind not in _VERBS or "signature" not in entry.data:
            return ""
        try:
            signed = msgspec.convert(entry.data["signature"], Signed)
        except msgspec.ValidationError as error:
            return f"its signature cannot be read: {error}"
        wrong = problem(signed) or _another(entry, signed, deployment)
        wrong = wrong or self._whose(signed, entry.actor.get("id", ""), from_the_beginning=from_the_beginning)
        self.good += not wrong
        return wrong

    def _remember(self, entry: Entry) -> None:
        if entry.kind == "security-key.registered":
            told = entry.data
            self._keys[entry.subject] = Registered(str(told.get("identity_id")), str(told.get("public_key")))
        elif entry.kind == "security-key.removed" and entry.subject in self._keys:
            self._keys[entry.subject] = msgspec.structs.replace(self._keys[entry.subject], removed=True)

    def _whose(self, signed: Signed, actor_id: str, *, from_the_beginning: bool) -> str:
        key = self._keys.get(signed.key_id)
        if key is None:
            return f"the key {signed.key_id} was never registered" if from_the_beginning else ""
        if key.removed:
            return f"the key {signed.key_id} had been removed"
        if (key.identity_id, key.public_key) != (actor_id, signed.public_key):
            return f"the key {signed.key_id} was registered as somebody else's, or as another key"
        return ""


def _another(entry: Entry, signed: Signed, deployment: str) -> str:
    """Whether the statement that was signed is about something else. Empty: it is about this."""
    statement = decode(signed.statement)
    decision, data = statement.decision, entry.data
    if (statement.deployment, statement.person_id) != (deployment, entry.actor.get("id")):
        return "it was signed as somebody else, or for another deployment"
    if decision is None or decision.verb != _VERBS[entry.kind] or not _chosen(decision, data):
        return "another decision was signed"
    request = Request(entry.subject, str(data.get("shown_digest")), str(data.get("operation_digest", "")))
    return "" if request in decision.requests else "another request was signed, or something else was shown"


def _chosen(decision: Decision, data: Mapping[str, Any]) -> bool:
    """Whether the window is the one that was signed."""
    return bool(data.get("window_uses") == (decision.window.uses if decision.window else None))
