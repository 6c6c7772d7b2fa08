"""Detectors: values that are recognised by what they look like, in bytes, wherever they come from.

Each detector has a *loose* pattern (cheap, never misses, looks at no neighbours), a *strict* pattern and a check of
what matched (check digits, neighbours). One alternation of the loose patterns is run over a whole batch of rows; only
where it hits are single fields looked at. Patterns are google-re2's, linear in time, and work on bytes as they are, so
a value that is not valid UTF-8 is looked at like any other.

Detectors do not promise: a value that is split over columns, encoded, spelled in words or computed from passes them. A
column that is known to hold something belongs into a mask's `columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec
import re2

from data_plane.masking import findings, strategies
from data_plane.masking.findings import Span
from data_plane.masking.marks import Marks
from data_plane.policy.model import DetectorMask, DetectorName, Strategy


class Detector(msgspec.Struct, frozen=True):
    loose: bytes
    strict: bytes
    accept: Callable[[bytes, int, int], Span | None] = findings.whole


_KEYS: Final = (
    rb"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z2-7]{16}\b"
    rb"|(?i:secret_?(?:access_?)?key)[^A-Za-z0-9/+]{1,8}[A-Za-z0-9/+]{40}"
    rb"|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,}"
    rb"|gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{22,}|glpat-[0-9A-Za-z_-]{20,}"
    rb"|xox[a-z]-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{10,}|hooks\.slack\.com/services/[0-9A-Za-z/]{20,}"
    rb"|[srp]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[0-9A-Za-z]{24,}|SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}"
    rb"|npm_[0-9A-Za-z]{36}|pypi-[0-9A-Za-z_-]{50,}|dop_v1_[0-9a-f]{64}|hf_[0-9A-Za-z]{30,}"
    rb"|sk-(?:ant-|proj-)?[0-9A-Za-z_-]{20,}|AccountKey=[0-9A-Za-z/+=]{40,}"
)
_LOOSE_KEYS: Final = (
    rb"A[KSRIBC][IDOC]A[A-Z2-7]{16}|(?i:secret_?(?:access_?)?key)[^A-Za-z0-9/+]{1,8}[A-Za-z0-9/+]{40}|AIza[0-9A-Za-z_-]{35}"
    rb"|ya29\.|GOCSPX-|gh[pousr]_[0-9A-Za-z]{36}|github_pat_|glpat-|xox[a-z]-|xapp-|hooks\.slack\.com/"
    rb"|[srp]k_(?:live|test)_|whsec_|SG\.[0-9A-Za-z_-]{16}|npm_[0-9A-Za-z]{36}|pypi-[0-9A-Za-z_-]{50}|dop_v1_|hf_[0-9A-Za-z]{30}"
    rb"|sk-[0-9A-Za-z_-]{20}|AccountKey="
)
_NATIONAL: Final = (
    rb"[0-9]{3}-[0-9]{2}-[0-9]{4}"
    rb"|[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"
    rb"|[123478] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"
    rb"|[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]"
    rb"|[0-9]{6}[-+][0-9]{4}"
    rb"|[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}|[0-9]{11}|[XYZ0-9][0-9]{7}-?[A-Z]|[0-9]{9}"
)
_LOOSE_NATIONAL: Final = (
    rb"[0-9]{3}-[0-9]{2}-[0-9]|[0-9]{6}[-+][0-9]|[0-9]{9}|[0-9]{7}-?[A-Z]|[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"
    rb"|[0-9] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3}|[0-9]{2} [0-9]{3} [0-9]{3}|[A-Z]{6}[0-9L-NP-V]{2}[A-Z]"
)
_V6: Final = rb"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|[0-9A-Fa-f:]{0,40}::[0-9A-Fa-f:]{0,40}(?:[0-9]*\.[0-9.]+)?"
_PEM: Final = rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

DETECTORS: Final[dict[DetectorName, Detector]] = {
    "email": Detector(
        rb"[^\x00-\x20@]@[0-9A-Za-z\x80-\xff]",
        rb"[0-9A-Za-z.!#$%&*+/=?^_{|}~'\x80-\xff-]{1,128}@[0-9A-Za-z\x80-\xff](?:[0-9A-Za-z.\x80-\xff-]{0,250}[A-Za-z\x80-\xff])?"
        rb"\.[A-Za-z\x80-\xff][0-9A-Za-z\x80-\xff-]{1,62}",
    ),
    "card": Detector(rb"[0-9](?:[ -]?[0-9]){12}", rb"[0-9](?:[ -]?[0-9]){12,18}", findings.card),
    "iban": Detector(
        rb"[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){4}",
        rb"[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){11,30}",
        findings.iban,
    ),
    "national-id": Detector(_LOOSE_NATIONAL, _NATIONAL, findings.national_id),
    "jwt": Detector(rb"eyJ[0-9A-Za-z_-]{8}", rb"eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{2,}(?:\.[0-9A-Za-z_-]*){1,3}"),
    "cloud-key": Detector(_LOOSE_KEYS, _KEYS),
    "private-key": Detector(
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE|PuTTY-User-Key-File",
        rb"(?s:" + _PEM + rb".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)|PuTTY-User-Key-File.*\z)",
    ),
    "phone": Detector(rb"\+[1-9](?:[ .()/-]{0,2}[0-9]){3}", rb"\+[1-9](?:[ .()/-]{0,2}[0-9]){7,14}", findings.phone),
    "ip": Detector(
        rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]::|::[0-9A-Fa-f]|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]",
        rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|" + _V6,
        findings.ip_address,
    ),
}


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 64 << 20  # so that the automaton of all detectors together fits
    return options


def _compile(pattern: bytes) -> re2._Regexp:
    return re2.compile(pattern, _options())


class Detectors:
    """The detectors of one set of masks, with the strategy of each."""

    def __init__(self, wanted: Iterable[DetectorMask], keyed: Marks) -> None:
        chosen: dict[DetectorName, Strategy] = {}
        for mask in wanted:
            chosen[mask.detect] = strategies.strongest([mask.strategy, chosen.get(mask.detect, mask.strategy)])
        self.names = frozenset(chosen)
        self._loose = _compile(b"|".join(DETECTORS[name].loose for name in chosen))
        self._which = re2.Set.SearchSet(_options())
        for name in chosen:
            self._which.Add(DETECTORS[name].loose)
        self._which.Compile()
        self._strict = [
            (_compile(DETECTORS[name].strict), DETECTORS[name].accept, strategy) for name, strategy in chosen.items()
        ]
        self._replacements = {strategy: strategies.of_text(strategy, keyed) for strategy in chosen.values()}

    def suspects(self, batch: bytes) -> Iterator[tuple[int, int]]:
        """Where in a batch something may be: at least one span touches each value that `mask` would change."""
        return (match.span() for match in self._loose.finditer(batch))

    def suspicious(self, batch: bytes) -> bool:
        return self._loose.search(batch) is not None

    def mask(self, value: bytes) -> bytes | None:
        """`value` itself when nothing is found in it; None when it has to be NULL."""
        found = [
            (start, end, strategy)
            for pattern, accept, strategy in map(self._strict.__getitem__, self._which.Match(value) or ())
            for start, end in findings.find(pattern, accept, value)
        ]
        return self._replace(value, findings.merged(found)) if found else value

    def _replace(self, value: bytes, found: Sequence[tuple[int, int, Strategy]]) -> bytes | None:
        pieces, at = [], 0
        for start, end, strategy in found:
            replaced = strategies.apply(self._replacements[strategy], value[start:end])
            if replaced is None:
                return None
            pieces += [value[at:start], replaced]
            at = end
        return b"".join([*pieces, value[at:]])
