"""What a target's refusals mean to the person who set it up. Texts hold names, never values."""

from __future__ import annotations

from typing import Final

import asyncpg

_DOCTOR: Final = "run `assentry targets doctor {target}`, which tells what is missing and the SQL that mends it"


def ends_connection(refused: asyncpg.PostgresError) -> bool:
    """Severity FATAL in effect: what was under way may or may not have been committed."""
    state = refused.sqlstate or ""
    return state.startswith(("08", "57P")) or state == "XX000"


def not_done(target: str, what: str, refused: asyncpg.PostgresError) -> str:
    why = str(refused.args[0]) if refused.args else type(refused).__name__
    match refused:
        case asyncpg.InsufficientPrivilegeError():
            mend = (
                "the agent's account needs CREATEROLE and ADMIN OPTION on every role of `credential.session_roles`; "
                + _DOCTOR.format(target=target)
            )
        case asyncpg.UndefinedObjectError():
            mend = "a role of `credential.session_roles` does not exist; " + _DOCTOR.format(target=target)
        case asyncpg.ReadOnlySQLTransactionError():
            mend = "roles cannot be made on a replica: give the target the address of the primary"
        case asyncpg.DuplicateObjectError():
            mend = "somebody has taken the name; the next session gets another"
        case asyncpg.LockNotAvailableError():
            mend = "somebody holds a lock on the roles; it is tried again"
        case _:
            mend = _DOCTOR.format(target=target)
    return f"{what}: {why} ({refused.sqlstate}); {mend}"


def cannot_connect(target: str, database: str, error: Exception) -> str:
    why = str(error.args[0]) if isinstance(error, asyncpg.PostgresError) and error.args else type(error).__name__
    return f"the agent cannot sign in to database {database} of {target} with its own account: {why}"
