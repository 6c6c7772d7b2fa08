"""PostgreSQL in one process: joins the parts that its sessions share. The protocol's own little assembly."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from data_plane.credentials.ports import CredentialError
from data_plane.gate.admission import Admitted
from data_plane.identifiers import OperationId
from data_plane.masking import marks
from data_plane.policy.model import TargetSpec
from data_plane.protocols.interface import Endpoint, Examined, Process, Serve
from data_plane.protocols.postgres.accounts.names import Names
from data_plane.protocols.postgres.accounts.provider import PostgresAccounts
from data_plane.protocols.postgres.accounts.rotating import RotatingAccounts
from data_plane.protocols.postgres.cancellation import CancelRegistry
from data_plane.protocols.postgres.catalog_refresh import Catalogues
from data_plane.protocols.postgres.catalog_source import AsyncpgCatalogSource
from data_plane.protocols.postgres.core import Limits, Output, SessionCore
from data_plane.protocols.postgres.examination.examining import examine
from data_plane.protocols.postgres.masking import SessionMasking
from data_plane.protocols.postgres.preview.looking import AT_ONCE, Access, Previewer
from data_plane.protocols.postgres.session import MakeCore, Opening, PostgresCore
from data_plane.protocols.postgres.sibling_cancels import UnixSiblings
from data_plane.protocols.postgres.statements import StatementClassifier
from data_plane.runtime.listener import Accepted


class PostgresService:
    """Implements `interface.ProtocolService`."""

    def __init__(self, process: Process) -> None:
        self._siblings = UnixSiblings(process.folder / "postgres", process.worker)
        self._cancels = CancelRegistry(self._siblings)
        self._classifier = StatementClassifier()
        self._process = process

    async def start(self) -> None:
        await self._siblings.listen(self._cancels)

    async def close(self) -> None:
        await self._siblings.close()

    def serving(self, endpoint: Endpoint) -> Serve:
        target = _Target(endpoint, self._classifier)

        async def serve(accepted: Accepted) -> None:
            await Opening(accepted, endpoint, self._cancels, target.prepare).serve()

        return serve

    def accounts(self, endpoint: Endpoint) -> PostgresAccounts:
        names = Names(self._process.deployment, self._process.agent, endpoint.mask_key)
        return PostgresAccounts(endpoint.target, names, endpoint.credentials.own)

    def rotating(self, spec: TargetSpec) -> RotatingAccounts:
        return RotatingAccounts(spec)

    async def examine(self, examined: Examined) -> Mapping[str, Any]:
        return await examine(examined, self._classifier)


class _Target:
    """What the sessions of one endpoint share. A changed address in a new snapshot has catalogues of its own."""

    def __init__(self, endpoint: Endpoint, classifier: StatementClassifier) -> None:
        self._endpoint = endpoint
        self._classifier = classifier
        self._spec: TargetSpec | None = None
        self._catalogues: Catalogues
        self._previews = asyncio.Semaphore(AT_ONCE)

    def _of(self, spec: TargetSpec) -> Catalogues:
        if self._spec is None or (self._spec.address, self._spec.tls) != (spec.address, spec.tls):
            self._spec = spec
            self._catalogues = Catalogues(
                lambda database: AsyncpgCatalogSource(spec.address, database, self._credential, spec.tls),
                self._classifier,
            )
        return self._catalogues

    async def _credential(self) -> tuple[str, ...]:
        try:
            credential = await self._endpoint.credentials.own()
        except CredentialError as error:
            raise ConnectionError("no credential to read the catalogue with") from error
        passwords = (credential.password, *credential.also)
        return credential.username, *(password.reveal() for password in passwords)

    @contextlib.asynccontextmanager
    async def prepare(self, admitted: Admitted, database: str) -> AsyncIterator[MakeCore]:
        """Implements `session.Prepare`."""
        async with self._of(admitted.target).use(database) as catalogue:
            key = marks.session_key(self._endpoint.mask_key, admitted.facts.id)
            masking = SessionMasking(catalogue, self._endpoint.in_force, admitted.masks, key)

            access = Access(admitted.target, database, self._endpoint.credentials.preview, self._previews)

            def make(output: Output, parameters: Mapping[str, str]) -> PostgresCore:
                return SessionCore(
                    facts=admitted.facts,
                    gate=admitted.gate,
                    classifier=self._classifier,
                    names=catalogue,
                    masking=masking,
                    recorder=admitted.recorder,
                    output=output,
                    limits=Limits(),
                    masks=admitted.masks,
                    row_limit=admitted.row_limit,
                    parameters=parameters,
                    new_operation_id=_new_operation_id,
                    previews=Previewer(access, catalogue, partial(_masked, masking, self._endpoint)),
                )

            yield make


def _masked(masking: SessionMasking, endpoint: Endpoint, description: bytes, rows: bytes) -> bytes:
    """For people who may be entitled to nothing: under all masks that there are."""
    plan = masking.result(description, (), None, tuple(sorted(endpoint.in_force.masks)))
    return rows if plan is None else plan.mask_rows(rows)


def _new_operation_id() -> OperationId:
    return OperationId(f"op_{secrets.token_hex(10)}")
