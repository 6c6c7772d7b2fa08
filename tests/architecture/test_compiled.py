"""What is compiled is what is read."""

from __future__ import annotations

import os
import sysconfig
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path

from tests.support.interpreted import ROOT, compiler


def test_a_source_that_is_newer_than_what_was_compiled_of_it_is_noticed(tmp_path: Path) -> None:
    source = compiler().SOURCES[0]
    (tmp_path / source).parent.mkdir(parents=True)
    (tmp_path / source).write_text("")
    assert compiler().stale(tmp_path) == [], "nothing is compiled"
    compiled = (tmp_path / source).with_suffix(EXTENSION_SUFFIXES[0])
    compiled.write_text("")
    written = (tmp_path / source).stat().st_mtime
    os.utime(compiled, (written + 1, written + 1))
    assert compiler().stale(tmp_path) == []
    os.utime(compiled, (written - 1, written - 1))
    assert compiler().stale(tmp_path) == [source]


def test_what_was_compiled_is_what_runs_and_nothing_else_is() -> None:
    """Where nothing could be compiled, the sources are."""
    compiled = any(ROOT.glob(f"{compiler().NAME}__mypyc.*.so"))
    suffixes = tuple(EXTENSION_SUFFIXES if compiled else SOURCE_SUFFIXES)
    for source in compiler().SOURCES:
        module = import_module(source.removesuffix(".py").replace("/", "."))
        assert str(module.__file__).endswith(suffixes)
    assert len(list(ROOT.glob("data_plane/**/*.so"))) in (0, len(compiler().SOURCES))


def test_what_was_compiled_has_the_flags_that_the_interpreter_was_built_with() -> None:
    """Without them the interpreter's own assertions are compiled in, and integers may overflow as C likes."""
    if "-DNDEBUG" in str(sysconfig.get_config_var("CFLAGS")):
        for library in compiler().results():
            assert b"__assert_fail" not in library.read_bytes(), library
