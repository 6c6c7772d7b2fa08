"""What an answer of the target means for the session: names and settings that now hold, copies that begin, errors.

`Outcomes.handlers` has one for every message that fits the pipeline's head; it is called before the message is passed
on, and says what the client gets in its place (PASS: the message itself). It believes the target about outcomes only,
never about what was asked for: an answer that the statement cannot have is an error of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import (
    SEVERITY,
    SEVERITY_UNTRANSLATED,
    SQLSTATE,
    decode_notice,
    decode_parameter_description,
    decode_parameter_status,
    decode_ready_for_query,
)
from data_plane.protocols.postgres.core.changes import Changes
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.lane import PlainAnswer, description_in
from data_plane.protocols.postgres.core.names import Meaning, Portal, Prepared
from data_plane.protocols.postgres.core.settings import contradicts_pin
from data_plane.protocols.postgres.core.states import Expected
from data_plane.protocols.postgres.core.units import Concern, Ending, PlainUnit, Unheard, Unit
from data_plane.protocols.postgres.framing import RemoteProtocolError, encode
from data_plane.protocols.postgres.interface import (
    CopyPlan,
    ResultPlan,
    SessionEffect,
    SetsParameter,
)

Kind = TypeVar("Kind")

PASS: Final = None  # the message goes on as it is
_IDLE: Final = m.IDLE
_FAILED: Final = m.FAILED_TRANSACTION
_QUERY: Final = Expected.QUERY
_BY_QUERY: Final = Ending.QUERY
_LAST_WORDS: Final = frozenset({"FATAL", "PANIC"})
# Settings whose values are few, or names that exist: none can be made to hold data of a row.
_TOLD: Final = frozenset(
    {
        "client_encoding", "DateStyle", "default_transaction_read_only", "in_hot_standby", "integer_datetimes",
        "IntervalStyle", "is_superuser", "scram_iterations", "server_encoding", "server_version",
        "session_authorization", "standard_conforming_strings",
    }
)  # fmt: skip
# Those that can be given any text. They are told when it is one that the client wrote itself.
_TOLD_AS_WRITTEN: Final = frozenset({"application_name", "search_path", "TimeZone"})
_MOST_WRITTEN: Final = 100


class PinBrokenError(Exception):
    """The target reports a pinned setting with another value: texts would be read differently from here on."""


class Outcomes:
    """`plan` masks the rows of the Query that is being answered. `dying`: the target said its last words."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.plan: ResultPlan | None = None
        self.copying_in = False
        self.dying = False
        self._failed = False  # something since the last ReadyForQuery
        self.changes = Changes(context)
        self._written: set[tuple[str, str]] = set()  # settings, as statements that succeeded gave them
        self.handlers: Final[Mapping[int, Callable[[bytes, Expected, Unit], bytes | None]]] = {
            m.ParseComplete: self._parsed,
            m.BindComplete: self._bound,
            m.CloseComplete: self._closed,
            m.ParameterDescription: self._parameters_described,
            m.RowDescription: self._rows_described,
            m.NoData: self._nothing_described,
            m.CommandComplete: self._completed,
            m.EmptyQueryResponse: self._emptied,
            m.PortalSuspended: self._suspended,
            m.CopyInResponse: self._copy_in,
            m.CopyOutResponse: self._copy_out,
            m.CopyDone: self._copy_done,
            m.ErrorResponse: self._erred,
            m.ReadyForQuery: self._ready,
        }
        self.own: Final[Mapping[int, Callable[[bytes, Expected, Unit], bytes | None]]] = {
            m.ParseComplete: self._unheard,
            m.BindComplete: self._unheard,
            m.CloseComplete: self._unheard,
            m.CommandComplete: self._own_completed,
            m.ErrorResponse: self._erred,
            m.ReadyForQuery: self._own_ready,
        }
        self.asynchronous: Final[Mapping[int, Callable[[bytes, Unit | None], bytes | None]]] = {
            m.NoticeResponse: self.notice,
            m.ParameterStatus: self.parameter_status,
            m.NotificationResponse: self._notification,
        }

    def masked(self, unit: Unit | None) -> bool:
        """Whether anything may tell masked values: also what an earlier unit left, which was allowed with masks of its
        own. A cursor or portal fails when it is read, a constraint when the transaction ends."""
        return self._context.describes or (unit is not None and bool(unit.masks))

    def _told(self, payload: bytes, unit: Unit | None) -> bytes:
        return self._context.masking.message(payload, masked=self.masked(unit))

    # -------------------------------------------------------------- names

    def _parsed(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        step = unit.step
        self._context.tables.statements[step[2]] = _of(Prepared, step[1])
        return PASS

    def _bound(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        step = unit.step
        portal = _of(Portal, step[1])
        portal.masks, portal.approved = unit.masks, unit.permit is not None
        self._context.tables.portals[step[2]] = portal
        self._context.unsynced = True
        return PASS

    def _closed(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        self._context.tables.close(_of(tuple, unit.step[1]))
        return PASS

    # -------------------------------------------------------------- descriptions

    def _parameters_described(self, payload: bytes, _: Expected, unit: Unit) -> bytes | None:
        _of(Prepared, unit.step[1]).parameter_types = decode_parameter_description(payload)
        return PASS

    def _rows_described(self, payload: bytes, expected: Expected, unit: Unit) -> bytes | None:
        if expected is Expected.QUERY:
            meaning = self._meaning(unit)
            self.plan = self._planned(payload, (), meaning, unit.masks)
            return PASS
        if expected is Expected.DESCRIBED_PARAMETERS:
            return PASS
        _of(Portal, unit.step[1]).description = payload
        return b"" if expected is Expected.INJECTED_DESCRIBE else PASS

    def _planned(
        self, description: bytes | None, formats: Sequence[int], meaning: Meaning, masks: tuple[str, ...]
    ) -> ResultPlan | None:
        """Under the masks of the session, of the verdict, and of what was judged earlier: a cursor or portal."""
        masks = self._context.masks + masks + meaning.masks
        if not masks and not self._context.masking.active:
            return None
        if not description:
            raise RemoteProtocolError("rows without a description cannot be masked")
        return self._context.masking.result(description, formats, meaning.shown, masks)

    def execute_plan(self, unit: Unit) -> ResultPlan | None:
        """For rows that an Execute gives, as the masks are now: not as they were when the portal was described."""
        meaning = _of(Meaning, unit.step[1])
        portal = _of(Portal, meaning.portal)
        return self._planned(portal.description, portal.formats, meaning, unit.masks + portal.masks)

    def _nothing_described(self, _: bytes, expected: Expected, unit: Unit) -> bytes | None:
        if expected is not Expected.DESCRIBED_PARAMETERS:
            _of(Portal, unit.step[1]).description = b""
        return b"" if expected is Expected.INJECTED_DESCRIBE else PASS

    # -------------------------------------------------------------- the ends of statements

    def _meaning(self, unit: Unit) -> Meaning:
        concern = unit.step[1]
        if isinstance(concern, Meaning):
            return concern
        if unit.place >= len(unit.meanings):
            raise RemoteProtocolError("more results than statements")
        return unit.meanings[unit.place]

    def _completed(self, payload: bytes, _: Expected, unit: Unit) -> bytes | None:
        meaning = self._meaning(unit)
        unit.place += 1
        unit.status = payload[:-1].decode("utf-8", "replace")
        self.plan, self.copying_in = None, False
        self._context.unsynced = True
        if meaning.portal or meaning.sources:
            _stand(meaning, unit)
        if meaning.effects:
            self._context.failed = False  # nothing but its end is done in a failed transaction
            text = meaning.portal.prepared.text if meaning.portal else unit.texts[0]
            for effect in meaning.effects:
                self._context.tables.apply(effect, text, unit.ground, unit.masks)
                self._context.settings.apply(effect, unit.status)
                self._note_written(effect)
                self.changes.follow(effect)
        self.changes.done(meaning)
        return PASS

    def plain_answered(self, data: bytes, unit: PlainUnit, found: PlainAnswer) -> bytes:
        """The whole answer to a unit of the fast lane: what each of its messages would do, and what the client gets."""
        shown = self._plain_masked(data, unit, found) if self._context.describes and found.rows else data
        status = data[-1]
        if status == _IDLE:  # no unnamed portal outlives its transaction
            unit.let_go()
            self._context.spare = unit
        elif unit.portal is not None:
            unit.portal.description, unit.portal.masks = description_in(data, unit), unit.masks
            self._context.tables.portals[""] = unit.portal
        self._at_rest(status, unit)
        return shown

    def _plain_masked(self, data: bytes, unit: Unit, found: PlainAnswer) -> bytes:
        meaning = unit.meanings[0]
        formats = meaning.portal.formats if meaning.portal else ()
        plan = self._planned(description_in(data, unit), formats, meaning, unit.masks)
        if plan is None:
            return data
        return data[: found.begin] + plan.mask_rows(data[found.begin : found.end]) + data[found.end :]

    def _emptied(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        concern = unit.step[1]
        if unit.meanings and not (isinstance(concern, Meaning) and concern.statement is None):
            raise RemoteProtocolError("a statement was answered as if it were empty")
        return PASS

    def _suspended(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        _stand(self._meaning(unit), unit)
        unit.status = "suspended"
        return PASS

    # -------------------------------------------------------------- COPY

    def _copy(self, unit: Unit, *, to_client: bool) -> Meaning:
        meaning = self._meaning(unit)
        copy = meaning.shown.copy if meaning.shown else None
        if copy is None or copy.to_client != to_client:
            raise RemoteProtocolError("a COPY began that nobody asked for")
        return meaning

    def _copy_in(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        self._copy(unit, to_client=False)
        self.copying_in = True
        return PASS

    def _copy_out(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        self._copy(unit, to_client=True)
        return PASS

    def copy_plan(self, unit: Unit) -> CopyPlan | None:
        return self._meaning(unit).copy

    def _copy_done(self, _: bytes, __: Expected, unit: Unit) -> bytes | None:
        plan = self._meaning(unit).copy
        if plan is None:
            return PASS
        rest = plan.finish()
        if plan.broken:
            raise RemoteProtocolError("a row of COPY that cannot be masked")
        return (encode(m.CopyData, rest) if rest else b"") + encode(m.CopyDone)

    # -------------------------------------------------------------- errors and the end of a unit

    def erred(self, payload: bytes, unit: Unit | None) -> bytes:
        """What the client gets for an ErrorResponse: ours in place of the one to a poison statement."""
        fields = decode_notice(payload)
        if fields.get(SEVERITY_UNTRANSLATED, fields.get(SEVERITY)) in _LAST_WORDS:
            self.dying = True
        elif unit is not None and unit.error:
            return unit.error
        return encode(m.ErrorResponse, self._told(payload, unit))

    def _erred(self, payload: bytes, _: Expected, unit: Unit) -> bytes | None:
        self.plan, self.copying_in = None, False
        self._failed = unit.failed = True
        error = self.erred(payload, unit)
        unit.status = decode_notice(error[5:]).get(SQLSTATE, "error")
        unit.error = b""
        return b"" if isinstance(unit, Unheard) and not self.dying else error

    def _ready(self, payload: bytes, expected: Expected, unit: Unit) -> bytes | None:
        if expected is _QUERY and unit.place < len(unit.meanings):
            raise RemoteProtocolError("fewer results than statements")
        self._at_rest(decode_ready_for_query(payload), unit)
        return PASS

    def _at_rest(self, status: int, unit: Unit) -> None:
        context = self._context
        context.status = status
        context.failed = status == _FAILED
        context.unsynced = False
        if unit.ending is _BY_QUERY:
            context.tables.query_answered()
        if status == _IDLE:
            context.settings.transaction_ended(keeps=not self._failed)
            if context.tables.portals:
                context.tables.transaction_ended()
            if self.changes.pending:
                self.changes.ended()
        self._failed = False

    # -------------------------------------------------------------- what the client has not said

    def _unheard(self, _: bytes, __: Expected, ___: Unit) -> bytes | None:
        return b""

    def _own_completed(self, payload: bytes, _: Expected, unit: Unit) -> bytes | None:
        unit.status = payload[:-1].decode("utf-8", "replace")
        return b""

    def _own_ready(self, payload: bytes, _: Expected, unit: Unit) -> bytes | None:
        self._at_rest(decode_ready_for_query(payload), unit)
        return b""

    # -------------------------------------------------------------- what comes at any time

    def notice(self, payload: bytes, unit: Unit | None) -> bytes | None:
        masked = self._told(payload, unit)
        return PASS if masked == payload else encode(m.NoticeResponse, masked)

    def _notification(self, payload: bytes, unit: Unit | None) -> bytes | None:
        """Whoever sent it may have put anything into it: with masks only the channel is told."""
        if not self.masked(unit):
            return PASS
        end = payload.find(0, 4)
        return encode(m.NotificationResponse, payload[: end + 1] + bytes(1)) if end > 0 else b""

    def _note_written(self, effect: SessionEffect) -> None:
        if isinstance(effect, SetsParameter) and effect.value is not None and len(self._written) < _MOST_WRITTEN:
            self._written.add((effect.name, effect.value.casefold()))

    def parameter_status(self, payload: bytes, unit: Unit | None) -> bytes | None:
        """Where results are masked, a setting may not tell what they do not. Raises PinBrokenError."""
        name, value = decode_parameter_status(payload)
        if contradicts_pin(name, value):
            raise PinBrokenError(f"the target changed {name}")
        self._context.settings.reported(name, value)
        if name in _TOLD or not self.masked(unit):
            return PASS
        as_written = self._context.settings.is_initial(name, value) or (name.lower(), value.casefold()) in self._written
        return PASS if name in _TOLD_AS_WRITTEN and as_written else b""


def _stand(meaning: Meaning, unit: Unit) -> None:
    """What went on was judged on the ground of this unit, and need not be again while that holds."""
    for portal in (meaning.portal, *meaning.sources) if meaning.sources else (meaning.portal,):
        if isinstance(portal, Portal):
            portal.ground = unit.ground


def _of(kind: type[Kind], concern: Concern) -> Kind:
    if not isinstance(concern, kind):
        raise TypeError(f"a step about {type(concern).__name__} instead of {kind.__name__}")
    return concern
