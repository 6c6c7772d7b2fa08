"""Policies, chains and masks for other features: as they are now, each with its version and canonical text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from control_plane.documents.stored_kind import StoredKind
from control_plane.documents.tables import DocumentRow
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import UnitOfWork
from data_plane.policy import model
from data_plane.policy.on_call import Schedule, schedule

T = TypeVar("T", bound=model.Document)


class Versioned(msgspec.Struct, Generic[T], frozen=True):
    """`text` is the canonical JSON that agents get; `version` rises with every change of it."""

    name: str
    version: int
    text: str
    document: T


class Published(msgspec.Struct, frozen=True):
    """What a snapshot carries. In order of names."""

    policies: tuple[Versioned[model.Policy], ...]
    chains: tuple[Versioned[model.ApprovalChain], ...]
    masks: tuple[Versioned[model.Mask], ...]


class PolicyService:
    """`policies`, `chains`, `masks`, `schedules`: DocumentKinds, which `assembly` gives to the document service."""

    def __init__(self) -> None:
        self.policies = StoredKind(model.Policy, "policy", Permission.POLICY_EDIT)
        self.chains = StoredKind(model.ApprovalChain, "approval-chain", Permission.POLICY_EDIT)
        self.masks = StoredKind(model.Mask, "mask", Permission.POLICY_EDIT)
        self.schedules = StoredKind(model.OnCallSchedule, "on-call-schedule", Permission.POLICY_EDIT)

    async def published(self, uow: UnitOfWork) -> Published:
        return Published(
            policies=await self.all_policies(uow),
            chains=tuple(_versioned(model.ApprovalChain, row) for row in await self.chains.rows(uow)),
            masks=tuple(_versioned(model.Mask, row) for row in await self.masks.rows(uow)),
        )

    async def all_policies(self, uow: UnitOfWork) -> tuple[Versioned[model.Policy], ...]:
        return tuple(_versioned(model.Policy, row) for row in await self.policies.rows(uow))

    async def policies_and_chain(
        self, uow: UnitOfWork, chain: str
    ) -> tuple[tuple[Versioned[model.Policy], ...], Versioned[model.ApprovalChain] | None]:
        """As `all_policies` and `chain`, in one question."""
        rows, row = await self.policies.rows_and_one(uow, self.chains, chain)
        found = None if row is None else _versioned(model.ApprovalChain, row)
        return tuple(_versioned(model.Policy, one) for one in rows), found

    async def policy(self, uow: UnitOfWork, name: str) -> Versioned[model.Policy] | None:
        row = await self.policies.row(uow, name)
        return None if row is None else _versioned(model.Policy, row)

    async def chain(self, uow: UnitOfWork, name: str) -> Versioned[model.ApprovalChain] | None:
        row = await self.chains.row(uow, name)
        return None if row is None else _versioned(model.ApprovalChain, row)

    async def on_call(self, uow: UnitOfWork) -> Mapping[str, Schedule]:
        """Every schedule of who is on call, by its name."""
        rows = await self.schedules.rows(uow)
        return {row.name: schedule(_versioned(model.OnCallSchedule, row).document.spec) for row in rows}

    async def mask(self, uow: UnitOfWork, name: str) -> Versioned[model.Mask] | None:
        row = await self.masks.row(uow, name)
        return None if row is None else _versioned(model.Mask, row)


def _versioned(shape: type[T], row: DocumentRow) -> Versioned[T]:
    document = msgspec.json.decode(row.json_text, type=shape)
    return Versioned(row.name, row.version, row.json_text, document)
