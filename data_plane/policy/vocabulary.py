"""What rules may speak of: the facts that operations carry, and which verbs come with which action. Data only.

A protocol adds its facts and verbs here, so that a rule that names what no operation will ever have is refused when
it is written. Types follow from the values: a string, a boolean, a whole number or a list of strings.
"""

from __future__ import annotations

from collections.abc import Mapping

from data_plane.gate.interface import FactValue

# With the value when there is nothing to say. Operations that only concern the session (BEGIN, SHOW) may carry no
# facts and have these; any other operation without a fact that a condition asks for is an error, which holds or denies.
FACTS: Mapping[str, FactValue] = {
    # PostgreSQL
    "command": "",  # the leading verb as written: SELECT, EXPLAIN, CREATE, …
    "object": "",  # what a CREATE, ALTER or DROP is about: table, view, function, role, …
    # The WHERE of every UPDATE and DELETE in it names a column; else: the query has a WHERE. It finds a WHERE that was
    # forgotten and not one that was written to match every row (id = id, true OR id = 1): hold those.
    "has_where": False,
    "has_limit": False,
    "limit": -1,  # the constant of the outer LIMIT
    "returning": False,  # a change that gives rows back
    "explain": False,
    "analyze": False,  # EXPLAIN ANALYZE
    "locks": False,  # FOR UPDATE and its kind, LOCK
    "cascade": False,
    "temporary": False,  # makes something in the session's own schema
    "security_definer": False,
    "language": "",  # of DO and CREATE FUNCTION
    "copy": "",  # to-client, from-client, to-file, from-file, to-program, from-program
    "unknown_functions": (),  # those in no list
    "possible_functions": (),  # names after a dot: a column, or a function that is called with what stands before
    "attributes": (),  # those of them behind something that is no relation of the statement: a row, a value
    "operators": (),
    "types": (),  # cast to, and not built in
    "casts": (),  # cast to, and built in
    "columns": (),  # every column name that is read, from whichever relation
    "assigned": (),  # column names that are given values
    "settings": (),  # parameters that are set or reset
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRANSACTION = _words("BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE")
VERBS = _TRANSACTION | _words(
    "SELECT VALUES TABLE INSERT UPDATE DELETE MERGE COPY PREPARE EXECUTE DEALLOCATE DECLARE FETCH MOVE CLOSE EXPLAIN "
    "LOCK SET RESET SHOW DISCARD LISTEN NOTIFY UNLISTEN CREATE ALTER DROP TRUNCATE COMMENT REFRESH GRANT REVOKE "
    "REASSIGN SECURITY VACUUM ANALYZE CLUSTER REINDEX CHECKPOINT IMPORT LOAD CALL DO EMPTY CONNECT"
)

SEVERITY = ("session", "connect", "read", "write", "ddl", "admin", "exec", "unknown")
# An operation has the actions of all its parts. A verb says which is the mildest of them: a DELETE may read as well,
# in a query that it holds, while a DROP holds nothing.
_AT_LEAST: Mapping[str, frozenset[str]] = {
    "read": _words("INSERT UPDATE DELETE MERGE ALTER CALL"),
    "write": _words("TRUNCATE LOCK REFRESH NOTIFY"),
    "ddl": _words("DROP COMMENT GRANT REVOKE"),
    "admin": _words("REASSIGN SECURITY VACUUM ANALYZE CLUSTER REINDEX CHECKPOINT IMPORT LOAD"),
    "exec": _words("DO"),
}


def possible(action: str, verb: str) -> bool:
    """Whether an operation can have both."""
    if action == "unknown":
        return True
    if action == "connect" or verb == "CONNECT":
        return (action, verb) == ("connect", "CONNECT")
    if verb in _TRANSACTION:
        return action == "session"
    least = next((least for least, verbs in _AT_LEAST.items() if verb in verbs), "session")
    return SEVERITY.index(action) >= SEVERITY.index(least)
