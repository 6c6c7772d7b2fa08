"""SET, RESET, SHOW, set_config(): which parameters a session may set for itself, and which would change the ground
that every later judgement stands on.

Two are pinned: under another client_encoding or with standard_conforming_strings off the server reads a text
differently from how it was read here. Setting them to anything else is not understood, whatever policy says of
parameters. `role` and `session_authorization` are administration, as is a search path on which pg_catalog is named
after another schema (the names of built-in functions would then mean something else).
"""

from __future__ import annotations

import re

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import REASON, SetsParameter
from data_plane.protocols.postgres.statements import catalogue
from data_plane.protocols.postgres.statements.tree import Fields, Node, constant, strings, sval
from data_plane.protocols.postgres.statements.walker import Walker

PINS = {
    "client_encoding": frozenset(("utf8", "unicode")),
    "standard_conforming_strings": frozenset(("on", "true", "yes", "1", "t", "y")),
}
TRUE = PINS["standard_conforming_strings"]
# Lists of names: what SET is given is quoted, as the server does it.
QUOTED_LISTS = frozenset(("search_path", "temp_tablespaces"))
ADMINISTRATIVE = frozenset(("role", "session_authorization"))
ALL = "all"
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_PLAIN_CALL = frozenset({"funcname", "args", "funcformat", "location"})
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]")


def variable_set(walker: Walker, fields: Fields) -> None:
    kind, name = fields.get("kind", ""), str(fields.get("name", "")).lower()
    local = bool(fields.get("is_local"))
    if kind == "VAR_SET_MULTI":
        _transaction_parameters(walker, name, fields.get("args", ()))
    elif kind == "VAR_RESET_ALL":
        assign(walker, ALL, None, local=local)
    elif kind in ("VAR_RESET", "VAR_SET_DEFAULT"):
        assign(walker, name, None, local=local)
    elif kind == "VAR_SET_VALUE":
        assign(walker, name, _value(name, fields.get("args", ())), local=local)
    else:
        walker.findings.fail("not understood: SET … FROM CURRENT outside of a function")


def _value(name: str, args: list[Node]) -> str:
    """What the server makes of the arguments: one string, the names of a list quoted."""
    words = [_word(arg) for arg in args]
    if name in QUOTED_LISTS:
        words = [word if _PLAIN.fullmatch(word) else '"' + word.replace('"', '""') + '"' for word in words]
    return ", ".join(words)


def _word(arg: Node) -> str:
    if "TypeCast" in arg:  # SET TIME ZONE INTERVAL …
        cast = arg["TypeCast"]
        fields = [cast.get("arg", {}), *cast.get("typeName", {}).get("typmods", ())]
        return " ".join(["interval", *(constant(field) or "" for field in fields)])
    return constant(arg) or ""


def _transaction_parameters(walker: Walker, scope: str, args: list[Node]) -> None:
    """SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT."""
    prefix, local = ("default_", False) if scope == "session characteristics" else ("", True)
    for arg in args:
        option = arg.get("DefElem")
        if option is not None:
            value = constant(option.get("arg", {})) or ""
            assign(walker, prefix + option.get("defname", ""), value, local=local)


def assign(walker: Walker, name: str, value: str | None, *, local: bool) -> None:
    """One parameter is set, or reset (None): judged, and told to whoever tracks the session."""
    findings = walker.findings
    findings.settings[name] = None
    findings.effects.append(SetsParameter(name, value, local))
    findings.act(action_of(name, value))
    if breaks_pin(name, value):
        wanted = "UTF8" if name == "client_encoding" else "on"
        findings.fail(f"not understood: {name} stays {wanted} here; leave this parameter alone")


def breaks_pin(name: str, value: str | None) -> bool:
    """A reset goes back to what the session was opened with, which is the pin."""
    allowed = PINS.get(name)
    return allowed is not None and value is not None and _NOT_ALPHANUMERIC.sub("", value.lower()) not in allowed


def action_of(name: str, value: str | None) -> Action:
    if name in ADMINISTRATIVE:
        return Action.ADMIN
    if value is None or name == REASON:  # None: back to what the session was opened with
        return Action.SESSION
    if name not in catalogue.SETTINGS_WITH_MEANING and name not in catalogue.SETTINGS_WITHOUT_MEANING:
        return Action.ADMIN
    if name == "default_transaction_read_only" and value.lower() not in TRUE:
        return Action.ADMIN
    if name == "search_path" and _demotes_the_catalogue(value):
        return Action.ADMIN
    return Action.SESSION


def _demotes_the_catalogue(path: str) -> bool:
    """What may name it counts as naming it; that it stands first must be certain."""
    first, *others = path.split(",")
    if not any(schema.strip().strip("\"'").lower() == "pg_catalog" for schema in others):
        return False
    first = first.strip(" \t\n\r\f")
    return first != '"pg_catalog"' and first.lower() != "pg_catalog"


# ---------------------------------------------------------------------- set_config()


def set_config_calls(fields: Fields) -> list[Node] | None:
    """The target list of a SELECT that does nothing but compute one row, when it calls set_config(); else None.

    Only there is it certain that the call runs, once and in order."""
    if fields.keys() - {"targetList", "limitOption", "op"}:
        return None
    targets: list[Node] = fields.get("targetList", [])
    return targets if any(_is_set_config(target) for target in targets) else None


def _is_set_config(target: Node) -> bool:
    parts = strings(target.get("ResTarget", {}).get("val", {}).get("FuncCall", {}).get("funcname", ()))
    return parts in ([catalogue.SET_CONFIG], ["pg_catalog", catalogue.SET_CONFIG])


def select_set_config(walker: Walker, targets: list[Node]) -> None:
    walker.findings.verbs.update({"SELECT": None, "SET": None})
    walker.findings.act(Action.READ if not all(map(_is_set_config, targets)) else Action.SESSION)
    for target in targets:
        if _is_set_config(target):
            _set_config(walker, target["ResTarget"]["val"]["FuncCall"])
        else:
            walker.node(target)


def _set_config(walker: Walker, call: Fields) -> None:
    walker.call(call)
    arguments = call.get("args", [])
    name, value, local = [*(constant(argument) for argument in arguments), None, None, None][:3]
    if len(arguments) != 3 or name is None or local is None:
        walker.findings.fail("not understood: set_config() with a name or scope that is not written in the statement")
    elif value is not None:
        assign(walker, name.lower(), value, local=local.lower() in TRUE)
    elif arguments[1].get("A_Const", {}).get("isnull"):
        assign(walker, name.lower(), None, local=local.lower() in TRUE)
    elif name.lower() in catalogue.SETTINGS_WITHOUT_MEANING and "ParamRef" in arguments[1]:
        walker.findings.settings[name.lower()] = None
    else:
        walker.findings.fail(f"not understood: set_config() of {name} to a value that is not written in the statement")


def set_config_of_found(fields: Fields) -> tuple[Fields, str] | None:
    """`SELECT set_config(name, 'value', …) FROM pg_settings WHERE name = 'parameter'`, as pg_dump has it: the call and
    the parameter, which is set where the server has it. Only of one that means nothing, for no row may be found."""
    targets, sources = fields.get("targetList", []), fields.get("fromClause", [])
    if fields.keys() - {"targetList", "fromClause", "whereClause", "limitOption", "op"} or len(targets) != 1:
        return None
    if not _is_set_config(targets[0]) or [_plainly_named(source) for source in sources] != ["pg_settings"]:
        return None
    call: Fields = targets[0]["ResTarget"]["val"]["FuncCall"]
    if call.keys() - _PLAIN_CALL:
        return None
    name, value, local = [*call.get("args", ()), {}, {}, {}][:3]
    parameter = _compared_with(fields.get("whereClause", {}))
    if len(call["args"]) != 3 or not _is_name(name) or constant(value) is None or constant(local) is None:
        return None
    return (call, parameter) if parameter in catalogue.SETTINGS_WITHOUT_MEANING else None


def _plainly_named(source: Node) -> str:
    relation = source.get("RangeVar", {})
    return "" if "alias" in relation or "schemaname" in relation else str(relation.get("relname", ""))


def _is_name(node: Node) -> bool:
    return [sval(field) for field in node.get("ColumnRef", {}).get("fields", ())] == ["name"]


def _compared_with(condition: Node) -> str:
    comparison = condition.get("A_Expr", {})
    plain = comparison.get("kind") == "AEXPR_OP" and strings(comparison.get("name", ())) == ["="]
    found = constant(comparison.get("rexpr", {})) if plain and _is_name(comparison.get("lexpr", {})) else None
    return found or ""


def select_set_config_of_found(walker: Walker, fields: Fields, call: Fields, parameter: str) -> None:
    walker.visit("SelectStmt", {**fields, "targetList": []})
    walker.findings.verbs["SET"] = None
    walker.call(call)
    walker.findings.settings[parameter] = None
