"""What people did in Slack, read from its payloads: `block_actions` (a button) and `view_submission` (a modal). Pure.

Fields that nobody here needs are not read. What is not exactly one of our buttons, or our modal, is Unknown: it is
acknowledged, so that Slack shows no error, and nothing happens.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from control_plane.approvals.domain import Verb
from control_plane.approvals.review import Member
from control_plane.slack.blocks import MOST_OF_METADATA, Block, lines, modal, plain, question
from control_plane.slack.card import APPROVE, DENY
from control_plane.slack.value import ButtonValue, read_value

DENIAL: Final = "assentry_denial"  # the modal's callback
REASON: Final = "assentry_reason"  # its only input
MOST_OF_A_REASON: Final = 2000


class Person(msgspec.Struct, frozen=True):
    """Whoever did it, as Slack says: user, and the workspace and organisation of that user."""

    user_id: str
    team_id: str
    enterprise_id: str = ""


class Place(msgspec.Struct, frozen=True):
    """The message that it was done on."""

    channel: str
    ts: str


class Decision(msgspec.Struct, frozen=True):
    """Kept in the inbox until it is done."""

    verb: Verb
    approval_id: str
    shown: bytes
    person: Person
    place: Place
    reason: str = ""
    also: tuple[Member, ...] = ()  # identical requests that stood on the card


class Approving(msgspec.Struct, frozen=True):
    id: str
    decision: Decision


class Denying(msgspec.Struct, frozen=True):
    """The modal is to be opened; `decision` is what it will be about, without its reason."""

    id: str
    trigger_id: str
    decision: Decision


class Submitted(msgspec.Struct, frozen=True):
    """The modal came back. `decision` has the reason."""

    id: str
    decision: Decision


class Unknown(msgspec.Struct, frozen=True):
    id: str
    why: str


Interaction = Approving | Denying | Submitted | Unknown


class Unreadable(msgspec.Struct, frozen=True):
    """No payload of Slack at all."""

    why: str


# ------------------------------------------------------------------ the payloads, as far as they are read


class _User(msgspec.Struct):
    id: str
    team_id: str = ""


class _Named(msgspec.Struct):
    id: str = ""


class _Container(msgspec.Struct):
    type: str = ""
    message_ts: str = ""
    channel_id: str = ""


class _Action(msgspec.Struct):
    action_id: str = ""
    type: str = ""
    value: str = ""


class _View(msgspec.Struct):
    callback_id: str = ""
    private_metadata: str = ""
    state: dict[str, Any] = {}


class _Payload(msgspec.Struct):
    type: str
    user: _User
    team: _Named | None = None
    enterprise: _Named | None = None
    trigger_id: str = ""
    container: _Container = msgspec.field(default_factory=_Container)
    actions: list[_Action] = []
    view: _View | None = None


def read(payload: bytes) -> Interaction | Unreadable:
    try:
        found = msgspec.json.decode(payload, type=_Payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unreadable("the payload is not one that Slack sends")
    # Slack gives one to each press and each submission; sent again it is the same.
    once = hashlib.sha256(found.trigger_id.encode() if found.trigger_id else payload).hexdigest()
    if found.type == "block_actions":
        return _pressed(found, once)
    if found.type == "view_submission":
        return _submitted(found, once)
    return Unknown(once, f"nothing is done for {found.type[:40]!r}")


def _pressed(found: _Payload, once: str) -> Interaction:
    if len(found.actions) != 1 or found.actions[0].type != "button":
        return Unknown(once, "not one button")
    pressed = found.actions[0]
    value = read_value(pressed.value)
    place = Place(found.container.channel_id, found.container.message_ts)
    if pressed.action_id not in {APPROVE, DENY} or value is None:
        return Unknown(once, "not a button of ours")
    verb = Verb.APPROVE if pressed.action_id == APPROVE else Verb.DENY
    decision = Decision(verb, value.approval_id, value.digest, _person(found), place, also=value.also)
    if verb is Verb.APPROVE:
        return Approving(once, decision)
    return Denying(once, found.trigger_id, decision)


def _submitted(found: _Payload, once: str) -> Interaction:
    view = found.view
    if view is None or view.callback_id != DENIAL:
        return Unknown(once, "not a modal of ours")
    try:
        about = msgspec.json.decode(view.private_metadata, type=Metadata)
        typed = view.state["values"][REASON][REASON]["value"] or ""
    except (msgspec.DecodeError, KeyError, TypeError):
        return Unknown(once, "the modal came back otherwise than it was opened")
    # The same modal may be submitted again, after it was told what is wrong.
    once = hashlib.sha256(f"{once}:{typed}".encode()).hexdigest()
    value = read_value(about.value)
    if value is None or not isinstance(typed, str) or len(typed) > MOST_OF_A_REASON:
        return Unknown(once, "the modal came back otherwise than it was opened")
    place = Place(about.channel, about.ts)
    return Submitted(
        once, Decision(Verb.DENY, value.approval_id, value.digest, _person(found), place, typed, value.also)
    )


def _person(found: _Payload) -> Person:
    """Without a workspace of their own in it, the payload's is theirs."""
    team = found.user.team_id or (found.team.id if found.team else "")
    return Person(found.user.id, team, found.enterprise.id if found.enterprise else "")


# ------------------------------------------------------------------ the modal


class Metadata(msgspec.Struct, frozen=True):
    value: str  # of the button
    channel: str
    ts: str


def denial_modal(decision: Decision, short_code: str) -> Block:
    value = ButtonValue(decision.approval_id, decision.shown, decision.also).text
    metadata = msgspec.json.encode(Metadata(value, decision.place.channel, decision.place.ts)).decode()
    if len(metadata) > MOST_OF_METADATA:
        raise ValueError("a modal's metadata is too long")
    others = f" and {len(decision.also)} identical ones are" if decision.also else " is"
    about = lines([plain(f"The request {short_code}{others} refused for good, and the client is told why.")])
    return modal("Deny", "Deny", DENIAL, metadata, [about, question(REASON, "Reason", MOST_OF_A_REASON)])
