"""What a pattern matched, looked at more closely: check digits, neighbours, where the value really ends.

An `accept` function gets the text and the span of a match and gives the span of the value, or None. When a match is not
accepted the search goes on behind the run of digits that it began with, so that the time stays linear.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence

import re2

from data_plane.masking import checksums, strategies
from data_plane.policy.model import Strategy

Span = tuple[int, int]


def whole(_: bytes, start: int, end: int) -> Span:
    return start, end


def find(pattern: re2._Regexp, accept: Callable[[bytes, int, int], Span | None], text: bytes) -> Iterator[Span]:
    """The accepted spans, in order and apart from each other."""
    at = 0
    while (match := pattern.search(text, at)) is not None:
        start, end = match.span()
        span = accept(text, start, end)
        if span is not None:
            yield span
            at = max(span[1], start + 1)
        else:
            at = _behind_digits(text, start)


def merged(found: Sequence[tuple[int, int, Strategy]]) -> list[tuple[int, int, Strategy]]:
    """Overlapping spans as one, with the strategy that tells least."""
    spans: list[tuple[int, int, Strategy]] = []
    for start, end, strategy in sorted(found):
        if spans and start < spans[-1][1]:
            before = spans.pop()
            spans.append((before[0], max(end, before[1]), strategies.strongest([strategy, before[2]])))
        else:
            spans.append((start, end, strategy))
    return spans


def _behind_digits(text: bytes, start: int) -> int:
    at = start + 1
    if text[start : start + 1].isdigit():
        while text[at : at + 1].isdigit():
            at += 1
    return at


def _between(text: bytes, start: int, end: int, inside: Callable[[bytes], bool]) -> bool:
    """Whether neither neighbour would continue the value."""
    return not inside(text[start - 1 : start] if start else b"") and not inside(text[end : end + 1])


def _ends(text: bytes, start: int, end: int, inside: Callable[[bytes], bool]) -> list[tuple[str, int]]:
    """The prefixes of a match that end where a run ends, longest first: (without separators, end)."""
    compact, ends = "", []
    for at in range(start, end):
        character = text[at : at + 1]
        if not inside(character):
            continue
        compact += character.decode("latin-1")
        if not inside(text[at + 1 : at + 2]):
            ends.append((compact, at + 1))
    return ends[::-1]


def card(text: bytes, start: int, end: int) -> Span | None:
    """The search begins at the first of a run of digits, so that only the end is to be found."""
    for digits, stop in _ends(text, start, end, bytes.isdigit):
        if checksums.card(digits):
            return start, stop
    return None


def iban(text: bytes, start: int, end: int) -> Span | None:
    if start and text[start - 1 : start].isalnum():
        return None
    length = checksums.IBAN_LENGTHS.get(text[start : start + 2].decode("latin-1").upper())
    for compact, stop in _ends(text, start, end, bytes.isalnum):
        if len(compact) == length and checksums.iban(compact.upper()):
            return start, stop
    return None


def national_id(text: bytes, start: int, end: int) -> Span | None:
    if not _between(text, start, end, bytes.isalnum):
        return None
    matched = text[start:end].decode("latin-1")
    compact = matched.replace(" ", "").replace("-", "").replace("+", "")
    return (start, end) if _is_national_id(matched, compact) else None


def _is_national_id(matched: str, compact: str) -> bool:
    if matched[3:4] == "-" and len(compact) == 9:
        return checksums.us_ssn(compact)
    if compact.isdigit():
        checks = {
            9: (checksums.dutch_bsn,),
            10: (checksums.swedish_personnummer,),
            11: (checksums.german_tax_id, checksums.polish_pesel),
            15: (checksums.french_nir,),
        }
        return any(check(compact) for check in checks.get(len(compact), ()))
    if len(compact) == 16:
        return checksums.italian_codice(compact)
    if len(compact) == 15:
        return checksums.french_nir(compact)
    return checksums.uk_nino(compact) if compact[:2].isalpha() else checksums.spanish_nif(compact)


def phone(text: bytes, start: int, end: int) -> Span | None:
    """Eight to fifteen digits after the plus."""
    if not _between(text, start, end, bytes.isdigit):
        return None
    return (start, end) if 8 <= sum(48 <= byte <= 57 for byte in text[start:end]) <= 15 else None


def ip_address(text: bytes, start: int, end: int) -> Span | None:
    while end > start + 2 and text[end - 1 : end] in (b":", b".") and text[end - 2 : end] != b"::":
        end -= 1  # the end of a sentence
    if not _between(text, start, end, lambda neighbour: neighbour.isalnum() or neighbour == b":"):
        return None
    try:
        ipaddress.ip_address(text[start:end].decode("ascii"))
    except ValueError:
        return None
    return start, end
