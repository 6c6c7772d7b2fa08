"""Plan, apply and export documents: all of them or none, and applying twice changes nothing the second time.

What is checked is the whole world as it would be, so a chain that a policy still needs cannot go and a group
may arrive together with its members. Only what was applied before can be pruned: an identity that an admin
made by hand, or the first admin, never disappears because it stands in no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from control_plane.documents.domain import Change, Partial, PlannedChange, Stored, World, planned
from control_plane.documents.ports import DocumentKind, Secrets, Validation
from control_plane.documents.stored_kind import StoredKind
from control_plane.kit.access import Principal
from control_plane.kit.errors import FieldProblem, ForbiddenError, InvalidError
from control_plane.kit.names import DESCRIPTION, is_name
from control_plane.kit.unit_of_work import AuditEvent, Json, UnitOfWork
from data_plane.policy import model
from data_plane.policy.documents import Problem, sparse

Key = tuple[str, str]
_CHANGING: tuple[Change, ...] = ("create", "update", "delete")


class InvalidDocumentsError(InvalidError):
    """Carries every problem, each with its JSON path from the request's root."""


class Plan(msgspec.Struct, frozen=True):
    changes: tuple[PlannedChange, ...]
    wanted: Mapping[Key, model.Document]
    adopted: tuple[Key, ...]  # unchanged, but not managed by documents until now


