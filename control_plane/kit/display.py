"""Text of strangers made safe to read: what cannot be seen is written out, nothing is cut, nothing is lost. Pure.

Every character that a screen hides, reorders or confuses with a blank becomes `⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩`;
the opening bracket itself is written that way too, so that nobody can write a mark by hand and the original can be
read back. Newline and tab stay. It does not protect against letters of another script that look alike.
"""

from __future__ import annotations

import unicodedata
from typing import Final

import msgspec

_OPENING: Final = "⟨"
_KEPT: Final = frozenset("\n\t ")
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
# Letters and marks by category, yet blank or shapeless on a screen.
_HIDDEN_CHARACTERS: Final = frozenset(
    [_OPENING, *(chr(code) for code in (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0))]
)
_VARIATION_SELECTORS: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


class Displayed(msgspec.Struct, frozen=True):
    """`hidden` counts the characters that were written out: more than none deserves a warning."""

    text: str
    hidden: int


def displayed(text: str) -> Displayed:
    if text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable():
        return Displayed(text, 0)
    hidden = 0
    shown = []
    for character in text:
        if _is_hidden(character):
            hidden += 1
            shown.append(_mark(character))
        else:
            shown.append(character)
    return Displayed("".join(shown), hidden)


def visible(text: str) -> str:
    """The text alone, for one-line fields."""
    return displayed(text).text.replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


class Fitted(msgspec.Struct, frozen=True):
    """What fits a channel; `hidden_bytes` above 0 means that the channel must say so and offer no buttons."""

    text: str
    hidden_bytes: int


def fitted(text: str, most_characters: int) -> Fitted:
    """For channels with a limit. The rest is counted, in UTF-8 bytes, never silently dropped."""
    rest = text[most_characters:].encode("utf-8", "surrogatepass")
    return Fitted(text[:most_characters], len(rest))


def _is_hidden(character: str) -> bool:
    if character in _KEPT:
        return False
    if character in _HIDDEN_CHARACTERS or unicodedata.category(character) in _HIDDEN_CATEGORIES:
        return True
    return any(ord(character) in selectors for selectors in _VARIATION_SELECTORS)


def _mark(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"⟨U+{ord(character):04X}{' ' + name if name else ''}⟩"
