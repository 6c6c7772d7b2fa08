"""A file is cut where psql would cut it."""

from __future__ import annotations

import pytest

from control_plane.cli.sql_statements import statements

BODY = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", []),
        (" ;; \n; ", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\nSELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 'it''s; so'; SELECT 3", ["SELECT ';'", "SELECT 'it''s; so'", "SELECT 3"]),
        (r"SELECT E'\';', '\'; SELECT 2", [r"SELECT E'\';', '\'", "SELECT 2"]),
        ('SELECT 1 AS "a;""b"; SELECT 2', ['SELECT 1 AS "a;""b"', "SELECT 2"]),
        ("SELECT 1 -- one; two\n; SELECT 2", ["SELECT 1 -- one; two", "SELECT 2"]),
        ("SELECT 1 /* ; /* ; */ ; */; SELECT 2", ["SELECT 1 /* ; /* ; */ ; */", "SELECT 2"]),
        ("DO $$ begin; end $$; SELECT 2", ["DO $$ begin; end $$", "SELECT 2"]),
        ("DO $a$ ; $$ ; $a$; SELECT 2", ["DO $a$ ; $$ ; $a$", "SELECT 2"]),
        ("SELECT a$$b; SELECT 2", ["SELECT a$$b", "SELECT 2"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
         ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"]),
        (f"{BODY}; SELECT 3", [BODY, "SELECT 3"]),
        ("BEGIN; SELECT CASE WHEN x THEN 1 END; END", ["BEGIN", "SELECT CASE WHEN x THEN 1 END", "END"]),
        ("SELECT 'never closed; SELECT 2", ["SELECT 'never closed; SELECT 2"]),
        ("SELECT 1 /* never closed; SELECT 2", ["SELECT 1 /* never closed; SELECT 2"]),
        ("SELECT $$ never closed; SELECT 2", ["SELECT $$ never closed; SELECT 2"]),
    ],
)  # fmt: skip
def test_a_file_is_cut_into_statements(text: str, cut: list[str]) -> None:
    assert statements(text) == cut
