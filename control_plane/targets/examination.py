"""Has the agent of a target look at its own account there, and keeps in the audit log who asked and how it stood."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from control_plane.kit.access import Principal
from control_plane.kit.errors import ConflictError
from control_plane.kit.unit_of_work import AuditEvent, Json, Units

ERRAND: Final = "examine-target"
_SECONDS: Final = 45.0


class Errands(Protocol):
    async def ask(self, target: str, kind: str, arguments: dict[str, Json], timeout: float) -> Any: ...  # noqa: ASYNC109


class Finding(msgspec.Struct, frozen=True):
    """As the agent tells it. `code` stays the same, for scripts."""

    severity: str  # critical, warning, remark
    code: str
    about: str
    says: str
    advice: str = ""
    things: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()


class SessionRoles(msgspec.Struct, frozen=True):
    roles: dict[str, tuple[str, ...]]
    owner: str = ""


class Examination(msgspec.Struct, frozen=True):
    """`sql` sets the target up; `session_roles` are those that it is written for; `account_to_use` is the agent's."""

    target: str
    database: str
    account: str
    account_to_use: str
    server_version: int
    findings: tuple[Finding, ...]
    sql: str
    session_roles: SessionRoles


class UnreadableError(ConflictError):
    code, title = "errand-failed", "The agent could not do it"


class ExaminationService:
    def __init__(self, units: Units, errands: Errands) -> None:
        self._units, self._errands = units, errands

    async def examine(self, by: Principal, target: str, options: dict[str, Json]) -> Examination:
        """Raises what `Errands.ask` raises. Opens transactions of its own."""
        answer = await self._errands.ask(target, ERRAND, options, _SECONDS)
        try:
            examination = msgspec.convert(answer, Examination)
        except msgspec.ValidationError as error:
            raise UnreadableError(f"the agent's answer cannot be read ({error}): update the agent") from error
        async with self._units() as uow:
            found = [one.severity for one in examination.findings]
            told: dict[str, Json] = {one: found.count(one) for one in ("critical", "warning", "remark")}
            told |= {"account": examination.account, "database": examination.database}
            uow.audit(AuditEvent("target.examined", by.actor, target, told))
        return examination
