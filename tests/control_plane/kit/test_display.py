"""What reviewers read: nothing hidden, nothing lost, nothing that can be imitated."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.kit.display import displayed, fitted, visible


def original(text: str) -> str:
    return re.sub(r"⟨U\+([0-9A-F]{4,6})[^⟩]*⟩", lambda match: chr(int(match.group(1), 16)), text)


@pytest.mark.parametrize(
    ("hidden", "written"),
    [
        ("\u202e", "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩"),
        ("\u200b", "⟨U+200B ZERO WIDTH SPACE⟩"),
        ("\x1b", "⟨U+001B⟩"),
        ("\r", "⟨U+000D⟩"),
        ("\0", "⟨U+0000⟩"),
        ("\u00a0", "⟨U+00A0 NO-BREAK SPACE⟩"),
        ("\u3164", "⟨U+3164 HANGUL FILLER⟩"),
        ("\u2028", "⟨U+2028 LINE SEPARATOR⟩"),
        ("\ufe0f", "⟨U+FE0F VARIATION SELECTOR-16⟩"),
        ("\U000e0041", "⟨U+E0041 TAG LATIN CAPITAL LETTER A⟩"),
        ("⟨", "⟨U+27E8 MATHEMATICAL LEFT ANGLE BRACKET⟩"),
    ],
)
def test_what_a_screen_hides_is_written_out(hidden: str, written: str) -> None:
    shown = displayed(f"a{hidden}b")
    assert shown.text == f"a{written}b"
    assert shown.hidden == 1


def test_plain_text_lines_and_letters_of_any_script_stay() -> None:
    text = "SELECT 'Straße',\n\t'東京', 'שלום' -- ok"
    assert displayed(text).text == text
    assert displayed(text).hidden == 0


def test_a_mark_cannot_be_imitated() -> None:
    assert displayed("⟨U+200B ZERO WIDTH SPACE⟩").text != displayed("\u200b").text


@given(st.text())
def test_the_original_can_be_read_back_and_nothing_is_cut(text: str) -> None:
    shown = displayed(text)
    assert original(shown.text) == text
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", shown.text)


def test_one_line_fields_stay_on_one_line() -> None:
    assert visible("psql\nowner: you\t!") == "psql⟨U+000A⟩owner: you⟨U+0009⟩!"


@given(st.text(), st.integers(0, 50))
def test_what_does_not_fit_is_counted(text: str, most: int) -> None:
    found = fitted(text, most)
    assert text.startswith(found.text)
    assert found.hidden_bytes == len(text.encode("utf-8", "surrogatepass")) - len(
        found.text.encode("utf-8", "surrogatepass")
    )
