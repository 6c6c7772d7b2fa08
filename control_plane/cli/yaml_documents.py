"""YAML files to documents, keeping for every field the file and line it stands on.

A folder is read recursively (`*.yaml`, `*.yml`) but for hidden folders in it (`.git`, `.venv`), files in the order of
their names, each with any number of documents. What is written into a pipe (`/dev/stdin`, `<(…)`) is read as a file is.
Duplicate keys, anchors of unknown names and documents that are not mappings are refused with their place.
"""

from __future__ import annotations

import math
import os
import re
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from control_plane.cli.errors import CommandError

STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[['\"](.+?)['\"]\]")


class DocumentError(CommandError):
    """A file that cannot be read as documents; the message starts with file:line."""


class LoadedDocument(msgspec.Struct, frozen=True):
    """`content` is plain JSON data; `place` answers where a path in it was written."""

    file: Path
    content: dict[str, Any]
    source: CommentedMap

    def place(self, path: str) -> str:
        """file:line:column of a JSON path such as `$.spec.rules[0].effect`, or of its nearest parent."""
        node: Any = self.source
        line, column = node.lc.line, node.lc.col
        for name, index, quoted in STEP.findall(path.removeprefix("$")):
            key: Any = int(index) if index else name or quoted
            if not isinstance(node, (CommentedMap, CommentedSeq)) or _missing(node, key):
                break
            line, column = node.lc.key(key) if isinstance(node, CommentedMap) else node.lc.item(key)
            node = node[key]
        return f"{self.file}:{line + 1}:{column + 1}"


def _missing(node: CommentedMap | CommentedSeq, key: Any) -> bool:
    if isinstance(node, CommentedMap):
        return key not in node
    return not isinstance(key, int) or key >= len(node)


def yaml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(folder, name) for name in names if Path(name).suffix in {".yaml", ".yml"}]
    return sorted(found)


def load_documents(path: Path) -> list[LoadedDocument]:
    """Every document of a file or folder. Raises DocumentError."""
    if not path.exists():
        raise DocumentError(f"{path}: there is no such file or folder")
    files = yaml_files(path)
    if not files or not all(file.is_file() or file.is_fifo() for file in files):
        raise DocumentError(f"{path}: no YAML files here; give a file or a folder with *.yaml")
    return [document for file in files for document in _load_file(file)]


def _load_file(file: Path) -> list[LoadedDocument]:
    try:
        parsed = [node for node in YAML().load_all(file.read_text(encoding="utf-8")) if node is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise DocumentError(f"{file}{line}: not valid YAML: {error.problem or error}") from error
    except YAMLError as error:
        raise DocumentError(f"{file}: not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise DocumentError(f"{file}: not read: its lists and mappings are nested too deeply") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"{file}: not UTF-8 text: {error}") from error
    except OSError as error:
        raise DocumentError(f"{file}: cannot be read: {error.strerror}") from error
    for node in parsed:
        if not isinstance(node, CommentedMap):
            raise DocumentError(f"{file}: a document must be a mapping with apiVersion, kind, metadata and spec")
    try:
        return [LoadedDocument(file, _plain(node), node) for node in parsed]
    except _InsideItselfError as error:
        raise DocumentError(f"{file}: an alias stands inside what it names") from error


class _InsideItselfError(Exception):
    """Found by looking: where a stack runs full, what Python cleans up there fails too."""


def _plain(node: Any, around: tuple[int, ...] = ()) -> Any:
    """ruamel's rich values as plain JSON values; anything else (dates, infinities, …) as its text."""
    if id(node) in around:
        raise _InsideItselfError
    if isinstance(node, dict):
        return {str(key): _plain(value, (*around, id(node))) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value, (*around, id(node))) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int):
        return int(node)
    return float(node) if isinstance(node, float) and math.isfinite(node) else str(node)


def dump_documents(documents: list[dict[str, Any]]) -> str:
    """Documents as one YAML text that `load_documents` reads back."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    text = StringIO()
    yaml.dump_all(documents, text)
    return text.getvalue()
