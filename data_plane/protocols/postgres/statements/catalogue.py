"""The names of PostgreSQL that a judgement knows, read once from `names/*.txt`: functions by what they do,
operators, types, parameters.

A name that is in no list is unknown, and what calls it is not understood. Only names without a schema and
names in pg_catalog are looked up: with the search path that `settings` allows, pg_catalog comes first.
"""

from __future__ import annotations

from pathlib import Path

from data_plane.gate.interface import Action

NAMES = Path(__file__).parent / "names"


def names(file: str) -> frozenset[str]:
    """The words of a list; a line that starts with `# ` is a comment."""
    lines = (NAMES / f"{file}.txt").read_text(encoding="ascii").splitlines()
    return frozenset(word for line in lines if not line.startswith("# ") for word in line.split())


TYPES = names("types")
# A type called like a function is a cast to it.
HARMLESS = names("functions_harmless") | TYPES
INFORMATION_SCHEMA = names("functions_information_schema")
REVEALING_NOTHING = names("functions_revealing_nothing")
OPAQUE = names("functions_opaque")
OPERATORS = names("operators")
ADMINISTRATIVE_RELATIONS = names("relations_administrative")
SETTINGS_WITH_MEANING = names("settings_with_meaning")
SETTINGS_WITHOUT_MEANING = names("settings_without_meaning")

FUNCTIONS: dict[str, Action] = {
    **dict.fromkeys(HARMLESS, Action.READ),
    **dict.fromkeys(names("functions_writing"), Action.WRITE),
    **dict.fromkeys(names("functions_administrative"), Action.ADMIN),
    **dict.fromkeys(names("functions_executing"), Action.EXEC),
}
WITH_EFFECT = FUNCTIONS.keys() - HARMLESS
SET_CONFIG = "set_config"
TABLESAMPLE_METHODS = frozenset(("bernoulli", "system"))
