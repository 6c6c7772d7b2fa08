"""Runs the data plane's sources even where they have been compiled, and notices compiled ones that are out of date."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def prefer_sources() -> None:
    """Before anything of the data plane is imported. Processes that this one starts are not concerned."""
    sys.path_hooks.insert(0, _sources_only)
    sys.path_importer_cache.clear()


def _sources_only(path: str) -> FileFinder:
    if not Path(path).is_relative_to(ROOT / "data_plane"):
        raise ImportError(path)
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


def compiler() -> ModuleType:
    """deploy/compile.py, which is no package."""
    spec = importlib.util.spec_from_file_location("compile_data_plane", ROOT / "deploy/compile.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("deploy/compile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
