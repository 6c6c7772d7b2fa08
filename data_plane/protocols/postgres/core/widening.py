"""A wider account for one operation that people approved, where the session's own account may not do it.

The account is widened and narrowed by whoever drives the core. Before it is known to be wider no byte of the operation
is sent, and while it is, nothing else of the session is: the client is not heard from the permit until what was given
has been taken back. When that fails the session ends, and its account with it.

The target's session believes in the memberships that it has read, and within a transaction it need not read them again.
So it is made to look: before the operation where a transaction is open, and behind it always. There it must also say
that its role is what it was: one that was taken on with the wider right would outlive it. In a transaction that has
failed it can be made to say nothing; until that has ended, or gone back to a savepoint, one statement at a time may
run, and the target's session is looked at before the next.

What was planned for a role with more memberships is kept for prepared statements and functions with the row security of
then, and PostgreSQL plans nothing anew because a membership ended. So its session also forgets its plans.

What could run more of itself later in the same transaction, before the target's session is asked, is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from data_plane.gate.interface import Action, Allowed, Denied
from data_plane.policy import reach
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core import refusals
from data_plane.protocols.postgres.core.accounts import Accounts
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.judging import Judge
from data_plane.protocols.postgres.core.ports import Output
from data_plane.protocols.postgres.core.refusals import Refusal
from data_plane.protocols.postgres.core.states import Expected, Phase
from data_plane.protocols.postgres.core.units import Ending, Pipeline, Unheard, Unit
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.protocols.postgres.interface import SetsParameter

_NAME: Final = "assentry_account"
FORGET: Final = "DISCARD PLANS"
_ROLES: Final = frozenset({"role", "session_authorization"})
_OPENS: Final = "lo_open"  # PostgreSQL asks for the right here, and not when it is written to
_MOST_TRIES: Final = 3  # a request to cancel the operation may reach the target when it is asked


class Stage(enum.Enum):
    AS_MADE = "the account is what it was made as"
    ASKED = "it is being widened"
    SHOWN = "the target's session is asked to look at it"
    RUNNING = "the operation runs, or what stands in its place"
    RETURNED = "what was given is being taken back"
    CHECKED = "the target's session is asked to look at that"
    UNSEEN = "it is taken back, and a failed transaction cannot be asked to look"
    MENDING = "a statement runs that may end that transaction"


MOVES: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.AS_MADE: frozenset({Stage.ASKED}),
    Stage.ASKED: frozenset({Stage.SHOWN, Stage.RUNNING, Stage.AS_MADE, Stage.UNSEEN}),
    Stage.SHOWN: frozenset({Stage.RUNNING}),
    Stage.RUNNING: frozenset({Stage.RETURNED}),
    Stage.RETURNED: frozenset({Stage.CHECKED, Stage.UNSEEN}),
    Stage.CHECKED: frozenset({Stage.CHECKED, Stage.UNSEEN, Stage.AS_MADE}),
    Stage.UNSEEN: frozenset({Stage.MENDING, Stage.ASKED}),
    Stage.MENDING: frozenset({Stage.CHECKED, Stage.UNSEEN}),
}

_PHASES: Final[Mapping[Stage, Phase]] = {
    Stage.AS_MADE: Phase.READY,
    Stage.UNSEEN: Phase.READY,
    Stage.ASKED: Phase.WIDENING,
    Stage.SHOWN: Phase.WIDENING,
}


def needs(unit: Unit) -> frozenset[str]:
    """What the account must be able to do for it. What is temporary it makes for itself, and keeps."""
    return reach.needed(
        action
        for subject in unit.subjects
        for action in subject.actions
        if action is not Action.DDL or subject.facts.get("temporary") is not True
    )


def problem(unit: Unit) -> str:
    """Why this unit cannot be given a wider account; empty: it can."""
    if unit.ending is Ending.FLUSH:
        return "it ends with Flush: send a simple query, or Sync in place of Flush"
    for meaning in unit.meanings:
        copy = meaning.shown.copy if meaning.shown is not None else None
        if unit.ending is Ending.SYNC and copy is not None and not copy.to_client:
            return "COPY FROM STDIN must be sent as a simple query"
        if any(isinstance(effect, SetsParameter) and effect.name in _ROLES for effect in meaning.effects):
            return "a role that only this operation may use cannot be kept"
    if any(name.rpartition(".")[2] == _OPENS for name in _functions(unit)):
        return "a large object that only this operation may use cannot be kept open: use lo_put and lo_get"
    return ""


def _functions(unit: Unit) -> Iterator[str]:
    for subject in unit.subjects:
        for resource in subject.resources:
            if resource.kind == "function":
                yield from resource.candidates


class Widening:
    """Of one session's account. `run`, `refuse`, `enter` and `end` are the session's."""

    def __init__(
        self, context: Context, pipeline: Pipeline, accounts: Accounts, judge: Judge, output: Output,
        run: Callable[[Unit, Allowed], None], refuse: Callable[[Unit, Refusal], None],
        enter: Callable[[Phase], None], end: Callable[[str, bytes], None],
    ) -> None:  # fmt: skip
        self.stage = Stage.AS_MADE
        self.unseen = False  # the stage is UNSEEN
        self._context = context
        self._pipeline = pipeline
        self._accounts = accounts
        self._judge = judge
        self._output = output
        self._run = run
        self._refuse = refuse
        self._enter_phase = enter
        self._end = end
        self._unit: Unit | None = None  # that the account is widened for, until it is sent or refused
        self._verdict: Allowed | None = None
        self._cancelled = False
        self._own: tuple[Unit, ...] = ()  # those that were sent last of our own
        self._tries = 0

    # -------------------------------------------------------------- what the session asks

    @property
    def resting(self) -> Phase:
        """What a session does with the client that is neither held nor sends data."""
        return _PHASES.get(self.stage, Phase.WIDENED)

    def hopeless(self, unit: Unit) -> Refusal | None:
        """Why people are not asked about a unit that policy holds."""
        why = problem(unit)
        return refusals.not_widenable(why) if why and self._output.lacks(needs(unit)) else None

    def mends(self, unit: Unit) -> Refusal | None:
        """A unit is about to be sent in a failed transaction that could not be asked to look."""
        if len(unit.meanings) > 1 or unit.ending is Ending.FLUSH:  # without Sync nothing of our own can be asked
            return refusals.NOT_ALONE
        self._enter(Stage.MENDING)
        return None

    def cancel(self) -> bool:
        """False: something of the client's may run. True: it will not be sent, if it has not been."""
        if self.stage not in (Stage.ASKED, Stage.SHOWN):
            return self.stage in (Stage.RETURNED, Stage.CHECKED)
        self._cancelled = True
        return True

    def left(self, units: Iterable[Unit]) -> Iterable[Unit]:
        """What is unanswered when the session ends now: with the operation, when it has not been sent."""
        unit, units = self._unit, tuple(units)
        return units if unit is None or unit in units else (unit, *units)

    # -------------------------------------------------------------- before the operation

    def decided(self, unit: Unit, verdict: Allowed | Denied) -> None:
        """By people. Of nothing that policy allows is it asked whether the account is wide enough."""
        if isinstance(verdict, Denied):
            self._refuse(unit, refusals.from_verdict(verdict))
            return
        unit.permit = verdict.permit
        if (moved := self._judge.moved(unit)) is not None:
            self._give_up(unit, moved)
        elif self._output.lacks(needs(unit)):
            self._begin(unit, verdict)
        else:
            self._run(unit, verdict)

    def changed(self, problem_: str) -> None:
        """The driver has done what it was asked for, or could not."""
        if self.stage is Stage.RETURNED:
            self._narrowed(problem_)
        else:
            self._widened(problem_)

    def _begin(self, unit: Unit, verdict: Allowed) -> None:
        if why := problem(unit):
            self._give_up(unit, refusals.not_widenable(why))
            return
        self._enter(Stage.ASKED)
        self._unit, self._verdict, self._cancelled, self._own = unit, verdict, False, ()
        self._output.widen(needs(unit))

    def _widened(self, problem_: str) -> None:
        """Without a problem the account is wider; else nothing was given."""
        if self.stage is not Stage.ASKED or (unit := self._unit) is None:
            raise RemoteProtocolError("the account was widened for nothing")
        if problem_:
            self._unit = None
            failed = self._context.status == m.FAILED_TRANSACTION
            self._enter(Stage.UNSEEN if failed else Stage.AS_MADE)
            self._give_up(unit, refusals.CANCELLED if self._cancelled else refusals.not_widened(), problem_)
        elif self._context.status == m.IN_TRANSACTION:
            self._ask(Stage.SHOWN)
        else:
            self._operate()

    def _operate(self) -> None:
        """What people approved is sent, if nothing has changed while it waited; or what stands in its place."""
        self._enter(Stage.RUNNING)
        unit, verdict, self._unit = self._unit, self._verdict, None
        if unit is None or verdict is None:
            raise RemoteProtocolError("the account was widened for nothing")
        if (refusal := self._objection(unit, verdict)) is None:
            self._run(unit, verdict)
        else:
            self._give_up(unit, refusal)

    def _objection(self, unit: Unit, verdict: Allowed) -> Refusal | None:
        if self._cancelled:
            return refusals.CANCELLED
        if self._own_failed:
            return refusals.not_widened("the target did not look at what was given")
        denied = self._accounts.stands(verdict.permit)
        return self._judge.moved(unit) if denied is None else refusals.from_verdict(denied)

    def _give_up(self, unit: Unit, refusal: Refusal, why: str = "") -> None:
        self._accounts.not_run(unit, why or refusal.message)
        self._refuse(unit, self._judge.refused(unit, refusal))

    # -------------------------------------------------------------- behind it

    def follow(self) -> None:
        """Everything that was sent is answered."""
        if self.stage is Stage.SHOWN:
            self._operate()
        elif self.stage is Stage.RUNNING:
            self._enter(Stage.RETURNED)
            self._output.narrow()
        elif self.stage is Stage.MENDING:
            self._check()
        elif self.stage is Stage.CHECKED:
            self._checked()

    def _narrowed(self, problem_: str) -> None:
        if problem_:
            self._end("account-kept", refusals.fatal("57P01", "the session's account could not be made narrow again"))
        else:
            self._check()

    def _check(self) -> None:
        self._tries = 0
        if self._context.status == m.FAILED_TRANSACTION:
            self._enter(Stage.UNSEEN)
        else:
            self._ask(Stage.CHECKED)

    def _checked(self) -> None:
        if not self._own_failed:
            self._enter(Stage.AS_MADE)
        elif self._context.status == m.FAILED_TRANSACTION:
            self._enter(Stage.UNSEEN)
        elif self._tries < _MOST_TRIES:
            self._ask(Stage.CHECKED)
        else:
            self._end("role-kept", refusals.fatal("57P01", "the session has taken on a role that it may not keep"))

    # -------------------------------------------------------------- what is asked of the target

    def _ask(self, stage: Stage) -> None:
        self._enter(stage)
        self._tries += 1
        name = self._name()
        self._own = (self._say(f"{name}_", FORGET), self._say(name, question(self._context.settings.user)))

    def _say(self, name: str, text: str) -> Unit:
        raw = (
            m.encode_close(b"P", name)  # it lives as long as its transaction
            + m.encode_parse(name, text)
            + m.encode_bind(name, name)
            + m.encode_execute(name)
            + m.encode_close(b"S", name)
            + m.SYNC
        )
        own = Unheard(raw, Ending.SYNC)
        own.steps.append((Expected.OWN, None, ""))
        self._output.control_to_target(raw)
        self._pipeline.sent(own)
        return own

    @property
    def _own_failed(self) -> bool:
        return any(own.failed for own in self._own)

    def _name(self) -> str:
        """One that nothing of the session has; one of ours that failed may have left its statement."""
        tables, name = self._context.tables, f"{_NAME}_{self._pipeline.settled}"
        while {name, f"{name}_"} & {*tables.statements, *tables.portals}:
            name += "_"
        return name

    def _enter(self, stage: Stage) -> None:
        if stage not in MOVES[self.stage]:
            raise RemoteProtocolError(f"an account that is {self.stage.name} cannot become {stage.name}")
        self.stage, self.unseen = stage, stage is Stage.UNSEEN
        self._enter_phase(self.resting)


def question(role: str) -> str:
    """Makes a server process what others have committed, in any transaction, by an address that everybody may ask for;
    fails when the role is another one. It gives no rows."""
    quoted = role.replace("'", "''")
    same = f"current_user OPERATOR(pg_catalog.=) '{quoted}'::pg_catalog.name"
    schema = f"CASE WHEN {same} THEN '{{pg_catalog}}' ELSE '{{}}' END::pg_catalog.text[]"
    return f"SELECT FROM pg_catalog.pg_get_object_address('schema', {schema}, '{{}}'::pg_catalog.text[]) OFFSET 1"
