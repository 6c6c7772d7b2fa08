"""Compiles what every statement passes through to C, by mypyc, from the very Python files that are read and tested.

Nothing else changes: the same modules under the same names, only quicker. Without a C compiler, or on a Python that
mypyc does not know, the agent runs the files as they are. The results lie beside their sources and are built anew when
a source is newer (`make compiled`); `--list` prints the sources, `--clean` takes the results away.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "data_plane_compiled"  # of the library that all of them share
CORE = "data_plane/protocols/postgres/core"
SOURCES = (
    *(
        f"{CORE}/{name}.py"
        for name in ("accounts", "batch", "changes", "context", "judging", "lane", "names", "outcomes")
    ),
    *(f"{CORE}/{name}.py" for name in ("ports", "relay", "session", "settings", "units", "widening")),
    "data_plane/gate/permit.py",
    "data_plane/gate/policy_gate.py",
    "data_plane/link/lease.py",
    "data_plane/masking/marks.py",
    "data_plane/policy/in_force.py",
    "data_plane/protocols/postgres/catalog.py",
    "data_plane/protocols/postgres/column_masks.py",
    "data_plane/protocols/postgres/framing.py",
    "data_plane/protocols/postgres/masking.py",
    "data_plane/protocols/postgres/ports.py",
    "data_plane/protocols/postgres/statement.py",
    "data_plane/protocols/postgres/statements/cache.py",
    "data_plane/protocols/postgres/statements/classifier.py",
    "data_plane/protocols/postgres/statements/shape.py",
    "data_plane/recording/decisions.py",
    "data_plane/recording/interface.py",
    "data_plane/recording/pieces.py",
    "data_plane/recording/recorder.py",
    "data_plane/runtime/leg.py",
)
# Small code and direct calls: a statement passes through so much of it that the processor's caches set the pace. Beside
# the flags that the interpreter was built with, not in CFLAGS, which would take their place (-DNDEBUG, -fwrapv).
BUILD = """
import sys
from setuptools import setup
from mypyc.build import mypycify
options = ["--strict", "--ignore-missing-imports", "--follow-imports=silent", "--no-warn-unused-ignores"]
modules = mypycify([*options, *sys.argv[2:]], opt_level="2", group_name=sys.argv[1])
for module in modules:
    module.extra_compile_args = [*module.extra_compile_args, "-fvisibility=hidden", "-fno-plt"]
setup(name=sys.argv[1], packages=[], ext_modules=modules, script_args=["--quiet", "build_ext", "--inplace"])
"""


def results(root: Path = ROOT) -> Iterator[Path]:
    yield from root.glob(f"{NAME}__mypyc.*.so")
    for source in SOURCES:
        yield from (root / source).parent.glob(f"{Path(source).stem}.*.so")


def stale(root: Path = ROOT) -> list[str]:
    """The sources that are newer than what is compiled of them, which Python would take all the same."""
    compiled = {result.name.partition(".")[0]: result for result in results(root)}
    return [
        source
        for source in SOURCES
        if (result := compiled.get(Path(source).stem)) and result.stat().st_mtime < (root / source).stat().st_mtime
    ]


def clean() -> None:
    for result in results():
        result.unlink()


def build() -> None:
    """In a copy, because setuptools would read this project's pyproject.toml as its own. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="assentry-compile-") as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "data_plane", copy / "data_plane", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copytree(ROOT / "proto/gen/assentry", copy / "assentry")
        subprocess.run(
            [sys.executable, "-c", BUILD, NAME, *SOURCES], cwd=copy, check=True, capture_output=True, text=True
        )
        clean()
        for result in results(copy):
            shutil.copy(result, ROOT / result.relative_to(copy))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="the sources")
    parser.add_argument("--clean", action="store_true", help="take away what was compiled")
    options = parser.parse_args()
    if options.list:
        sys.stdout.write(" ".join(SOURCES) + "\n")
        return 0
    clean()
    if options.clean:
        return 0
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.stderr.write(
            "No C compiler or no Python.h here: the agent will run as plain Python, at about a third more CPU.\n"
        )
        return 0
    try:
        build()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stdout}{error.stderr}\nThe data plane could not be compiled; see above.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
