"""Which statements change what names mean, so that the committed catalogue says nothing true of them until their
transaction has ended. What only adds to a relation, or makes one that hides no other, is not among them; what is not
known here changes any name.
"""

from __future__ import annotations

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import CASCADE, CASTS, ChangesNames
from data_plane.protocols.postgres.statements.findings import Findings
from data_plane.protocols.postgres.statements.queries import is_temporary
from data_plane.protocols.postgres.statements.tree import Fields

ANY = ChangesNames(frozenset("*"))
_LEAVE_NAMES = frozenset(
    (
        "AlterDefaultPrivilegesStmt", "AlterOwnerStmt", "AlterPolicyStmt", "AlterRoleSetStmt", "AlterRoleStmt",
        "AlterSeqStmt", "AlterStatsStmt", "AlterSystemStmt", "CheckPointStmt", "ClusterStmt", "CommentStmt",
        "CreateForeignTableStmt", "CreatePolicyStmt", "CreateRoleStmt", "CreateSeqStmt", "CreateStatsStmt",
        "CreateStmt", "CreateTableAsStmt", "CreateTrigStmt", "DropRoleStmt", "GrantRoleStmt", "GrantStmt", "IndexStmt",
        "ReindexStmt", "SecLabelStmt", "VacuumStmt", "VariableSetStmt",
    )
)  # fmt: skip
# The first of the enumeration is left out of the JSON: it is AT_AddColumn.
_CHANGES_THAT_LEAVE_THEM = frozenset(
    (
        "", "AT_AddColumn", "AT_AddConstraint", "AT_AddIdentity", "AT_AlterColumnType", "AT_AlterConstraint",
        "AT_ChangeOwner", "AT_ClusterOn", "AT_ColumnDefault", "AT_DropConstraint", "AT_DropIdentity", "AT_DropNotNull",
        "AT_EnableRowSecurity", "AT_ForceRowSecurity", "AT_ReplicaIdentity", "AT_ResetRelOptions", "AT_SetIdentity",
        "AT_SetNotNull", "AT_SetOptions", "AT_SetRelOptions", "AT_SetStatistics", "AT_SetStorage",
        "AT_ValidateConstraint",
    )
)  # fmt: skip
_OF_THE_SESSION = frozenset(("?", "pg_temp"))
_OF_RELATIONS = frozenset(("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"))
_NAMED = frozenset(("relation", "function", "type", "operator"))
_OF_THEIR_OWN_NAME = frozenset(
    (
        "AlterDomainStmt", "AlterEnumStmt", "AlterFunctionStmt", "AlterTableStmt", "AlterTypeStmt", "CompositeTypeStmt",
        "CreateDomainStmt", "CreateEnumStmt", "CreateFunctionStmt", "CreateRangeStmt", "DefineStmt", "DropStmt",
        "RenameStmt", "RuleStmt", "ViewStmt",
    )
)  # fmt: skip
# Others may make a relation of the session's own go along with another one: ATTACH PARTITION, INHERIT, OF.
_CHANGES_THAT_LEAVE_IT_ALONE = _CHANGES_THAT_LEAVE_THEM | {"AT_DropColumn"}
_QUERIES = frozenset(("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt", "ExplainStmt"))


def changes_names(kind: str, fields: Fields, findings: Findings) -> ChangesNames | None:
    """Of a statement that has been walked."""
    if kind == "TransactionStmt":
        return ANY if fields.get("kind") == "TRANS_STMT_COMMIT_PREPARED" else None
    own = kind == "ViewStmt" and is_temporary(fields.get("view", {}))  # it hides others for its session only
    if own or not findings.actions & {Action.DDL, Action.ADMIN} or kind in _LEAVE_NAMES or kind in _QUERIES:
        return None
    cascade = findings.facts.get("cascade") is True
    subtypes = {node.get("AlterTableCmd", {}).get("subtype", "") for node in fields.get("cmds", ())}
    if kind == "AlterTableStmt" and not cascade and subtypes <= _CHANGES_THAT_LEAVE_THEM:
        return None
    if kind not in _OF_THEIR_OWN_NAME:
        return ChangesNames(frozenset({CASTS})) if kind == "CreateCastStmt" else ANY
    changed = [(of, name) for (of, name), access in findings.resources.items() if "ddl" in access]
    names = frozenset(
        name.rpartition(".")[2] if of != "operator" else name.partition(".")[2] for of, name in changed if of in _NAMED
    )
    if not names or not all(of in _NAMED or of == "role" for of, _ in changed):
        return ANY
    temporary = all(of == "relation" and name.partition(".")[0] in _OF_THE_SESSION for of, name in changed)
    alone = kind == "AlterTableStmt" and subtypes <= _CHANGES_THAT_LEAVE_IT_ALONE
    stay = alone or kind == "ViewStmt" or fields.get("renameType") in _OF_RELATIONS
    return ChangesNames(names | {CASCADE} if cascade else names, temporary, temporary and stay)
