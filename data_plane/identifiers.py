"""Identifiers, each of its own type, so that one cannot be passed for another."""

from __future__ import annotations

from typing import NewType

SessionId = NewType("SessionId", str)
OperationId = NewType("OperationId", str)
ApprovalId = NewType("ApprovalId", str)
CredentialId = NewType("CredentialId", str)
IdentityId = NewType("IdentityId", str)
TargetName = NewType("TargetName", str)