class DocumentService:
    def __init__(self, kinds: Sequence[DocumentKind], validation: Validation, secrets: Secrets) -> None:
        """`kinds` in the order in which they are put: what is referred to comes first."""
        self._kinds = {kind.kind: kind for kind in kinds}
        self._validation = validation
        self._secrets = secrets

    async def plan(self, uow: UnitOfWork, values: Sequence[object], *, prune: bool) -> Plan:
        """Raises InvalidDocumentsError."""
        wanted, places = self._decoded(values)
        stored = {name: dict(await kind.stored(uow)) for name, kind in self._kinds.items()}
        gone = _pruned(stored, wanted) if prune else set[Key]()
        self._check(await self._world(uow, stored, wanted, gone), places)
        changes = [
            *(planned(*key, stored[key[0]].get(key[1]), _after(stored, key, one)) for key, one in wanted.items()),
            *(planned(*key, stored[key[0]][key[1]], None) for key in sorted(gone)),
        ]
        same = {(change.kind, change.name) for change in changes if change.change == "unchanged"}
        adopted = tuple(key for key in sorted(same) if not stored[key[0]][key[1]].managed)
        return Plan(tuple(changes), wanted, adopted)

    async def apply(self, uow: UnitOfWork, by: Principal, values: Sequence[object], *, prune: bool) -> Plan:
        plan = await self.plan(uow, values, prune=prune)
        await self._carry_out(uow, by, plan, managed=True)
        for kind, name in plan.adopted:
            if by.may(self._kinds[kind].permission):  # or somebody's next prune would delete what they may not touch
                await self._kinds[kind].manage(uow, name)
        found = Counter(change.change for change in plan.changes)
        counts: dict[str, Json] = {change: found[change] for change in _CHANGING}
        if any(counts.values()):
            uow.audit(AuditEvent("documents.applied", by.actor, "documents", counts))
        return plan

    async def put(self, uow: UnitOfWork, by: Principal, value: object) -> None:
        """One document, by hand: checked in the same way."""
        plan = await self.plan(uow, [value], prune=False)
        await self._carry_out(uow, by, plan, managed=False)

    async def delete(self, uow: UnitOfWork, by: Principal, kind: str, name: str) -> None:
        """One document; refused while something else needs it."""
        stored = {each: dict(await port.stored(uow)) for each, port in self._kinds.items()}
        self._check(await self._world(uow, stored, {}, {(kind, name)}), {})
        self._permit(by, kind)
        await self._kinds[kind].delete(uow, by.actor, name)

    def stored_kind(self, kind: str) -> StoredKind:
        """For the endpoints of one kind."""
        found = self._kinds[kind]
        if not isinstance(found, StoredKind):
            raise TypeError(f"{kind} is not kept as documents")
        return found

    async def export(self, uow: UnitOfWork) -> list[object]:
        """Everything that there is, in the order in which it can be applied, as people write it."""
        found: list[object] = []
        for kind in self._kinds.values():
            stored = await kind.stored(uow)
            found += [dict(sorted(sparse(one.document).items())) for _, one in sorted(stored.items())]
        return found

    # -------------------------------------------------------------- steps

    def _decoded(self, values: Sequence[object]) -> tuple[dict[Key, model.Document], dict[Key, int]]:
        wanted: dict[Key, model.Document] = {}
        places: dict[Key, int] = {}
        problems: list[FieldProblem] = []
        for index, value in enumerate(values):
            decoded = self._decode(value)
            if isinstance(decoded, Problem):
                problems.append(_placed(decoded, index))
                continue
            key = _key(decoded)
            if key in wanted:
                told = f"$.documents[{places[key]}] has it too"
                problems.append(_placed(Problem(*key, "$.metadata.name", told), index))
            wanted[key], places[key] = decoded, index
        if problems:
            raise InvalidDocumentsError("these documents cannot be applied", problems)
        return wanted, places

    def _decode(self, value: object) -> model.Document | Problem:
        told = value.get("kind") if isinstance(value, dict) else None
        kind = self._kinds.get(told) if isinstance(told, str) else None
        if kind is None:
            return Problem("", "", "$.kind", f"unknown kind {told!r}; known: {', '.join(self._kinds)}")
        decoded = kind.decode(value)
        if isinstance(decoded, Problem) or is_name(_key(decoded)[1]):
            return decoded
        return Problem(*_key(decoded), "$.metadata.name", f"a name is {DESCRIPTION}")

    async def _world(
        self,
        uow: UnitOfWork,
        stored: Mapping[str, Mapping[str, Stored]],
        wanted: Mapping[Key, model.Document],
        gone: set[Key],
    ) -> World:
        before = {kind: {name: one.document for name, one in all_of.items()} for kind, all_of in stored.items()}
        after = {kind: dict(all_of) for kind, all_of in before.items()}
        for (kind, name), document in wanted.items():
            after[kind][name] = _after(stored, (kind, name), document)
        for kind, name in gone:
            after[kind].pop(name, None)
        return World(after, uow.now, before, await self._secrets.known(uow), await self._secrets.delivered(uow))

    def _check(self, world: World, places: Mapping[Key, int]) -> None:
        """What was wrong before, in a document that nobody touches, keeps nobody from changing another."""
        old = set(map(str, self._validation(msgspec.structs.replace(world, documents=world.before))))
        found = [
            problem
            for problem in self._validation(world)
            if (problem.kind, problem.name) in places or str(problem) not in old
        ]
        if found:
            problems = [_placed(problem, places.get((problem.kind, problem.name))) for problem in found]
            raise InvalidDocumentsError("these documents do not fit together", problems)

    def _permit(self, by: Principal, kind: str) -> None:
        permission = self._kinds[kind].permission
        if not by.may(permission):
            raise ForbiddenError(f"changing a {kind} needs the permission {permission}")

    async def _carry_out(self, uow: UnitOfWork, by: Principal, plan: Plan, *, managed: bool) -> None:
        changes = [change for change in plan.changes if change.change != "unchanged"]
        for change in changes:
            self._permit(by, change.kind)
        for name, kind in self._kinds.items():
            mine = [plan.wanted[one.kind, one.name] for one in changes if one.kind == name and one.change != "delete"]
            for document in sorted(mine, key=kind.order):
                await kind.put(uow, by.actor, document, managed=managed)
        for name, kind in reversed(self._kinds.items()):
            stored = await kind.stored(uow)
            gone = [one.name for one in changes if one.kind == name and one.change == "delete"]
            for each in sorted(gone, key=lambda one: -kind.order(stored[one].document)):
                await kind.delete(uow, by.actor, each)


def _key(document: model.Document) -> Key:
    metadata: model.Metadata = document.metadata  # type: ignore[attr-defined]
    return str(document.__struct_config__.tag), metadata.name


def _pruned(stored: Mapping[str, Mapping[str, Stored]], wanted: Mapping[Key, object]) -> set[Key]:
    managed = {(kind, name) for kind, all_of in stored.items() for name, one in all_of.items() if one.managed}
    return managed - set(wanted)


def _after(stored: Mapping[str, Mapping[str, Stored]], key: Key, document: model.Document) -> model.Document:
    before = stored[key[0]].get(key[1])
    return document.beside(before.document if before else None) if isinstance(document, Partial) else document


def _placed(problem: Problem, index: int | None) -> FieldProblem:
    """The path in the request; for a document that was not sent, its kind and name."""
    if index is None:
        return FieldProblem(path=f"{problem.kind}/{problem.name}{problem.path[1:]}", message=problem.message)
    return FieldProblem(path=f"$.documents[{index}]{problem.path[1:]}", message=problem.message)
