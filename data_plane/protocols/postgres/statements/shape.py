"""The shape of a text: the text itself with its integers and plain strings taken out.

Texts of one shape that differ only there share one judgement, without being parsed again. This is not
libpg_query's fingerprint: that is a 64-bit hash without a key, so an attacker may look for two texts that share
it, and it ignores the length of lists; here the key is the whole rest of the text, byte for byte.

It is conservative. A text has a shape only when every byte is a plain one: no backslash, dollar, double quote,
ampersand, no byte beyond ASCII, no comment. A string is taken out only when it stands alone: a quote after a
letter, digit or underscore (E'', B'', X'', N'') is left, and a shape with a quote in it is none. So the first
quote either opens a string for PostgreSQL and for this pattern alike, or ends the attempt, and both see every
later quote in the same way. A number that touches a letter, a point or a digit stays, as does the number of a
LIMIT, which is a fact. Whether a judgement may be shared at all is decided where it is made (`classifier`).
"""

from __future__ import annotations

import re
import string
from typing import Final

_PLAIN = (string.ascii_letters + string.digits + " \t\n\r_'(),.;=<>+-*/%:[]!|?@#~^{}").encode()
# The first byte stands in front of what is asked about it, so that the engine skips to quotes and digits.
_LITERALS = re.compile(
    rb"['0-9](?:"
    rb"(?<=')(?<![A-Za-z0-9_]')[^']*'(?:'[^']*')*"
    rb"|(?<=[0-9])(?<![A-Za-z0-9_.][0-9])(?<!LIMIT [0-9])(?<!limit [0-9])[0-9]*(?![A-Za-z0-9_.])"
    rb")"
)
_KEPT_LIMIT = re.compile(rb"(?:limit|LIMIT) [0-9]+(?![A-Za-z0-9_.])")
DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_MOST_INTEGERS = 4  # more of them have too many lengths between them
LONGEST = 4096  # bytes; longer texts are rarely repeated and cost more to compare than they save


def shape(text: bytes) -> bytes | None:
    """None when the text has none."""
    if len(text) > LONGEST or text.translate(None, _PLAIN) or _holds(text, b"-", b"--") or _holds(text, b"/", b"/*"):
        return None
    found = _LITERALS.sub(b"\0", text)
    return None if found.find(b"'") >= 0 else found


def differs_in_integers_only(text: bytes, found: bytes) -> bool:
    """Whether all texts that are equal to this one but for what their digits are have the shape that was found for it.

    It is so when the shape has no digit left: whether a digit is left depends on where it stands, never on which it is.
    Not asked of texts with strings or with many integers, of which there would be too many."""
    return found.count(0) <= _MOST_INTEGERS and b"'" not in text and b"0" not in found.translate(DIGITS)


def _holds(text: bytes, first: bytes, sought: bytes) -> bool:
    """One byte is found several times as quickly as two, and `in` makes an exception on its way."""
    return text.find(first) >= 0 and text.find(sought) >= 0


def kept_limits(found: bytes) -> int:
    """How many LIMIT constants are still in a shape."""
    return len(_KEPT_LIMIT.findall(found))
