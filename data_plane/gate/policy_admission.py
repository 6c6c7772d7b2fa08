"""Admission by policy: credential, standing, selection by policy, `connect` rules, then a recording that has begun.

Strict in this order, and nothing is opened half: whoever is not admitted has been reported, with the true reason for
the audit and a plain one for the client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

import msgspec
import structlog

from data_plane.gate import identity
from data_plane.gate.admission import Admitted, CertificateCredential, Credential, Refused, TokenCredential
from data_plane.gate.identity import Claims, Unaccepted
from data_plane.gate.interface import Code, Effect, Requester, SessionFacts, TargetFacts
from data_plane.gate.policy_gate import PolicyGate
from data_plane.gate.ports import Recorders, SessionReports
from data_plane.gate.services import GateServices
from data_plane.identifiers import SessionId, TargetName
from data_plane.policy import reach
from data_plane.policy.evaluate import SessionPolicy
from data_plane.policy.snapshot import Snapshot, SnapshotTarget
from data_plane.recording.interface import Recorder, RecordingError
from data_plane.recording.model import Opened

log = structlog.get_logger(__name__)

_LONGEST_TOLD: Final = 256  # characters of what a client says about itself


@final
class PolicyAdmission:
    """Implements `admission.Admission`. `end_session(id, reason, message)`: it cannot be recorded any more."""

    def __init__(
        self,
        services: GateServices,
        *,
        recorders: Recorders,
        reports: SessionReports,
        new_session_id: Callable[[], SessionId],
        end_session: Callable[[SessionId, str, str], object],
    ) -> None:
        self.draining = False  # set once: nothing new
        self._services = services
        self._recorders = recorders
        self._reports = reports
        self._new_session_id = new_session_id
        self._end_session = end_session
        self._gates: dict[SessionId, PolicyGate] = {}  # of the open sessions

    async def admit(
        self,
        credential: Credential,
        target: TargetName,
        client_address: str,
        application_name: str,
        details: Mapping[str, str],
    ) -> Admitted | Refused:
        asked = _Asked(target, client_address, application_name[:_LONGEST_TOLD], details)
        try:
            outcome = await self._admit(credential, asked)
        except Exception as error:
            log.exception("admission failed", target=target)
            outcome = _Refusal(Code.ENDED, "the session could not be opened", type(error).__name__)
        if isinstance(outcome, Admitted):
            return outcome
        self._report(asked, outcome)
        return Refused(outcome.code, outcome.message, authentication=outcome.authentication)

    def objection(self, facts: SessionFacts) -> str:
        """Why an open session may not go on in the current snapshot; empty when it may. For `terminate_where`."""
        snapshot = self._services.state.current
        if snapshot is None:
            return "this agent has no policy"
        if facts.target.name not in snapshot.targets:
            return "the target was removed"
        gate = self._gates.get(facts.id)  # it alone knows what policy says of this session
        if gate is not None and (objection := gate.standing()):
            return objection
        return identity.objection(facts.requester.id, facts.credential_id, snapshot)

    async def _admit(self, credential: Credential, asked: _Asked) -> Admitted | _Refusal:
        snapshot = self._services.state.current
        if self.draining:
            return _Refusal(Code.ENDED, "the agent is shutting down: connect again", "draining")
        if snapshot is None or not self._services.lease.valid:
            return _Refusal(Code.UNAVAILABLE, "the control plane is out of reach: try later", "no lease or no policy")
        target = snapshot.targets.get(asked.target)
        if target is None:
            return _Refusal(Code.POLICY, "this target is not served any more", "unknown target")
        known = self._identified(credential, snapshot, asked)
        if isinstance(known, Unaccepted):
            return _unaccepted(known)
        claims, requester = known
        facts = self._facts(claims, requester, target, asked)
        asked = asked.at(target)
        policy = SessionPolicy(snapshot.policies, facts, asked.database)
        decision = policy.connect()
        if decision.effect is not Effect.ALLOW:
            message = decision.message if decision.rules else "no policy lets you connect to this target"
            reason = f"policy: {', '.join(decision.rules) or 'none selects this requester and target'}"
            return _Refusal(Code.POLICY, message or "policy refuses this connection", reason, requester.id)
        return await self._opened(facts, claims, target, asked, snapshot, policy)

    def _identified(
        self, credential: Credential, snapshot: Snapshot, asked: _Asked
    ) -> tuple[Claims, Requester] | Unaccepted:
        state, now = self._services.state, self._services.clock.now()
        claims: Claims | Unaccepted
        match credential:
            case TokenCredential(token):
                claims = identity.read_token(token.reveal(), keys=state.keys, deployment=state.deployment, now=now)
            case CertificateCredential(certificate):
                claims = identity.read_certificate(certificate, now=now)
        if isinstance(claims, Unaccepted):
            return claims
        requester = identity.requester(claims, snapshot, asked.target, asked.client_address)
        return requester if isinstance(requester, Unaccepted) else (claims, requester)

    def _facts(self, claims: Claims, requester: Requester, target: SnapshotTarget, asked: _Asked) -> SessionFacts:
        return SessionFacts(
            id=self._new_session_id(),
            target=TargetFacts(target.name, target.spec.protocol, target.spec.environment, target.labels),
            requester=requester,
            credential_id=claims.credential_id,
            client_address=asked.client_address,
            application_name=asked.application_name,
        )

    def _closed(self, session: SessionId) -> None:
        self._gates.pop(session, None)

    async def _opened(
        self,
        facts: SessionFacts,
        claims: Claims,
        target: SnapshotTarget,
        asked: _Asked,
        snapshot: Snapshot,
        policy: SessionPolicy,
    ) -> Admitted | _Refusal:
        try:
            recorder = await self._record(facts, asked.details, snapshot)
        except RecordingError as error:
            return _Refusal(Code.LIMIT, "the session cannot be recorded: try later", str(error), facts.requester.id)
        actions = reach.actions(snapshot.policies, facts, asked.database)
        granted = reach.granted(target.spec, actions)
        gate = PolicyGate(self._services, facts, recorder, asked.database, snapshot, policy, self._closed, granted)
        try:
            self._reports.opened(facts, snapshot.version)  # as there is a recording of it, even if it ends at once
            refusal = self._changed(facts, claims, asked, gate)
        except Exception as error:
            recorder.closed(f"refused: {type(error).__name__}")
            raise
        if refusal is not None:
            recorder.closed(f"refused: {refusal.reason}")
            return refusal
        self._gates[facts.id] = gate
        return Admitted(
            facts=facts,
            gate=gate,
            recorder=recorder,
            masks=policy.masks,
            target=target.spec,
            row_limit=target.spec.recording.rows,
            expires_at=claims.expires_at,
            snapshot_version=snapshot.version,
            actions=actions,
        )

    def _changed(self, facts: SessionFacts, claims: Claims, asked: _Asked, gate: PolicyGate) -> _Refusal | None:
        """What has come about while the recording was opened."""
        if (snapshot := self._services.state.current) is not None:
            known = identity.requester(claims, snapshot, asked.target, asked.client_address)
            if isinstance(known, Unaccepted):
                return _unaccepted(known)
        if (objection := gate.objection()) is None:
            return None
        return _Refusal(objection.code, objection.message, objection.message, facts.requester.id)

    async def _record(self, facts: SessionFacts, details: Mapping[str, str], snapshot: Snapshot) -> Recorder:
        opened = Opened(
            at_ms=0,
            session_id=facts.id,
            protocol=facts.target.protocol,
            target=facts.target.name,
            requester=facts.requester.name,
            requester_id=facts.requester.id,
            credential_id=facts.credential_id,
            client_address=facts.client_address,
            application_name=facts.application_name,
            started_at_ms=int(self._services.clock.now() * 1000),
            snapshot_version=snapshot.version,
            details={name: value[:_LONGEST_TOLD] for name, value in details.items()},
        )
        return await self._recorders.open(opened, lambda reason: self._cannot_record(facts.id, reason))

    def _cannot_record(self, session: SessionId, reason: str) -> None:
        self._end_session(session, "recording-failed", f"the session can no longer be recorded: {reason}")

    def _report(self, asked: _Asked, refusal: _Refusal) -> None:
        try:
            self._reports.refused(asked.target, refusal.reason, asked.client_address, refusal.requester_id)
        except Exception:
            log.exception("a refused connection could not be reported", target=asked.target, reason=refusal.reason)


class _Asked(msgspec.Struct, frozen=True):
    target: TargetName
    client_address: str
    application_name: str
    details: Mapping[str, str]

    def at(self, target: SnapshotTarget) -> _Asked:
        """A target that names its database gives that one, whatever the client has called it."""
        if not target.spec.database:
            return self
        return msgspec.structs.replace(self, details={**self.details, "database": target.spec.database})

    @property
    def database(self) -> str:
        return self.details.get("database", "")


class _Refusal(msgspec.Struct, frozen=True):
    """What the client is told and what the audit is told."""

    code: Code
    message: str
    reason: str
    requester_id: str = ""
    authentication: bool = False


def _unaccepted(why: Unaccepted) -> _Refusal:
    expired = " (it has expired: get a new one)" if "expired" in why.reason else ""
    return _Refusal(
        Code.DENIED, f"the credential was not accepted{expired}", why.reason, why.identity_id, authentication=True
    )
