"""Transactions, prepared statements, cursors, EXPLAIN: statements about statements, and what the session keeps."""

from __future__ import annotations

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import (
    ClosesCursor,
    Deallocates,
    DiscardsAll,
    DiscardsTemporary,
    EndsTransaction,
    MakesSavepoint,
    ReadsCursor,
    ReleasesSavepoint,
    RollsBackTo,
    RunsPrepared,
    SessionEffect,
)
from data_plane.protocols.postgres.statements import settings
from data_plane.protocols.postgres.statements.queries import into
from data_plane.protocols.postgres.statements.tree import Fields, sval
from data_plane.protocols.postgres.statements.walker import Walker

# The verb of each kind, and whether it ends another session's transaction or leaves one behind.
TRANSACTIONS: dict[str, tuple[str, Action]] = {
    "TRANS_STMT_BEGIN": ("BEGIN", Action.SESSION),
    "TRANS_STMT_START": ("BEGIN", Action.SESSION),
    "TRANS_STMT_COMMIT": ("COMMIT", Action.SESSION),
    "TRANS_STMT_ROLLBACK": ("ROLLBACK", Action.SESSION),
    "TRANS_STMT_SAVEPOINT": ("SAVEPOINT", Action.SESSION),
    "TRANS_STMT_RELEASE": ("RELEASE", Action.SESSION),
    "TRANS_STMT_ROLLBACK_TO": ("ROLLBACK TO", Action.SESSION),
    "TRANS_STMT_PREPARE": ("PREPARE TRANSACTION", Action.ADMIN),
    "TRANS_STMT_COMMIT_PREPARED": ("COMMIT PREPARED", Action.ADMIN),
    "TRANS_STMT_ROLLBACK_PREPARED": ("ROLLBACK PREPARED", Action.ADMIN),
}
HOLD_CURSOR = 0x0020  # CURSOR_OPT_HOLD of parsenodes.h
FALSE = frozenset(("off", "false", "0"))


def transaction_verb(fields: Fields) -> str:
    return TRANSACTIONS.get(fields.get("kind", "TRANS_STMT_BEGIN"), ("", Action.UNKNOWN))[0]


def transaction(walker: Walker, fields: Fields) -> None:
    verb, action = TRANSACTIONS.get(fields.get("kind", "TRANS_STMT_BEGIN"), ("", Action.UNKNOWN))
    if not verb:
        walker.findings.fail("not understood: this kind of transaction control is not known")
        return
    walker.findings.act(action)
    effect = _transaction_effect(verb, fields.get("savepoint_name", ""))
    if effect is not None:
        walker.findings.effects.append(effect)


def _transaction_effect(verb: str, savepoint: str) -> SessionEffect | None:
    match verb:
        case "COMMIT" | "PREPARE TRANSACTION":
            return EndsTransaction(keeps=True)
        case "ROLLBACK":
            return EndsTransaction(keeps=False)
        case "SAVEPOINT":
            return MakesSavepoint(savepoint)
        case "RELEASE":
            return ReleasesSavepoint(savepoint)
        case "ROLLBACK TO":
            return RollsBackTo(savepoint)
        case _:
            return None


def discard(walker: Walker, fields: Fields) -> None:
    match fields.get("target", "DISCARD_ALL"):
        case "DISCARD_ALL":
            walker.findings.effects.append(DiscardsAll())
        case "DISCARD_TEMP":
            walker.findings.effects.append(DiscardsTemporary())


def deallocate(walker: Walker, fields: Fields) -> None:
    walker.findings.effects.append(Deallocates(fields.get("name")))


def close_cursor(walker: Walker, fields: Fields) -> None:
    walker.findings.effects.append(ClosesCursor(fields.get("portalname")))


def fetch(walker: Walker, fields: Fields) -> None:
    walker.findings.references.append(ReadsCursor(fields.get("portalname", "")))


def execute(walker: Walker, fields: Fields) -> None:
    """Its own part is its arguments; the reference says whose judgement to add."""
    walker.findings.references.append(RunsPrepared(fields.get("name", "")))
    walker.children("ExecuteStmt", fields)


def prepare(walker: Walker, fields: Fields) -> None:
    """At the top it runs nothing, which `reading` says; anywhere else it counts as what it carries."""
    walker.node(fields.get("query"))


def declare(walker: Walker, fields: Fields) -> None:
    """Planning runs functions, and EXPLAIN ANALYZE runs the whole query."""
    walker.node(fields.get("query"))


def explain(walker: Walker, fields: Fields) -> None:
    """Even a plain EXPLAIN plans, and planning runs functions: EXPLAIN x is x."""
    walker.findings.facts["explain"] = True
    for node in fields.get("options", ()):
        option = node.get("DefElem", {})
        if option.get("defname") == "analyze" and _truth(option) not in FALSE:
            walker.findings.facts["analyze"] = True
    walker.node(fields.get("query"))


def _truth(option: Fields) -> str:
    argument = option.get("arg", {})
    if "Integer" in argument:
        return str(argument["Integer"].get("ival", 0))
    return sval(argument).lower()


def create_as(walker: Walker, fields: Fields) -> None:
    """CREATE TABLE AS, CREATE MATERIALIZED VIEW AS, also of EXECUTE."""
    into(walker, fields.get("into", {}), unless_there=bool(fields.get("if_not_exists")))
    walker.node(fields.get("query"))


def select(walker: Walker, fields: Fields) -> None:
    """SELECT at the top: set_config() there is a SET."""
    if (targets := settings.set_config_calls(fields)) is not None:
        settings.select_set_config(walker, targets)
    elif (found := settings.set_config_of_found(fields)) is not None:
        settings.select_set_config_of_found(walker, fields, *found)
    else:
        walker.visit("SelectStmt", fields)
