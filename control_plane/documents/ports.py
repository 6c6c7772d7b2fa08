"""What a feature offers so that its nouns can be declared in documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from control_plane.documents.domain import Stored, World
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import Actor, UnitOfWork
from data_plane.policy import model
from data_plane.policy.documents import Problem


class DocumentKind(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def permission(self) -> Permission:
        """What changing one needs."""

    def decode(self, value: object) -> model.Document | Problem: ...

    def order(self, document: model.Document) -> int:
        """Those with a lower number are put first and deleted last."""

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]: ...

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None: ...

    async def manage(self, uow: UnitOfWork, name: str) -> None:
        """It stands in documents from now on, though nothing in it changes."""

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None: ...


class Secrets(Protocol):
    async def known(self, uow: UnitOfWork) -> frozenset[str]:
        """Names that documents may use. In a unit that writes they stay until it ends."""

    async def delivered(self, uow: UnitOfWork) -> frozenset[str]:
        """Names of those of which an agent has ever been given a value."""


class Validation(Protocol):
    def __call__(self, world: World) -> Sequence[Problem]: ...
