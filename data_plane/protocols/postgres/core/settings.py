"""Session state that changes what a statement means: settings, search path, temporary tables (DESIGN invariant 13).

Settings follow the server's own rules: SET lasts when its transaction commits, SET LOCAL to its end, and going back to
a savepoint undoes both. Only effects of statements that succeeded are applied, so while one is unanswered nothing else
is judged (see `pipeline`). ParameterStatus is the target's own word; where it contradicts a pin the session ends.

Temporary relations follow transactions too. One that was dropped keeps its name here: it then means both, what was
temporary and what the path gives (`catalog`). Of those that are certainly there (`there`) it does not matter that their
own changes are not in the catalogue; of any other name it does.

A search path that cannot be read is the path of nothing: names without a schema are then not known.

An account that was made for the session is in no digest: what was approved for one session of a requester is the same
in the next one, whose account has another name. It reads as `$user`, and as no role that was set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from data_plane.protocols.postgres.interface import (
    ACCOUNT,
    CASCADE,
    REASON,
    ChangesNames,
    CreatesTemporary,
    CreatesView,
    DiscardsAll,
    DiscardsTemporary,
    EndsTransaction,
    MakesSavepoint,
    ReleasesSavepoint,
    RenamesRelation,
    RollsBackTo,
    SearchPath,
    SessionEffect,
    SetsParameter,
)

# Frozen for the life of a session: the texts are read under these, by the target and by us.
PINS: Final[Mapping[str, frozenset[str]]] = {
    "client_encoding": frozenset({"utf8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1", "t", "y"}),
}
_ROLE: Final = "role"
_SESSION_AUTHORIZATION: Final = "session_authorization"
_KEPT_BY_RESET_ALL: Final = (
    _ROLE, _SESSION_AUTHORIZATION, "transaction_isolation", "transaction_read_only", "transaction_deferrable"
)  # fmt: skip
_WITHOUT_MEANING: Final = frozenset({"application_name", REASON})
_UNSET_PATH: Final = '"$user", public'
_SPACE: Final = " \t\n\r\f"  # between the names of a search_path, for every version of the server
_PLAIN_NAME: Final = re.compile(r"""[!#-+\--~]+""")  # of ASCII alone, without quotes or commas
_MOST_PATHS: Final = 256
_MOST_SHARED: Final = (
    100  # names in one of them: a session that makes thousands would leave a set for each of its steps
)
_NONE: Final[frozenset[str]] = frozenset()
_PATHS: Final[dict[SearchPath, SearchPath]] = {}  # equal ones of all sessions are one object, found without hashing
_LONGEST_NAME: Final = 63  # bytes; the server cuts a longer one
_TIMEOUT: Final = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(us|ms|s|min|h|d)?\s*", re.ASCII)
_MILLISECONDS: Final = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_REPORTED: Final = ("client_encoding", "standard_conforming_strings", "DateStyle", "IntervalStyle", "TimeZone")


def contradicts_pin(name: str, value: str) -> bool:
    allowed = PINS.get(name.lower())
    return allowed is not None and _plain(value) not in allowed


def _plain(value: str) -> str:
    return value.strip().strip("'\"").lower().replace("-", "").replace("_", "")


class _Level:
    """One transaction or savepoint: what holds now, and what will hold if it commits."""

    __slots__ = ("kept", "now", "own", "savepoint")

    def __init__(
        self, savepoint: str, now: Mapping[str, str | None], kept: Mapping[str, str | None], own: _Own
    ) -> None:
        self.savepoint = savepoint
        self.now = dict(now)
        self.kept = dict(kept)
        self.own = own

    def above(self, savepoint: str) -> _Level:
        return _Level(savepoint, self.now, self.kept, self.own)


class _Own:
    """Relations of the session's own. What was dropped stays among `temporary` and `views`: resolving then considers
    one name too many, never one too few. `there`: those that certainly are, and of them `fleeting` until a commit."""

    __slots__ = ("fleeting", "temporary", "there", "views")

    def __init__(
        self,
        temporary: frozenset[str] = _NONE,
        views: frozenset[str] = _NONE,
        there: frozenset[str] = _NONE,
        fleeting: frozenset[str] = _NONE,
    ) -> None:
        self.temporary = temporary
        self.views = views
        self.there = there
        self.fleeting = fleeting

    def after(
        self, effect: CreatesTemporary | CreatesView | RenamesRelation | DiscardsTemporary, *, unsaid: bool
    ) -> _Own:
        """`unsaid`: what is made may be temporary by the search path."""
        match effect:
            case CreatesTemporary(relation=name, lasts=lasts, alone=alone):
                fleeting = self.fleeting - {name} if lasts else self.fleeting | {name}
                there = self.there | {name} if alone else self.there
                return _Own(self.temporary | {name}, self.views, there, fleeting)
            case CreatesView(view=name, bare=bare):
                perhaps = bare and (unsaid or self.temporary)
                temporary = self.temporary | {name} if perhaps else self.temporary
                return _Own(temporary, self.views | {name}, self.there, self.fleeting)
            case RenamesRelation(relation=name, to=to):
                each = (self.temporary, self.views, self.there, self.fleeting)
                return _Own(*(names | {to} if name in names else names for names in each))
            case DiscardsTemporary():
                return _Own()

    def without(self, names: frozenset[str]) -> _Own:
        there = _NONE if "*" in names else self.there - names
        return _Own(self.temporary, self.views, there, self.fleeting)

    def committed(self) -> _Own:
        return _Own(self.temporary, self.views, self.there - self.fleeting)


class Settings:
    """`parameters`: what the target reported and answered before the session opened. `path`: as it is read already."""

    def __init__(self, parameters: Mapping[str, str], path: SearchPath | None = None) -> None:
        self._initial = dict(parameters)
        self._reported = dict(parameters)
        self._committed: dict[str, str | None] = {}
        self._levels: list[_Level] = []
        self._own = _Own()
        self._altered: frozenset[str] = frozenset()
        self._unsaid = False  # pg_temp was once named on the search path
        self.path = path or self._path()

    def copy(self) -> Settings:
        """To try what a unit would do."""
        copied = Settings(self._initial, self.path)
        copied._reported = self._reported  # its own kind
        copied._committed, copied._own = dict(self._committed), self._own
        copied._altered, copied._unsaid = self._altered, self._unsaid
        copied._levels = [level.above(level.savepoint) for level in self._levels]
        return copied

    @property
    def in_doubt(self) -> bool:
        """Whether the end of the transaction decides about settings."""
        return bool(self._levels)

    # -------------------------------------------------------------- what statements did

    def apply(self, effect: SessionEffect, tag: str) -> None:
        """Of a statement that succeeded with this command tag."""
        match effect:
            case SetsParameter():
                self._set(effect)
            case EndsTransaction(keeps=keeps):
                self.transaction_ended(keeps=keeps and not tag.startswith("ROLLBACK"))
            case MakesSavepoint(savepoint=name):
                self._levels.append(self._top().above(name))
            case ReleasesSavepoint(savepoint=name):
                self._release(name)
            case RollsBackTo(savepoint=name):
                self._roll_back_to(name)
            case CreatesTemporary() | CreatesView() | RenamesRelation() | DiscardsTemporary():
                top = self._top()
                top.own = top.own.after(effect, unsaid=self._unsaid)
            case ChangesNames():
                self._alter(effect)
            case DiscardsAll():
                self._levels, self._committed, self._own = [], {}, _Own()
            case _:
                return
        self.path = self._path()

    def transaction_ended(self, *, keeps: bool) -> None:
        """Also the end of the implicit transaction around statements outside a block."""
        if self._levels and keeps:
            self._committed, self._own = self._levels[-1].kept, self._levels[-1].own.committed()
        if self._levels or self._altered:
            self._levels, self._altered = [], frozenset()
            self.path = self._path()

    def _top(self) -> _Level:
        if not self._levels:
            self._levels.append(_Level("", self._committed, self._committed, self._own))
        return self._levels[-1]

    def _alter(self, effect: ChangesNames) -> None:
        """What is certainly temporary is never what the catalogue knows."""
        own = self._levels[-1].own if self._levels else self._own
        hidden = any(schema.startswith("pg_temp") for schema in self.path.schemas)  # then it need not come first
        if hidden or not effect.temporary or not effect.names - {CASCADE} <= own.there:
            self._altered |= effect.names
        if own.there and not effect.stay:
            top = self._top()
            top.own = top.own.without(effect.names)

    def _set(self, effect: SetsParameter) -> None:
        top = self._top()
        for values in (top.now,) if effect.local else (top.now, top.kept):
            if effect.name == "all" and effect.value is None:
                kept: dict[str, str | None] = {name: values[name] for name in _KEPT_BY_RESET_ALL if name in values}
                values.clear()
                values.update(kept)
                continue
            values[effect.name] = effect.value
            if effect.name == _SESSION_AUTHORIZATION:  # with it goes the role: to none, or to that of the start
                values[_ROLE] = None if effect.value is None else "none"

    def _find(self, savepoint: str) -> int:
        """Its level; the whole transaction for one that is not known, so that everything in it is undone."""
        found = [place for place, level in enumerate(self._levels) if place and level.savepoint == savepoint]
        return found[-1] if found else 0

    def _release(self, savepoint: str) -> None:
        if place := self._find(savepoint):
            top, below = self._levels[-1], self._levels[place - 1]
            below.now, below.kept, below.own = top.now, top.kept, top.own
            del self._levels[place:]

    def _roll_back_to(self, savepoint: str) -> None:
        place = self._find(savepoint)
        if place:
            self._levels[place:] = [self._levels[place - 1].above(savepoint)]
        else:
            self._levels = []

    # -------------------------------------------------------------- what the target reported

    def reported(self, name: str, value: str) -> None:
        self._reported[name] = value

    def is_initial(self, name: str, value: str) -> bool:
        return self._initial.get(name) == value

    # -------------------------------------------------------------- what holds

    def value(self, name: str) -> str | None:
        """Of a setting as this session set it; None: as it was at the start."""
        values = self._levels[-1].now if self._levels else self._committed
        found = values.get(name)
        return self._initial.get(name) if found is None else found

    @property
    def statement_timeout(self) -> float:
        """Seconds that this session gives a statement; 0: no bound, or none of its own."""
        read = _TIMEOUT.fullmatch(self.value("statement_timeout") or "")
        return round(float(read[1]) * _MILLISECONDS[read[2] or "ms"]) / 1000 if read else 0.0

    def _path(self) -> SearchPath:
        written = self.value("search_path")
        schemas = read_path(_UNSET_PATH if written is None else written, self.user)
        self._unsaid = self._unsaid or any(schema.startswith("pg_temp") for schema in schemas)
        own = self._levels[-1].own if self._levels else self._own
        path = SearchPath(schemas, own.temporary, self._altered, ACCOUNT in self._initial, own.views)
        if len(own.temporary) + len(own.views) + len(self._altered) > _MOST_SHARED:
            return path
        if len(_PATHS) >= _MOST_PATHS:
            _PATHS.clear()
        return _PATHS.setdefault(path, path)

    @property
    def user(self) -> str:
        """Who `current_user` is."""
        role = self.value(_ROLE)
        if role and role.strip("'\"") != "none":
            return role.strip("'\"")
        initial = self._initial.get(ACCOUNT) or self._initial.get("user", "")
        return self.value(_SESSION_AUTHORIZATION) or initial

    def digest_state(self) -> tuple[tuple[str, str], ...]:
        """What an approval is bound to beside the bytes, sorted by name."""
        values = self._levels[-1].now if self._levels else self._committed
        state: dict[str, str] = {name: self._reported[name] for name in _REPORTED if name in self._reported}
        state |= {name: value or "" for name, value in self._initial.items() if name in ("database", "user", "role")}
        if ACCOUNT in self._initial:
            state["role"] = "none"
            state.pop("user", None)
        state |= {name: value for name, value in values.items() if value is not None and name not in _WITHOUT_MEANING}
        state["search_path"] = ", ".join(self._told_path())
        if self.path.temporary:
            state["temporary"] = ", ".join(sorted(self.path.temporary))
        return tuple(sorted(state.items()))

    def _told_path(self) -> tuple[str, ...]:
        if ACCOUNT not in self._initial or self.user != self._initial.get("user"):
            return self.path.schemas
        written = self.value("search_path")
        return read_path(_UNSET_PATH if written is None else written, "$user")


def read_path(written: str, user: str) -> tuple[str, ...]:
    """The schemas of a search_path as SHOW prints it or SET gives it; () when it cannot be read."""
    schemas: list[str] = []
    rest = written.strip(_SPACE)
    while rest:
        read = _identifier(rest)
        if read is None or len(read[0].encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
            return ()
        name, rest = read
        schemas.append(user if name == "$user" else name)
        rest = rest.lstrip(_SPACE)
        if rest and (not rest.startswith(",") or not rest[1:].strip(_SPACE)):
            return ()
        rest = rest[1:].lstrip(_SPACE)
    return tuple(name for name in schemas if name)


def _identifier(text: str) -> tuple[str, str] | None:
    """The name at the beginning, and what follows it. Only double quotes quote here, as in the server's own reading.

    What a server may fold or take for white space in another way, by its version or encoding, is not read."""
    if text[0] != '"':
        name = text.partition(",")[0]
        plain = name.strip(_SPACE)
        return (plain.lower(), text[len(name) :]) if _PLAIN_NAME.fullmatch(plain) else None
    at, name = 1, ""
    while (end := text.find('"', at)) >= 0:
        name += text[at:end]
        if text[end + 1 : end + 2] != '"':
            return name, text[end + 1 :]
        name, at = name + '"', end + 2
    return None


def sets_against_pin(effects: Sequence[SessionEffect]) -> str:
    """The name of a pinned setting that these effects would change; empty: none."""
    for effect in effects:
        if (
            isinstance(effect, SetsParameter)
            and effect.value is not None
            and contradicts_pin(effect.name, effect.value)
        ):
            return effect.name
    return ""
