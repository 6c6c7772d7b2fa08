"""Whether a text means the same to the server as to us, before it is parsed.

The server reads bytes under `client_encoding` and `standard_conforming_strings`. Both are pinned, but a change is
reported late (PROTOCOLS §2.5), so a text whose tokens would end elsewhere under the other setting is refused:
with backslashes as escapes, one that swallows a quote moves the end of a plain '…' string.
"""

from __future__ import annotations

import re

from pglast import parser

# Bytes. Parsing holds the event loop, and a longer text is data that COPY or parameters carry better.
LONGEST = 256 * 1024
SMALLER = "send fewer rows at a time or use COPY, and long values as parameters"

_NO_NAMES = frozenset({"SCONST", "USCONST", "XCONST", "BCONST", "SQL_COMMENT", "C_COMMENT"})
# A plain string whose end is where it is under either setting: a backslash may stand before anything but a quote.
# Nothing in it is tried in two ways (the quantifiers are possessive), so it takes linear time.
_PART = r"'(?:[^'\\]++|''|\\[^'])*+'"
_SAME_END = re.compile(rf"{_PART}(?:[ \t\f\v]*+[\n\r][ \t\f\v\n\r]*+{_PART})*+", re.DOTALL)


def refused(text: bytes) -> str:
    """Why a text is not even parsed; empty when it may be."""
    if len(text) > LONGEST:
        return f"not understood: longer than {LONGEST} bytes; {SMALLER}"
    if b"\0" in text:
        return "not understood: the text contains a NUL"
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        return f"not understood at byte {error.start + 1}: not UTF-8"
    if b"\\" in text and not ends_alike(decoded):
        return (
            "not understood: a backslash before a quote in a plain '…' string reads differently under "
            "standard_conforming_strings; write the string as E'…' or double the backslash in one"
        )
    return ""


def ends_alike(text: str) -> bool:
    """Whether every plain string ends at the same place with and without backslash escapes."""
    for token in parser.scan(text):
        if token.name == "SCONST" and text[token.start] == "'":
            literal = text[token.start : token.end + 1]
            if "\\" in literal and not _SAME_END.fullmatch(literal):
                return False
    return True


def plainly_ascii(text: bytes) -> bool:
    """Whether there is nothing beyond ASCII in it, and no name that may be written by escapes: U&"\\00e4"."""
    return text.isascii() and b'&"' not in text


def names_are_ascii(text: bytes) -> bool:
    """Whether what is beyond ASCII, if anything, stands in strings and comments only."""
    if plainly_ascii(text):
        return True
    decoded = text.decode()
    try:
        tokens = parser.scan(decoded)
    except parser.ParseError:
        return False
    names = [token for token in tokens if token.name not in _NO_NAMES]
    return all(token.name != "UIDENT" and decoded[token.start : token.end + 1].isascii() for token in names)
