"""What rules may speak of: the facts that operations carry, with their types, and which verbs mean which action.

Data only. A protocol adds its facts and verbs here, so that a rule that names what no operation will ever have
is refused when it is written. A fact that a condition asks for and an operation lacks is an error, and an error
holds or denies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

FactType = Literal["bool", "int", "string", "strings"]

FACTS: Mapping[str, FactType] = {
    # PostgreSQL
    "has_where": "bool",  # every UPDATE and DELETE in it names its rows
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERBS = _words(
    "BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE SET RESET SHOW DISCARD DEALLOCATE CLOSE CHECKPOINT "
    "SELECT VALUES TABLE INSERT UPDATE DELETE MERGE COPY PREPARE EXECUTE DECLARE FETCH MOVE EXPLAIN LOCK "
    "CREATE ALTER DROP TRUNCATE COMMENT REINDEX CLUSTER REFRESH REASSIGN GRANT REVOKE VACUUM ANALYZE IMPORT SECURITY "
    "CALL DO LISTEN NOTIFY UNLISTEN LOAD CONNECT"
)

# Verbs that an operation with this action never has: a rule that asks for both can never fire.
_TRANSACTION = _words("BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE")
IMPOSSIBLE: Mapping[str, frozenset[str]] = {
    "session": _words("INSERT UPDATE DELETE MERGE COPY CREATE ALTER DROP TRUNCATE GRANT REVOKE CALL DO"),
    "read": _words("TRUNCATE ALTER DROP GRANT REVOKE VACUUM REINDEX CLUSTER COMMENT") | _TRANSACTION,
    "ddl": _TRANSACTION,
    "write": _TRANSACTION,
    "connect": VERBS - {"CONNECT"},
}
