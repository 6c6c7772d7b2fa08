"""Rules of the code base that a machine can hold: layout, size, where permits are made, what is never committed."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANES = ("control_plane", "data_plane")
AGREED = {"pyproject.toml", "control_plane", "data_plane", "proto", "deploy", "tests", "README.md"}
TOOLS_WANT = {"requirements.lock", "LICENSE", "Makefile"}
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 40

# Each exception has its reason; a longer list is a smell.
LONGER_FILES: dict[str, str] = {}
LONGER_FUNCTIONS: dict[str, str] = {}


def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    for name in committed():
        if name.endswith(".py") and name.startswith(tuple(f"{folder}/" for folder in folders)):
            yield name, (ROOT / name).read_text()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")), node.lineno


def test_the_top_level_holds_only_what_was_agreed() -> None:
    top = {name.split("/")[0] for name in committed()}
    assert {name for name in top - AGREED - TOOLS_WANT if not name.startswith(".")} == set()


def test_no_file_is_longer_than_the_budget() -> None:
    long = {
        name: text.count("\n")
        for name, text in sources(*PLANES, "tests", "deploy")
        if text.count("\n") > MOST_LINES_OF_A_FILE
    }
    assert {name: lines for name, lines in long.items() if name not in LONGER_FILES} == {}
    assert set(LONGER_FILES) <= set(long), "an exception that is no longer needed"


def test_no_function_is_longer_than_the_budget() -> None:
    long = {}
    for name, text in sources(*PLANES):
        if "/migrations/versions/" in name:
            continue
        for function in functions(ast.parse(text)):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                long[f"{name}:{function.name}"] = lines
    assert {name: lines for name, lines in long.items() if name not in LONGER_FUNCTIONS} == {}
    assert set(LONGER_FUNCTIONS) <= set(long), "an exception that is no longer needed"


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, text in sources(*PLANES) if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert silent == []


def test_permits_are_made_in_the_gate_only() -> None:
    """Invariant 1: bytes reach a target only in exchange for a permit, and only the gate makes permits."""
    makers = {name for name, text in sources(*PLANES) for called, _ in calls(ast.parse(text)) if called == "Permit"}
    assert makers, "nobody makes permits: the rule looks for the wrong name"
    assert {name for name in makers if not name.startswith("data_plane/gate/")} == set()


def test_tasks_are_made_in_one_supervised_place() -> None:
    makers = {
        name
        for name, text in sources(*PLANES)
        for called, _ in calls(ast.parse(text))
        if called in {"create_task", "ensure_future"}
    }
    assert makers == {"control_plane/kit/tasks.py", "data_plane/runtime/tasks.py"}


@pytest.mark.parametrize(
    "pattern",
    [
        r"/(work|farm|tmp/research|root/\.pyenv)/",
        r"pypi\.org|pythonhosted|npmjs|crates\.io|proxy\.golang|deb\.debian|maven\.org|docker\.io/",
        r"-----BEGIN (RSA |EC |OPENSSH )?PRIVATE KEY-----\n[A-Za-z0-9+/]",
    ],
)
def test_no_machine_path_registry_host_or_private_key_is_committed(pattern: str) -> None:
    found = []
    for name in committed():
        if name.startswith("tests/architecture/"):
            continue
        text = (ROOT / name).read_text(errors="replace")
        found += [f"{name}: {match.group()}" for match in [re.search(pattern, text)] if match]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    smells = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError|pytest\.mark\.(skip|xfail))\b")
    found = [
        f"{name}:{number}"
        for name, text in sources(*PLANES, "tests")
        if "architecture" not in name
        for number, line in enumerate(text.splitlines(), 1)
        if smells.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("number", range(1, 16))
def test_every_invariant_of_the_design_is_named_by_a_test(number: int) -> None:
    named = re.compile(rf"[Ii]nvariants?\b[^.\n]{{0,40}}\b{number}\b")
    assert any(named.search(text) for name, text in sources("tests") if "architecture" not in name)
