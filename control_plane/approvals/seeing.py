"""Whose a request is, and who may see it."""

from __future__ import annotations

from typing import Final

from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.access import Permission, Principal

SEE_ALL: Final = (Permission.REVIEW, Permission.AUDIT, Permission.BREAK_GLASS)


def sees_all(principal: Principal) -> bool:
    return any(principal.may(permission) for permission in SEE_ALL)


def is_theirs(principal: Principal, row: ApprovalRow) -> bool:
    """They asked, or they answer for whoever asked."""
    return principal.identity in {row.requester_id, row.owner_id}


def may_see(principal: Principal, row: ApprovalRow) -> bool:
    return sees_all(principal) or is_theirs(principal, row)
