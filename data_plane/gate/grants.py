"""Whether a grant gives this session the right to run this operation, once. Pure; the signature is checked first.

A grant that is good here is good nowhere else: it is bound to deployment, agent instance, session (or, for a ticket,
no session but requester, credential, target and digest), and to a time. Single use is not decided here: the nonce is
spent in `Nonces` after this and before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from data_plane.gate.interface import SessionFacts
from data_plane.gate.ports import SignedGrant
from data_plane.identifiers import ApprovalId, IdentityId
from data_plane.policy import signatures
from data_plane.policy.snapshot import SnapshotIdentity

CLOCK_SKEW_SECONDS = 10.0  # between the control plane's clock and this machine's
NONCE_BYTES = 16
SHAPE_BYTES = 32


class Approver(msgspec.Struct, frozen=True):
    identity_id: str
    name: str
    at_ms: int
    channel: str


class Window(msgspec.Struct, frozen=True):
    """More operations of the same shape in the same session, the first one included."""

    shape: bytes
    until_ms: int
    uses: int


class GrantContents(msgspec.Struct, frozen=True):
    """GrantPayload of link.proto as plain values."""

    deployment: str
    agent_instance: str
    session_id: str  # empty: a ticket
    credential_id: str
    requester_id: str
    target: str
    policy_version: int
    digest: bytes
    approval_id: str
    nonce: bytes
    not_before_ms: int
    execute_by_ms: int
    scope: str
    approvals: tuple[Approver, ...]
    most_rows: int | None = None  # the row guard; None: there is none
    window: Window | None = None  # only with the scope "window"


GrantDecoder = Callable[[bytes], GrantContents]  # raises ValueError for what is not a GrantPayload


class Expected(msgspec.Struct, frozen=True):
    """What the agent itself knows of the operation that waits."""

    deployment: str
    agent_instance: str
    session: SessionFacts
    approval_id: ApprovalId
    digest: bytes
    ticket: bool
    oldest_policy_version: int  # the one it was held with
    newest_policy_version: int  # the one in force
    guardable: bool = False  # the protocol can hold this operation to a row guard
    shape: bytes = b""  # empty: it has none


class Verified(msgspec.Struct, frozen=True):
    nonce: bytes
    execute_by: float  # Unix seconds
    approvers: tuple[str, ...]  # names, for the record
    most_rows: int | None = None  # the permit binds the operation to it
    window: Window | None = None  # None: it is for this operation alone
    approvals: tuple[Approver, ...] = ()  # of a window: who they are is asked again at each use


class Rejected(msgspec.Struct, frozen=True):
    reason: str


def verify(
    grant: SignedGrant,
    expected: Expected,
    *,
    keys: Mapping[str, bytes],
    identities: Mapping[IdentityId, SnapshotIdentity],
    decode: GrantDecoder,
    now: float,
) -> Verified | Rejected:
    """`keys` are the pinned signing keys, `now` is Unix time."""
    wrong = signatures.refusal(keys, grant.key_id, signatures.GRANT, grant.payload, grant.signature)
    if wrong:
        return Rejected(wrong)
    try:
        contents = decode(grant.payload)
    except ValueError as error:
        return Rejected(f"not a grant: {error}")
    checks = (
        _bindings(contents, expected),
        _scope(contents, expected, now),
        _times(contents, now),
        _guard(contents, expected),
        disqualified(contents.approvals, expected.session, identities),
    )
    reason = next((found for found in checks if found), "")
    if reason:
        return Rejected(reason)
    names = tuple(dict.fromkeys(approver.name or approver.identity_id for approver in contents.approvals))
    asked_again = contents.approvals if contents.window else ()
    by = contents.execute_by_ms / 1000
    return Verified(contents.nonce, by, names, contents.most_rows, contents.window, asked_again)


def in_time(verified: Verified, now: float) -> bool:
    """Asked again right before it runs."""
    return now <= verified.execute_by + CLOCK_SKEW_SECONDS


def _bindings(contents: GrantContents, expected: Expected) -> str:
    session = expected.session
    bound: Iterable[tuple[str, object, object]] = (
        ("deployment", contents.deployment, expected.deployment),
        ("agent instance", contents.agent_instance, expected.agent_instance),
        ("session", contents.session_id, "" if expected.ticket else session.id),
        ("credential", contents.credential_id, session.credential_id),
        ("requester", contents.requester_id, session.requester.id),
        ("target", contents.target, session.target.name),
        ("operation", contents.digest, expected.digest),
        ("approval", contents.approval_id, expected.approval_id),
        ("nonce's length", len(contents.nonce), NONCE_BYTES),
    )
    for what, given, wanted in bound:
        if given != wanted:
            return f"made for another {what}"
    if not expected.oldest_policy_version <= contents.policy_version <= expected.newest_policy_version:
        return f"made with policy version {contents.policy_version}, which was not in force here while it waited"
    return ""


def _scope(contents: GrantContents, expected: Expected, now: float) -> str:
    """For this operation alone, or for a window that it begins. What is not said in full is refused."""
    window = contents.window
    if (contents.scope, window) == ("once", None):
        return ""
    if contents.scope != "window" or window is None or expected.ticket:
        return "made for another scope"
    if len(window.shape) != SHAPE_BYTES or window.shape != expected.shape:
        return "made for another shape of operation"
    if window.uses < 1:
        return "its window has no use"
    return "its window is over" if window.until_ms / 1000 < now else ""


def _times(contents: GrantContents, now: float) -> str:
    if contents.not_before_ms / 1000 - CLOCK_SKEW_SECONDS > now:
        return "not valid yet"
    if contents.execute_by_ms / 1000 + CLOCK_SKEW_SECONDS < now:
        return "too late: its time to execute is over"
    return ""


def _guard(contents: GrantContents, expected: Expected) -> str:
    """What cannot be held to its row guard must not run without it."""
    if contents.most_rows is not None and not expected.guardable:
        return "it has a row guard, to which this operation cannot be held"
    return ""


def disqualified(
    approvals: Iterable[Approver], session: SessionFacts, identities: Mapping[IdentityId, SnapshotIdentity]
) -> str:
    """At least one person, nobody of them the requester or the owner of the requester's credential."""
    approvers = {approver.identity_id for approver in approvals}
    if not approvers or "" in approvers:
        return "nobody approved it"
    if not approvers.isdisjoint({session.requester.id, session.requester.owner_id or session.requester.id}):
        return "approved by its requester or their owner"
    for approver in approvers:
        known = identities.get(IdentityId(approver))
        if known is None:
            return "approved by somebody who is not known here"
        if known.kind != "person" or known.disabled:
            return f"approved by {known.name}, who may not approve"
    return ""
