"""A text is read only when the server reads it alike."""

from __future__ import annotations

import time

import pytest

from data_plane.protocols.postgres.statements.lexing import ends_alike, refused


@pytest.mark.parametrize(
    "text",
    [
        "select '\\d+'",
        "select '\\\\'",
        "select 'C:\\dir', E'it\\'s', 'it''s'",
        "select $$ a\\' $$",
        "select $tag$ a\\' $tag$, '\\n'",
        "select U&'\\0041'",
        'select "a\\"',
        "select 1 -- it\\'s",
        "select /* \\' */ 1",
        "select e'a\\' x --'",
        "select 'a\\n'\n  'b\\n'",
    ],
)
def test_strings_that_end_alike_pass(text: str) -> None:
    assert ends_alike(text)


@pytest.mark.parametrize(
    "text",
    [
        "select 'a\\'",
        "select 'a\\' as x --' as y",
        "select 'a\\''b'",
        "select 'a\\\\\\' or 1=1 --'",
        "select 'a'\n 'b\\'",
        "select N'a\\'",
        "select date '\\'",
    ],
)
def test_a_backslash_that_would_swallow_a_quote_is_refused(text: str) -> None:
    assert not ends_alike(text)
    assert "backslash" in refused(text.encode())


@pytest.mark.parametrize("text", [b"\x80", b"select '\x95\x5c'", b"select '\xbf\x5c'", b"\xed\xa0\x80", b"a\xc3"])
def test_bytes_that_are_not_utf8_are_refused(text: bytes) -> None:
    assert "not UTF-8" in refused(text)


def test_a_text_is_bounded() -> None:
    assert refused(b" " * (256 * 1024)) == ""
    assert "longer" in refused(b" " * (256 * 1024 + 1))


@pytest.mark.parametrize(
    "text",
    [
        "select 'a'" + "\n" * 60_000 + "'" + "c" * 60_000 + "\\'",
        "select '" + "a''" * 60_000 + "\\'",
        "select '" + "\\n" * 60_000 + "\\'",
        "select 'a'" + " \n " * 40_000 + "\\",
        "select " + "'a\\n'\n" * 30_000 + "'\\'",
    ],
    ids=lambda text: text[8:20],
)
def test_a_text_is_looked_over_once(text: str) -> None:
    """Not once for each way to divide it: a quadratic search would take minutes here."""
    started = time.process_time()
    refused(text.encode())
    assert time.process_time() - started < 3
