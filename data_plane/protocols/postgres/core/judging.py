"""Asks the gate about units, and describes a held one in full to the people who decide.

Any exception on the way to a verdict is a denial. What the core refuses by itself (a malformed unit, a masked value
that comes back, a name that nobody made) is recorded and audited as a denial too, without asking the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from data_plane.gate.interface import Allowed, Denied, Gate, Held, Operation, SessionFacts, Verdict
from data_plane.identifiers import OperationId
from data_plane.protocols.postgres.core import asking, drift, guarding, refusals
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.names import Portal, Prepared, PreparedAmongOthers
from data_plane.protocols.postgres.core.refusals import Refusal
from data_plane.protocols.postgres.core.units import PlainUnit, Unit
from data_plane.protocols.postgres.interface import ChangesNames, CopyRefused, CreatesTemporary, RenamesRelation
from data_plane.recording.interface import Recorder, RecordingError

PROTOCOL = "postgres"
_OWN_RULE = ("builtin/protocol",)


class Judge:
    def __init__(
        self, facts: SessionFacts, gate: Gate, recorder: Recorder, context: Context,
        new_operation_id: Callable[[], OperationId],
    ) -> None:  # fmt: skip
        self._facts = facts
        self._gate = gate
        self._recorder = recorder
        self._context = context
        self._new_operation_id = new_operation_id
        self._operations = 0

    def judge(self, unit: Unit) -> Verdict | Refusal:
        """Numbers the unit and records it first: what was asked is known before it is decided."""
        self._operations += 1
        unit.number = self._operations
        parameters: Sequence[tuple[str, str, str]] = ()
        if unit.parameters:
            parameters = [(parameter.name, parameter.type, parameter.value) for parameter in unit.parameters]
        self._recorder.input(unit.number, unit.text, parameters)
        return self.judge_again(unit, unit.number)

    def judge_plain(self, unit: PlainUnit) -> Verdict | Refusal:
        """The same for a unit of the fast lane, in which there is nothing for the core to refuse."""
        self._operations += 1
        unit.number = self._operations
        self._recorder.asked(unit.number, unit.told, unit.bind, unit.types)
        try:
            return self._gate.judge(unit.number, unit.subjects, unit.raw)
        except RecordingError:
            raise
        except Exception:  # noqa: BLE001  # as below
            return self.refused(unit, refusals.NOT_JUDGED)

    def planned_after(self, unit: Unit, number: int, verdict: Verdict | Refusal) -> Verdict | Refusal:
        """The verdict on a unit of the fast lane, which has been planned in full since, with all that the core sees."""
        unit.number = number
        if unit.refusal is not None:
            return self.refused(unit, unit.refusal)
        try:
            launders = isinstance(verdict, Allowed) and self._launders(unit, verdict.masks)
        except Exception:  # noqa: BLE001  # as below
            return self.refused(unit, refusals.NOT_JUDGED)
        return self.refused(unit, refusals.LAUNDERED) if launders else verdict

    def judge_again(self, unit: Unit, number: int) -> Verdict | Refusal:
        """The same operation, once more: it was planned anew because of the first verdict's masks."""
        unit.number = number
        if unit.barrier:
            self._hide(unit)
        refusal = unit.refusal or self._copies_refused(unit)
        if refusal is not None:
            return self.refused(unit, refusal)
        try:
            verdict = self._gate.judge(unit.number, unit.subjects, unit.raw)
            if isinstance(verdict, Held) and unit.gentle:
                verdict = self._gate.judge(unit.number, unit.gentle, unit.raw)
            if isinstance(verdict, Allowed) and self._launders(unit, verdict.masks):
                return self.refused(unit, refusals.LAUNDERED)
        except RecordingError:
            raise
        except Exception:  # noqa: BLE001  # whatever goes wrong on the way to a verdict is a denial
            return self.refused(unit, refusals.NOT_JUDGED)
        return verdict

    def _launders(self, unit: Unit, masks: tuple[str, ...]) -> bool:
        """Whether it stores masked values elsewhere. Policy alone does not allow that, only people do."""
        if not masks and not self._context.masked:
            return False
        masks, altered = self._context.masks + masks, False
        for meaning in unit.meanings:
            if meaning.portal is None or not meaning.portal.approved:
                for statement in (meaning.statement, *meaning.named):
                    if statement is None or statement.stores is None:
                        continue
                    if altered or self._context.masking.launders(statement, masks):
                        return True
            altered = altered or any(isinstance(effect, ChangesNames) for effect in meaning.effects)
        return False

    def _hide(self, unit: Unit) -> None:
        """Tells the masking which names may be temporary relations, before anything of the unit runs."""
        made = [effect for meaning in unit.meanings for effect in meaning.effects]
        names = {effect.relation for effect in made if isinstance(effect, CreatesTemporary)}
        known = names | self._context.settings.path.temporary
        names |= {effect.to for effect in made if isinstance(effect, RenamesRelation) and effect.relation in known}
        if names:
            self._context.masking.hidden(frozenset(names))

    def refused(self, unit: Unit, refusal: Refusal) -> Refusal:
        """Audits what the core refuses by itself."""
        action = unit.subjects[0].action if unit.subjects else "unknown"
        self._recorder.decided(unit.number, "deny", action, _OWN_RULE, refusal.code, refusal.message)
        return refusal

    def moved(self, unit: Unit) -> Refusal | None:
        """Of a unit that people approved, when it is about to be sent: why it is not what they were shown any more."""
        try:
            return refusals.MOVED if drift.drifted(unit, self._context) else None
        except Exception:  # noqa: BLE001  # as above
            return refusals.MOVED

    def _copies_refused(self, unit: Unit) -> Refusal | None:
        return self.plan_copies(unit, self._context.masks) if self._context.masked else None

    def plan_copies(self, unit: Unit, masks: tuple[str, ...]) -> Refusal | None:
        """How the results of COPY TO STDOUT in the unit are masked; a Refusal when they cannot be."""
        self._context.describes = True  # there are masks: from here on rows need their descriptions
        for meaning in unit.meanings:
            statement = meaning.shown
            if statement is None or statement.copy is None or not statement.copy.to_client:
                continue
            plan = self._context.masking.copy(statement, masks)
            if isinstance(plan, CopyRefused):
                return Refusal("42501", plan.message, plan.hint)
            meaning.copy = plan
        return None

    def unfit(self, unit: Unit, verdict: Allowed) -> Refusal | None:
        """Why what is allowed cannot run. The masks of its decision apply to it, besides those of the session."""
        if verdict.permit.raw != unit.raw:
            return refusals.NOT_JUDGED
        if not verdict.masks:
            return None
        unit.masks = verdict.masks
        return self.plan_copies(unit, self._context.masks + verdict.masks)

    def operation(self, unit: Unit) -> Operation:
        """Everything that would execute, complete, under the state in which it would."""
        shape, shape_text = asking.shape_of(unit, self._context, PROTOCOL, self._facts.target.name)
        return Operation(
            id=self._new_operation_id(),
            number=unit.number,
            session=self._facts.id,
            protocol=PROTOCOL,
            target=self._facts.target.name,
            subjects=tuple(unit.subjects),
            text=unit.text,
            parts=(*unit.texts, *_queries(unit), unit.raw),
            state=self._context.settings.digest_state(),
            parameters=tuple(unit.parameters),
            in_transaction=self._context.in_transaction,
            shape=shape,
            shape_text=shape_text,
            reason=asking.reason_of(unit, self._context.settings),
            guardable=not guarding.problem(unit, self._context),
        )


def _queries(unit: Unit) -> Sequence[bytes]:
    """The whole Queries of which single statements, prepared or declared by name, are among the texts of the unit."""
    named: list[Prepared | Portal] = [step[1] for step in unit.steps if isinstance(step[1], Portal)]
    named += [meaning.portal for meaning in unit.meanings if meaning.portal is not None]
    for meaning in unit.meanings:
        named += meaning.sources
    for portal in [source for source in named if isinstance(source, Portal)]:
        named += [portal.prepared, *portal.sources]
    queries = [source.query for source in named if isinstance(source, PreparedAmongOthers)]
    return tuple(dict.fromkeys(query for query in queries if query not in unit.texts))


def refusal_of(verdict: Denied | Refusal) -> Refusal:
    return refusals.from_verdict(verdict) if isinstance(verdict, Denied) else verdict
