"""Which documents name an identity or a group: whoever is given such a name is given what the documents say of it.

Documents that hold names stand for somebody by that name alone, also when nobody is called so any more. Conditions are
read as they are compiled: where one speaks of the requester's name or groups, every text in it counts as a name. Those
that cannot be compiled (any more) are read as text, and each text in them counts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlmodel import col, select

from control_plane.documents.tables import DocumentRow, DocumentVersionRow
from control_plane.kit.unit_of_work import UnitOfWork
from data_plane.policy.conditions import ConditionError, compiled
from data_plane.policy.mentions import mentions

Named = Literal["identity", "group"]
_FREE: Final = frozenset({"labels", "claims", "claim_patterns"})  # their fields are called as people like
_TEXT: Final = re.compile(r"\"([^\"]*)\"|'([^']*)'")


class _Places(msgspec.Struct, frozen=True):
    """Fields, wherever they stand in the document, that hold names: one, several, or by what others call them."""

    identity: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()


_PLACES: Final[Mapping[str, _Places]] = {
    "Policy": _Places(frozenset({"identities"}), frozenset({"groups"})),
    "ApprovalChain": _Places(frozenset({"people"}), frozenset({"groups"})),
    "OnCallSchedule": _Places(frozenset({"people", "person"})),
    "AccessOffer": _Places(group=frozenset({"group", "ask"})),
    "WorkloadTrust": _Places(frozenset({"identity", "actors"})),
    "IdentityProvider": _Places(group=frozenset({"map"})),
}
_CONDITION: Final[Mapping[Named, str]] = {"identity": "requester.name", "group": "requester.groups"}


class DocumentNames:
    """The port NamedInDocuments."""

    async def naming(self, uow: UnitOfWork, what: Named, name: str) -> Sequence[str]:
        """The documents, by kind and name, in order."""
        return [document for document, names in await self._all(uow, what) if name in names]

    async def named(self, uow: UnitOfWork, what: Named) -> Collection[str]:
        """Every name that some document holds, or by which one was written, whether or not anybody is called so."""
        writers = select(DocumentVersionRow.by).distinct()
        written_by = (await uow.session.exec(writers)).all() if what == "identity" else ()
        return {*written_by, *(name for _, names in await self._all(uow, what) for name in names)}

    async def _all(self, uow: UnitOfWork, what: Named) -> Sequence[tuple[str, set[str]]]:
        kinds = [kind for kind, places in _PLACES.items() if getattr(places, what)]
        statement = select(DocumentRow).where(col(DocumentRow.kind).in_(kinds))
        rows = await uow.session.exec(statement.order_by(col(DocumentRow.kind), col(DocumentRow.name)))
        return [(f"{row.kind} {row.name!r}", set(_names(row, what))) for row in rows.all()]


def _names(row: DocumentRow, what: Named) -> Iterator[str]:
    spec = msgspec.json.decode(row.json_text)["spec"]
    return _found(spec, getattr(_PLACES[row.kind], what), _CONDITION[what] if row.kind == "Policy" else "")


def _found(value: Any, fields: Collection[str], condition: str) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _found(one, fields, condition)
    if not isinstance(value, dict):
        return
    for field, held in value.items():
        if field in fields:
            yield from _texts(held)
        elif field == "when" and condition:
            yield from _compared(held, condition)
        elif field not in _FREE:
            yield from _found(held, fields, condition)


@functools.lru_cache(maxsize=4096)
def _compared(text: str, variable: str) -> frozenset[str]:
    """What the condition may compare the variable with."""
    condition = compiled(text)
    if isinstance(condition, ConditionError):
        return frozenset(double or single for double, single in _TEXT.findall(text))
    spoken = mentions(condition)
    return spoken.texts if variable in spoken.variables else frozenset()


def _texts(held: Any) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    elif isinstance(held, dict):
        yield from (one for one in held.values() if isinstance(one, str))
    elif isinstance(held, list):
        yield from (one for one in held if isinstance(one, str))
