"""Whether a security key's signature is for this very decision of this very person. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.approvals.domain.choice import Wish
from control_plane.approvals.domain.manner import NOT_SIGNED
from control_plane.approvals.kinds import Kind
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.unit_of_work import Json
from control_plane.security_keys.service import Proof, Rejected
from control_plane.security_keys.statement import Request, Window

BREAK_GLASS: Final = "break-glass"
NOT_ACCEPTED: Final = "the security key was not accepted: try again with a key that is registered and works"
ANOTHER: Final = "the security key has signed another decision: look at it again and sign this one"

Signature = Proof | Rejected | None


def signed_request(row: ApprovalRow, shown: bytes) -> Request:
    """As a statement names it."""
    return Request(row.id, shown.hex(), row.operation_digest.hex() if row.kind == Kind.OPERATION else "")


def signed_window(wish: Wish | None) -> Window | None:
    return Window(wish.uses, wish.minutes, wish.until_ms) if wish else None


def unsigned(row: ApprovalRow, person_id: str, verb: str, shown: bytes, window: Wish | None, given: Signature) -> str:
    """Why no key has signed this decision. Empty: one has."""
    if not isinstance(given, Proof):
        return NOT_SIGNED if given is None else NOT_ACCEPTED
    decision = given.statement.decision
    if given.statement.person_id != person_id or decision is None or decision.verb != verb:
        return ANOTHER
    if signed_request(row, shown) not in decision.requests or decision.window != signed_window(window):
        return ANOTHER
    return ""


def kept(given: Signature) -> str:
    """For the row of the decision. Empty: it was not signed."""
    return msgspec.json.encode(given.signed).decode() if isinstance(given, Proof) else ""


def told_of(given: Signature) -> dict[str, Json]:
    """For the audit log: complete, so that an export shows it to whoever has nothing else."""
    return {"signature": msgspec.to_builtins(given.signed)} if isinstance(given, Proof) else {}
