"""What a token says against what a trust wants of it. Pure: claims in, why not out; empty means that it matches.

The reasons are for the audit log. Nothing here is believed before the token's signature was verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import re2

from control_plane.workloads.documents import WorkloadTrustSpec

SKEW_SECONDS: Final = 60
_LONGEST_TIME: Final = 1 << 40
Claims = Mapping[str, Any]
Found = tuple[str, ...]


def time_problem(claims: Claims, now: datetime) -> str:
    """RFC 7519 §4.1.4 to 4.1.6: it must end, and clocks may differ by a minute."""
    at = now.timestamp()
    ends, begins, issued = (_instant(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is None:
        return "it says not when it ends (exp)"
    if at >= ends + SKEW_SECONDS:
        return f"it has expired {int(at - ends)} s ago"
    if begins is not None and at < begins - SKEW_SECONDS:
        return f"it is not valid yet, for {int(begins - at)} s"
    if issued is not None and at < issued - SKEW_SECONDS:
        return "it was issued in the future"
    wrong = [name for name in ("nbf", "iat") if name in claims and _instant(claims, name) is None]
    return f"its {wrong[0]} is no time" if wrong else ""


def ends_at(claims: Claims) -> float:
    """Unix seconds, of claims without a time_problem."""
    return _instant(claims, "exp") or 0.0


def audience_problem(claims: Claims, audience: str) -> str:
    """For exactly this audience: what is for several could be shown here by another of them."""
    told = claims.get("aud")
    audiences = [told] if isinstance(told, str) else told
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        return "it says not whom it is for (aud)"
    if audience not in audiences:
        return f"it is for {_listed(audiences)}, not for {audience!r}"
    return "" if set(audiences) == {audience} else f"it is for others too: {_listed(audiences)}"


def mismatch(spec: WorkloadTrustSpec, claims: Claims) -> str:
    """Why a token of the right issuer is not what the trust means."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return "it says not whose it is (sub)"
    if spec.subject and subject != spec.subject:
        return f"the subject is {subject!r}"
    if spec.subject_pattern and not matches(spec.subject_pattern, subject):
        return f"the subject {subject!r} does not match"
    for path, wanted in sorted(spec.claims.items()):
        if wanted not in (found := values(claims, path)):
            return f"{path} is {_listed(found)}"
    for path, pattern in sorted(spec.claim_patterns.items()):
        found = values(claims, path)
        if not any(matches(pattern, one) for one in found):
            return f"{path} is {_listed(found)}, which does not match"
    return ""


def matches(pattern: str, text: str) -> bool:
    """The whole text, in linear time."""
    return compiled(pattern).fullmatch(text) is not None


def compiled(pattern: str) -> re2._Regexp:
    """Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


def values(claims: Claims, path: str) -> Found:
    """What stands there as texts: of a list each, of numbers and booleans as JSON writes them; else nothing.

    A name is taken whole before a dot leads on, so `kubernetes.io.namespace` finds what Kubernetes calls its claims."""
    if path in claims:
        found = claims[path]
        return tuple(text for one in (found if isinstance(found, list) else [found]) for text in _text(one))
    for index, char in enumerate(path):
        inner = claims.get(path[:index]) if char == "." else None
        if isinstance(inner, dict) and (found_inside := values(inner, path[index + 1 :])):
            return found_inside
    return ()


def told(claims: Claims, paths: tuple[str, ...]) -> dict[str, str]:
    """For people: what of this the token says, cut to what fits."""
    found = {path.rpartition("kubernetes.io.")[2]: values(claims, path) for path in paths}
    return {path: ", ".join(texts)[:200] for path, texts in found.items() if texts}


def _text(value: object) -> Found:
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (str(value),) if isinstance(value, str | int) else ()


def _instant(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LONGEST_TIME:
        return None
    return float(value)


def _listed(texts: Any) -> str:
    return ", ".join(repr(one) for one in texts)[:300] or "not told"
