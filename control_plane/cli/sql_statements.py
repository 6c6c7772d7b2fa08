"""A file of SQL as the statements that psql would send one by one. Pure.

It finds ends of statements and understands nothing else: quotes, dollar quotes, nested comments, parentheses and the
bodies of `BEGIN ATOMIC`. A statement that is cut elsewhere than the client cuts it is asked for again when it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<quoted>'(?:[^']|'')*(?:'|\Z))
    | (?P<name>"(?:[^"]|"")*(?:"|\Z))
    | (?P<line>--[^\n]*)
    | (?P<opening>/\*)
    | (?P<dollar>(?<![A-Za-z0-9_$])\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$)
    | (?P<atomic>\bbegin\s+atomic\b)
    | (?P<case>\bcase\b)
    | (?P<end>\bend\b)
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<semicolon>;)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_COMMENT_MARK: Final = re.compile(r"/\*|\*/")


def statements(text: str) -> list[str]:
    """Without the semicolons; what is nothing but blanks is left out."""
    cut: list[str] = []
    begin = 0
    for end in _ends(text):
        cut.append(text[begin:end].strip())
        begin = end + 1
    cut.append(text[begin:].strip())
    return [one for one in cut if one]


def _ends(text: str) -> Iterator[int]:
    """Where the semicolons are that end statements."""
    at = depth = bodies = 0
    while token := _TOKEN.search(text, at):
        at = token.end()
        match token.lastgroup:
            case "opening":
                at = _after_comment(text, at)
            case "tag" | "dollar":
                closing = text.find(token["dollar"], at)
                at = len(text) if closing < 0 else closing + len(token["dollar"])
            case "open":
                depth += 1
            case "close":
                depth = max(0, depth - 1)
            case "atomic":
                bodies += 1
            case "case" if bodies:
                bodies += 1
            case "end" if bodies:
                bodies -= 1
            case "semicolon" if not depth and not bodies:
                yield token.start()


def _after_comment(text: str, at: int) -> int:
    depth = 1
    while depth and (mark := _COMMENT_MARK.search(text, at)):
        at = mark.end()
        depth += 1 if mark.group() == "/*" else -1
    return at if not depth else len(text)
