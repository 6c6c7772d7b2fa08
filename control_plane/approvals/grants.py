"""Makes the signed grant of a satisfied chain. The bytes that are signed are the bytes that are stored and sent."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec

from control_plane.approvals.domain import Vote
from control_plane.approvals.ports import GrantContents, GrantEncoder, GrantWindow
from control_plane.approvals.reports import SignedGrant
from control_plane.kit.keys import GRANT_CONTEXT, SigningKeys

NONCE_BYTES: Final = 16
ONCE: Final = "once"
WINDOW: Final = "window"
# An agent's clock may be behind ours: a grant that is not valid yet would be refused for nothing.
_BACKDATED_MS: Final = 60_000


class Granted(msgspec.Struct, frozen=True):
    """What the grant says of one request, apart from who agreed and when."""

    approval_id: str
    agent_instance: str
    session_id: str
    credential_id: str
    requester_id: str
    target: str
    policy_version: int
    digest: bytes
    most_rows: int | None = None  # the row guard; None: there is none
    window: GrantWindow | None = None  # None: it is for this operation alone


class Issued(msgspec.Struct, frozen=True):
    nonce: bytes
    execute_by_ms: int
    signed: SignedGrant


class GrantIssuer:
    def __init__(self, deployment: str, keys: SigningKeys, encoder: GrantEncoder) -> None:
        self._deployment = deployment
        self._keys = keys
        self._encoder = encoder

    def issue(self, granted: Granted, approvals: tuple[Vote, ...], at_ms: int, within_seconds: float) -> Issued:
        nonce = secrets.token_bytes(NONCE_BYTES)
        execute_by_ms = at_ms + int(within_seconds * 1000)
        contents = GrantContents(
            deployment=self._deployment,
            nonce=nonce,
            not_before_ms=at_ms - _BACKDATED_MS,
            execute_by_ms=execute_by_ms,
            scope=WINDOW if granted.window else ONCE,
            approvals=approvals,
            **msgspec.structs.asdict(granted),
        )
        payload = self._encoder.encode_grant(contents)
        signed = self._keys.sign(GRANT_CONTEXT, payload)
        return Issued(nonce, execute_by_ms, SignedGrant(payload, signed.signature, signed.key_id))
