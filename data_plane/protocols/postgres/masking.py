"""The masking of one session: what `core` asks for results, COPY, error texts and what the client sends.

Masks come as names: those of the session (from rules that only mask) and those of the operation (from the rule that
allowed it). What a name means is looked up in the current snapshot each time, so that a change of a mask holds from the
next result on. A name that the snapshot does not have masks everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from data_plane.masking import marks
from data_plane.masking.detectors import Detectors
from data_plane.masking.marks import Marks
from data_plane.policy.in_force import InForce
from data_plane.policy.model import MaskSpec
from data_plane.protocols.postgres import columns, copy_rows, error_text, laundering
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.columns import SetOfMasks
from data_plane.protocols.postgres.interface import CopyPlan, CopyRefused, Masking, ResultPlan, Statement
from data_plane.protocols.postgres.rows import WithheldRows

_REMEMBERED: Final = 256

_Key = tuple[bytes, tuple[int, ...], Statement | None, tuple[str, ...]]


class SessionMasking(Masking):
    """`active` says whether the session has masks of its own; results of operations
    that carry masks are asked for in any case."""

    def __init__(self, catalogue: Catalogue, in_force: InForce, masks: tuple[str, ...], key: bytes) -> None:
        self.active = bool(masks)
        self._catalogue = catalogue
        self._in_force = in_force
        self._masks = masks
        self._keyed = Marks(key)
        self._defined: Mapping[str, MaskSpec] = {}
        self._epoch = -1
        self._sets: dict[tuple[str, ...], SetOfMasks] = {}
        self._plans: dict[_Key, ResultPlan | None] = {}
        self._last: _Key | None = None
        self._last_plan: ResultPlan | None = None
        self._hidden: frozenset[str] = frozenset()
        self._altered = False
        if self.active:
            self._forget_what_changed()
            self._set(())
        else:
            self._follow()

    def result(
        self, description: bytes, formats: Sequence[int], statement: Statement | None, masks: tuple[str, ...]
    ) -> ResultPlan | None:
        if not masks and not self._masks:
            return None
        self._forget_what_changed()
        last = self._last
        if (
            last is None or statement is not last[2] or masks != last[3]
            or description != last[0] or (formats is not last[1] and tuple(formats) != last[1])
        ):  # fmt: skip  # one by one, before a key is made and hashed
            key = (description, tuple(formats), statement, masks)
            self._last_plan, self._last = self._found(key), key  # neither, when that fails
        return self._last_plan

    def _found(self, key: _Key) -> ResultPlan | None:
        if key in self._plans:
            return self._plans[key]
        if len(self._plans) >= _REMEMBERED:
            self._plans.clear()
        plan = self._plans[key] = self._plan(*key)
        return plan

    def copy(self, statement: Statement, masks: tuple[str, ...]) -> CopyPlan | CopyRefused | None:
        if not masks and not self._masks:
            return None
        self._forget_what_changed()
        return copy_rows.plan(statement, self._set(masks), self._catalogue, self._keyed)

    def launders(self, statement: Statement, masks: tuple[str, ...]) -> bool:
        if statement.stores is None or not (masks or self._masks):
            return False
        self._forget_what_changed()
        return laundering.launders(statement, self._set(masks))

    def hidden(self, names: frozenset[str]) -> None:
        if not names <= self._hidden:
            self._hidden |= names
            self._forget()

    def in_doubt(self, *, altered: bool) -> None:
        if altered is not self._altered:
            self._altered = altered
            self._forget()

    def message(self, payload: bytes, *, masked: bool) -> bytes:
        if not masked and not self._masks:
            return payload
        return error_text.without_values(payload, self._catalogue.is_name)

    def carries_mark(self, data: bytes) -> bool:
        return marks.carries_mark(data)

    def _forget(self) -> None:
        self._sets = {}
        self._plans = {}
        self._last = None

    def _follow(self) -> None:
        """All masks: any may come with an operation."""
        masks = self._in_force.masks.values()
        self._catalogue.follow(dict.fromkeys(column for mask in masks for column in mask.columns))

    def _forget_what_changed(self) -> None:
        defined = self._in_force.masks
        if defined is not self._defined:
            self._follow()
        if defined is not self._defined or self._epoch != self._catalogue.epoch:
            self._defined = defined
            self._epoch = self._catalogue.epoch
            self._forget()

    def _plan(
        self, description: bytes, formats: Sequence[int], statement: Statement | None, masks: tuple[str, ...]
    ) -> ResultPlan | None:
        try:
            described = columns.decode(description, formats)
        except ValueError:
            return WithheldRows()
        return columns.plan(described, statement, self._set(masks), self._catalogue, self._keyed)

    def _set(self, masks: tuple[str, ...]) -> SetOfMasks:
        compiled = self._sets.get(masks)
        if compiled is None:
            compiled = self._sets[masks] = self._compiled({*self._masks, *masks})
        return compiled

    def _compiled(self, names: set[str]) -> SetOfMasks:
        specs = [self._defined[name] for name in sorted(names) if name in self._defined]
        detectors = [detector for spec in specs for detector in spec.detectors]
        return SetOfMasks(
            protection=self._catalogue.protection(tuple(column for spec in specs for column in spec.columns)),
            detectors=Detectors(detectors, self._keyed) if detectors else None,
            everything=len(specs) < len(names) or self._altered or self._catalogue.doubtful,
            hidden=self._hidden,
        )
