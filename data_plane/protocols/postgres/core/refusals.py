"""Why a unit does not run, as the client is told, and the statements that must fail in its place (PROTOCOLS §2.6).

A denial is a *poison statement*: text that no grammar accepts is sent where the refused unit would have been, and the
target's syntax error is replaced by ours. So the target itself moves its transaction to failed, keeps its savepoints,
and skips a pipeline up to Sync; nothing of that is imitated here. The poison Parse has a name, because an unnamed one
would destroy the unnamed statement; it is never made, because its text fails before it is looked up.

SQLSTATEs are chosen so that no driver repeats the statement by itself (never classes 08 and 40, never 57P03). Hints
say how to fix the operation, never how to widen the policy (DESIGN invariant 14).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from data_plane.gate.interface import Code, Denied, Pending
from data_plane.protocols.postgres.answers import encode_error, encode_notice
from data_plane.protocols.postgres.messages import FLUSH, SYNC, encode_parse, encode_query

_POISON: Final = "assentry refused the statement that stood here"
POISON_QUERY: Final = encode_query(_POISON)
POISON_PARSE_SYNC: Final = encode_parse("assentry_refused", _POISON) + SYNC
POISON_PARSE_FLUSH: Final = encode_parse("assentry_refused", _POISON) + FLUSH

# As the classifier tells what the grammar does not take: shown as the server would show it.
_SYNTAX: Final = re.compile(r"not understood(?: at position ([0-9]+))?: (.* at (?:or near .*|end of input))", re.DOTALL)

SQLSTATES: Final = {
    Code.POLICY: "42501",
    Code.NOT_UNDERSTOOD: "42601",
    Code.DENIED: "42501",
    Code.EXPIRED: "42501",
    Code.CANCELLED: "57014",
    Code.WITHDRAWN: "42501",
    Code.UNAVAILABLE: "42501",
    Code.PENDING: "42501",
    Code.INVALID_GRANT: "42501",
    Code.LIMIT: "54000",
    Code.ENDED: "57P01",
}

HINTS: Final = {
    Code.NOT_UNDERSTOOD: "Write the statement in a form that can be understood, one that names what it touches.",
    Code.EXPIRED: "Nobody decided in time. Run the statement again when somebody can approve it.",
    Code.UNAVAILABLE: "Approval cannot be asked for at the moment. Run the statement again later.",
    Code.PENDING: "Run the identical statement again later; it goes through once it is approved.",
    Code.WITHDRAWN: "Something that the approval depended on has changed. Run the statement again to ask anew.",
}


class Refusal(msgspec.Struct, frozen=True):
    """Of one unit, by the gate or by the core."""

    sqlstate: str
    message: str
    hint: str = ""
    detail: str = ""
    code: Code = Code.POLICY
    position: int = 0  # in the statement, in characters from 1; 0: none

    def encode(self) -> bytes:
        return encode_error(self.sqlstate, self.message, detail=self.detail, hint=self.hint, position=self.position)


def from_verdict(denied: Denied) -> Refusal:
    if denied.code is Code.NOT_UNDERSTOOD and (read := _SYNTAX.fullmatch(denied.message)) is not None:
        hint = "Correct the statement; nothing of it has run."
        return Refusal(SQLSTATES[denied.code], read[2], hint, code=denied.code, position=int(read[1] or 0))
    detail = f"Ticket: {denied.ticket}" if denied.ticket else ""
    hint = denied.hint or HINTS.get(denied.code, "")
    return Refusal(SQLSTATES[denied.code], denied.message, hint, detail, denied.code)


CANCELLED: Final = Refusal(
    "57014", "canceling statement due to user request", detail="It was waiting for approval.", code=Code.CANCELLED
)
CANCELLED_UNJUDGED: Final = Refusal(
    "57014", "canceling statement due to user request", detail="It was not judged yet.", code=Code.CANCELLED
)
OVERDUE: Final = Refusal(
    "57014", "canceling statement due to statement timeout", detail="It was waiting for approval.", code=Code.CANCELLED
)
FUNCTION_CALL: Final = Refusal(
    "42501", "function calls by number are not allowed", "Call the function in a SELECT statement."
)
CODED_PARAMETER: Final = Refusal(
    "42501",
    "a parameter has a type whose values are made or cast by code of this database",
    "Leave the types of parameters out of Parse.",
)
MARKED: Final = Refusal(
    "42501",
    "the statement carries a masked value",
    "A mask stands for data that was not shown; writing it back would destroy that data. Leave the column out.",
)
LAUNDERED: Final = Refusal(
    "42501",
    "masked values may not be copied: the statement stores what it may have read from a masked column",
    "Store other columns, each by its name instead of *; what was just made or altered may take a moment to be known.",
)
BATCH_TOO_LARGE: Final = Refusal(
    "54000", "too many messages, or too large, before Sync", "Send Sync more often.", code=Code.LIMIT
)
TOO_MANY_NAMES: Final = Refusal(
    "54000", "too many prepared statements or portals", "Close those that are not used any more.", code=Code.LIMIT
)
BOUND_BEFORE: Final = Refusal(
    "42501",
    "what the portal names has been made anew since it was bound",
    "Bind and describe it again.",
)
NAME_TOO_LONG: Final = Refusal("42622", "the name of a statement or portal has more than 63 bytes")
NOT_UTF8: Final = Refusal("22021", "the text is not valid UTF-8", "Send text in UTF-8.", code=Code.NOT_UNDERSTOOD)
OTHER_ENCODING: Final = Refusal(
    "0A000", "this database is not encoded in UTF-8: names beyond ASCII are not understood here",
    "Name things in ASCII; strings may hold any text.", code=Code.NOT_UNDERSTOOD,
)  # fmt: skip
SEVERAL_STATEMENTS: Final = Refusal(
    "42601", "cannot insert multiple commands into a prepared statement", code=Code.NOT_UNDERSTOOD
)
COPY_NOT_LAST: Final = Refusal(
    "0A000", "COPY FROM STDIN must be the last statement before Sync", "Send Sync after it.", code=Code.NOT_UNDERSTOOD
)
NOT_JUDGED: Final = Refusal(
    "42501", "the statement could not be judged", "Tell the operator of the gateway.", code=Code.NOT_UNDERSTOOD
)
MOVED: Final = Refusal(
    "42501",
    "not run: it was approved, and what its names mean has changed since it was asked for",
    "Send it again.",
    code=Code.WITHDRAWN,
)
UNCOUNTED: Final = Refusal(
    "54000", "undone: the target does not say how many rows the statement touched", code=Code.LIMIT
)


def beyond_guard(rows: int, most: int, *, inside: bool) -> Refusal:
    """`inside` a transaction, whose own changes no count sees: asked anew, it would end in the same way."""
    changed = "What it touches has changed since it was looked at. Run it again to ask anew."
    unseen = "Rows that this transaction has made or changed itself were not counted: commit them before."
    return Refusal(
        "54000",
        f"undone: the statement touched {rows} rows, and at most {most} were approved",
        f"{changed} {unseen}" if inside else changed,
        code=Code.LIMIT,
    )


def kept_too_much(most: int) -> Refusal:
    return Refusal(
        "54000",
        f"undone: it returned more than {most} bytes, which cannot be kept back until its row guard holds",
        "Leave RETURNING out, or return less.",
        code=Code.LIMIT,
    )


NOT_ALONE: Final = Refusal(
    "25P02",
    "in a transaction in which an approved operation failed, one statement at a time may be sent",
    "End the transaction with ROLLBACK, or go back to a savepoint, by itself.",
)


def not_widenable(problem: str) -> Refusal:
    return Refusal(
        "42501",
        f"it needs rights that the session's account can be given for one approved operation only, and {problem}",
        "Send it in another form.",
    )


def not_widened(problem: str = "they could not be had") -> Refusal:
    return Refusal(
        "42501",
        f"not run: it was approved, and it needs rights that the session's account has not: {problem}",
        "The approval is used up; run it again to ask anew. Tell the operator of the gateway if that does not help.",
        code=Code.UNAVAILABLE,
    )


def unguarded(problem: str) -> Refusal:
    return Refusal(
        "0A000", f"not run: it was approved with a row guard, and {problem}", "Write it so that its rows are counted."
    )


def pinned(setting: str) -> Refusal:
    return Refusal("42501", f"{setting} cannot be changed in this session", f"Leave {setting} as it is.")


def fatal(sqlstate: str, message: str) -> bytes:
    """The last words of a session."""
    return encode_error(sqlstate, message, severity="FATAL")


def holding_notice(pending: Pending, verbs: str) -> bytes:
    """What the client reads when its unit is held; `verbs` says what is held."""
    return encode_notice(
        f"held for approval: {pending.short_code} ({verbs})",
        detail=f"{pending.reviewers} may approve at {pending.url} (rule {', '.join(pending.rules)})",
        hint=f"The statement waits up to {pending.wait_seconds:.0f} s. Ctrl-C cancels it.",
        sqlstate="01000",
    )


def reminder(pending: Pending, verbs: str) -> bytes:
    """What it reads later on: everything else it has been told."""
    return encode_notice(f"still waiting for approval: {pending.short_code} ({verbs})", sqlstate="01000")
