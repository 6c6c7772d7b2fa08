"""What subjects do and touch, by value, so that two looks at one operation can be compared.

Subjects are compared by identity everywhere else. What they were made of does not count here, nor how often or in which
order they come: only what a policy and a reviewer see of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from data_plane.gate.interface import Subject


def meaning(subjects: Sequence[Subject]) -> bytes:
    """SHA-256 of all that is known of them."""
    return _hashed(
        (
            subject.action,
            subject.actions,
            subject.verbs,
            _resources(subject),
            dict(subject.facts),
            subject.understood,
            subject.problem,
        )
        for subject in subjects
    )


def touched(subjects: Sequence[Subject]) -> bytes:
    """SHA-256 of what they touch and how: equal for operations that differ in their values only."""
    return _hashed((subject.actions, subject.understood, _resources(subject)) for subject in subjects)


def _resources(subject: Subject) -> list[tuple[str, list[str], list[str]]]:
    return sorted((one.kind, sorted(one.candidates), sorted(one.access)) for one in subject.resources)


def _hashed(described: Iterable[object]) -> bytes:
    encoded = sorted({msgspec.json.encode(one, order="deterministic") for one in described})
    return hashlib.sha256(b"\n".join(encoded)).digest()
