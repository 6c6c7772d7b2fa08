"""The right to send bytes to a target, and the verdict that gives it. Made by `gate/` only (tests/architecture).

A module of its own because it is compiled: both are made for every statement. See `interface`, which has the other
verdicts and by whose name all are imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from data_plane.gate.interface import Decision


@final
class Permit:
    """The right to send exactly `raw` to the session's target, once."""

    __slots__ = ("decision", "most_rows", "raw")

    def __init__(self, raw: bytes, decision: Decision, most_rows: int | None = None) -> None:
        """`most_rows`: a row guard. The protocol undoes the operation when it touches more; None: there is none."""
        self.raw = raw
        self.decision = decision
        self.most_rows = most_rows


@final
class Allowed:
    """The verdict that lets an operation pass. `masks`: of the rule that allowed it."""

    __slots__ = ("masks", "permit")

    def __init__(self, permit: Permit, masks: tuple[str, ...] = ()) -> None:
        self.permit = permit
        self.masks = masks
