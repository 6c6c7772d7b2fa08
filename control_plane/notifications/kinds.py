"""The notices that there are, what people call them, and which of them are worth a mail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# What a person would say of it.
HEADLINES: Final = {
    "approval.refused": "Could not be asked for",
    "approval.pending": "Approval wanted",
    "approval.agreed": "One more agreed",
    "approval.commented": "Comment",
    "approval.delegated": "Delegated",
    "approval.escalated": "Escalated: nobody decided in time",
    "approval.stage-changed": "Who agreed may no longer: asked again",
    "approval.reminded": "Still waiting for approval",
    "approval.approved": "Approved",
    "approval.denied": "Denied",
    "approval.expired": "Expired: nobody decided",
    "approval.cancelled": "Cancelled by the client",
    "approval.voided": "Void: what it stood on has changed",
    "approval.lapsed": "Approved, but not used",
    "approval.executing": "Running",
    "approval.executed": "Executed",
    "approval.failed": "Approved, but the target refused it",
    "approval.outcome-unknown": "Approved; the outcome is not known",
    "approval.window": "Approved for a window, which is open",
    "approval.regrouped": "The number of identical requests has changed",
    "approval.ended": "Over: used up, or its time has passed",
    "approval.break-glass": "Glass broken: approved without the reviewers",
    "approval.undeliverable": "No channel could tell anybody of a request",
    "review.opened": "A review is open: somebody else must close it",
    "review.closed": "The review is closed",
    "rotation.done": "The agent's account at a target was rotated",
    "rotation.failed": "The agent's account at a target could not be rotated",
    "fatigue.locked": "Locked: too many requests",
    "fatigue.limit-reached": "As many requests wait as one requester may have",
    "account.stuck": "An account of a session would not go away",
    "access-review.opened": "Access review: confirm what you still need, or it ends",
    "access-review.closed": "The access review is over",
}
EVERY: Final = tuple(HEADLINES)

# Asks somebody to do something, or tells that a rule was set aside: what is worth a mail or a page.
ALARMS: Final = (
    "approval.pending",
    "approval.escalated",
    "approval.reminded",
    "approval.break-glass",
    "approval.undeliverable",
    "review.opened",
    "fatigue.locked",
    "fatigue.limit-reached",
    "account.stuck",
    "rotation.failed",
    "access-review.opened",
)
# The state will not change any more but for reports of how it ran.
CLOSING: Final = frozenset(
    f"approval.{state}"
    for state in (
        "denied",
        "expired",
        "cancelled",
        "voided",
        "lapsed",
        "executed",
        "failed",
        "outcome-unknown",
        "ended",
    )
)


def is_pattern(text: str) -> bool:
    """A kind, or the beginning of some with `*` after it."""
    return any(_matches(text, kind) for kind in EVERY)


def matches(patterns: Iterable[str], kind: str) -> bool:
    return any(_matches(pattern, kind) for pattern in patterns)


def headline(kind: str) -> str:
    return HEADLINES.get(kind, kind)


def _matches(pattern: str, kind: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern
