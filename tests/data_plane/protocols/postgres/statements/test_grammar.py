"""Nothing of the grammar is forgotten: every node of libpg_query is judged, descended into, or refused."""

from __future__ import annotations

import inspect

import pytest
from pglast import ast

from data_plane.protocols.postgres.statements import walker
from data_plane.protocols.postgres.statements.findings import Findings
from data_plane.protocols.postgres.statements.table import NOT_A_STATEMENT, STATEMENTS, _nothing, judge
from data_plane.protocols.postgres.statements.tree import inline_kind


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODES = {name: node for name, node in vars(ast).items() if inspect.isclass(node) and issubclass(node, ast.Node)}
STATEMENT_NODES = sorted(name for name in NODES if name.endswith("Stmt"))
# Made by analysis and planning: a parser never gives them.
ANALYSED = words(
    """Aggref AlternativeSubPlan ArrayCoerceExpr ArrayExpr CallContext CaseTestExpr CoerceToDomain CoerceToDomainValue
    CoerceViaIO CollateExpr ConvertRowtypeExpr FieldSelect FieldStore FromExpr FuncExpr InferenceElem InlineCodeBlock
    JsonConstructorExpr JsonExpr MergeAction OnConflictExpr OpExpr Param Query RTEPermissionInfo RangeTblEntry
    RangeTblFunction RangeTblRef RelabelType ReturningExpr RowCompareExpr RowMarkClause ScalarArrayOpExpr
    SortGroupClause SubPlan SubscriptingRef TableFunc TableSampleClause TargetEntry Var WindowClause WindowFunc
    WindowFuncRunCondition WithCheckOption JsonTablePath JsonTablePathScan JsonTableSiblingJoin"""
)
# Read by the judge of the statement they stand in, never visited by themselves.
READ_IN_PLACE = words(
    "CommonTableExpr IntoClause LockingClause MergeWhenClause WithClause JsonTablePathSpec ReturningOption"
)
ABSTRACT = frozenset(("Expr", "Node", "ValUnion"))


@pytest.mark.parametrize("name", STATEMENT_NODES)
def test_every_statement_of_the_grammar_is_in_the_table(name: str) -> None:
    assert (name in STATEMENTS) != (name in NOT_A_STATEMENT)


CARRIED = words("Node* List* SelectStmt* GrantStmt* CreateStmt*")
# Fields of these C types that hold no statement and no expression.
OF_NAMES_AND_OPTIONS = {
    ("ConstraintsSetStmt", "constraints"),
    ("VariableShowStmt", "name"),
}


@pytest.mark.parametrize("name", sorted(name for name, entry in STATEMENTS.items() if entry.judge is _nothing))
def test_what_may_carry_another_statement_is_looked_into(name: str) -> None:
    fields = {(name, field) for field, info in NODES[name].__slots__.items() if info.c_type in CARRIED}
    assert fields <= OF_NAMES_AND_OPTIONS


@pytest.mark.parametrize("name", sorted(NODES.keys() - ABSTRACT - ANALYSED - READ_IN_PLACE - set(STATEMENT_NODES)))
def test_every_other_node_is_handled_descended_into_or_a_leaf(name: str) -> None:
    places = (name in walker.HANDLERS, name in walker.PASSIVE, name in walker.LEAVES)
    assert sum(places) == 1


@pytest.mark.parametrize("name", [*sorted(ANALYSED & NODES.keys()), "Whatever", "SomethingStmt", "", *NOT_A_STATEMENT])
def test_a_node_that_is_not_known_stops_the_judgement(name: str) -> None:
    findings = Findings()
    if name not in walker.PASSIVE:
        walker.Walker(findings, judge).visit(name, {})
        assert findings.problem
        assert not findings.subject().understood


def test_every_bare_struct_of_the_grammar_is_known_by_its_field() -> None:
    bare = {
        (name, field): info.c_type.removesuffix("*")
        for name, node in NODES.items()
        if name not in ANALYSED | {"A_Const", "ValUnion"} and isinstance(node.__slots__, dict)
        for field, info in node.__slots__.items()
        if info.c_type.removesuffix("*") in NODES and info.c_type not in ("Node*", "List*", "Expr*")
    }
    assert len(bare) > 80  # the test sees them
    wrong = {place: kind for place, kind in bare.items() if inline_kind(*place) != kind}
    unreachable = {place for place in wrong if wrong[place] in ANALYSED or place[0] in NOT_A_STATEMENT}
    assert wrong.keys() - unreachable == set()


def test_no_field_of_the_grammar_starts_like_a_node() -> None:
    fields = {field for node in NODES.values() if isinstance(node.__slots__, dict) for field in node.__slots__}
    assert not [field for field in fields if field[0].isupper()]
