"""The only place of the control plane where link.proto's generated types meet the project's own values, both ways.

Also encodes what is signed: grants and snapshots, deterministically; those bytes are what is sent, never made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from assentry.v1 import link_pb2 as pb

from control_plane.accounts import reports as accounts
from control_plane.agents import domain
from control_plane.agents.snapshots import SnapshotContents
from control_plane.approvals import reports as approvals
from control_plane.approvals.domain import Outcome
from control_plane.approvals.ports import GrantContents
from control_plane.identities.domain import Identity
from control_plane.kit.keys import PublicKey
from control_plane.secrets.delivery import Current
from control_plane.sessions import reports as sessions
from data_plane.policy import documents, model

_OUTCOMES: Final[Mapping[Outcome, pb.ApprovalDecided.Outcome.ValueType]] = {
    Outcome.APPROVED: pb.ApprovalDecided.APPROVED,
    Outcome.DENIED: pb.ApprovalDecided.DENIED,
    Outcome.EXPIRED: pb.ApprovalDecided.EXPIRED,
    Outcome.CANCELLED: pb.ApprovalDecided.CANCELLED,
    Outcome.REFUSED: pb.ApprovalDecided.REFUSED,
}

# ---------------------------------------------------------------- what an agent says


def received(message: pb.AgentMessage) -> domain.FromAgent | None:
    """None: a message that this control plane does not know."""
    match message.WhichOneof("message"):
        case "hello":
            return _hello(message.hello)
        case "heartbeat":
            beat = message.heartbeat
            return domain.Heartbeat(beat.number, beat.open_sessions, beat.held_operations, beat.spool_bytes)
        case "reports":
            return domain.Reports([domain.Numbered(one.number, _report(one)) for one in message.reports.reports])
        case "errand_done":
            done = message.errand_done
            return domain.ErrandDone(done.errand_id, done.result_json, done.problem)
    return _snapshot_answer(message)


def _snapshot_answer(message: pb.AgentMessage) -> domain.SnapshotAck | domain.SnapshotNack | None:
    match message.WhichOneof("message"):
        case "snapshot_ack":
            return domain.SnapshotAck(message.snapshot_ack.version)
        case "snapshot_nack":
            return domain.SnapshotNack(message.snapshot_nack.version, message.snapshot_nack.reason)
    return None


def _hello(said: pb.Hello) -> domain.Hello:
    return domain.Hello(
        agent_name=said.agent_name,
        instance_id=said.instance_id,
        boot_id=said.boot_id,
        version=said.version,
        features=tuple(said.features),
        snapshot_version=said.snapshot_version,
        first_report=said.first_report,
        open_sessions=tuple(said.open_sessions),
        pending_approvals=tuple(said.pending_approvals),
        recording_keys=tuple(said.public_recording_keys),
    )


def _report(message: pb.Report) -> object:
    kind = message.WhichOneof("report")
    if kind in {"session_opened", "session_closed", "session_refused", "decisions"}:
        return _session_report(message)
    if kind == "notice":
        return domain.Notice(message.notice.kind, message.notice.text)
    if kind in {"account_leased", "account_ended"}:
        return _account_report(message)
    return _approval_report(message)


def _account_report(message: pb.Report) -> accounts.LeasedReport | accounts.EndedReport:
    if message.HasField("account_leased"):
        said = message.account_leased
        about = (said.session_id, said.target, said.provider, said.principal)
        return accounts.LeasedReport(said.lease_id, message.at_ms, *about, said.expires_at_ms)
    end = message.account_ended
    return accounts.EndedReport(end.lease_id, message.at_ms, end.outcome, end.detail, end.target, end.principal)


def _approval_report(message: pb.Report) -> object:
    match message.WhichOneof("report"):
        case "approval_requested":
            return _requested(message.at_ms, message.approval_requested)
        case "approval_cancelled":
            return approvals.CancelledReport(message.approval_cancelled.approval_id, message.approval_cancelled.reason)
        case "grant_consumed":
            spent = message.grant_consumed
            return approvals.ConsumedReport(spent.approval_id, spent.nonce, spent.use, spent.digest)
        case "operation_finished":
            done = message.operation_finished
            return approvals.FinishedReport(done.approval_id, done.outcome, done.detail, done.use)
    return None


def _session_report(message: pb.Report) -> object:
    match message.WhichOneof("report"):
        case "session_opened":
            return _opened(message.at_ms, message.session_opened)
        case "session_closed":
            end = message.session_closed
            return sessions.ClosedReport(end.session_id, message.at_ms, end.reason, end.operations, end.recording_hash)
        case "session_refused":
            no = message.session_refused
            return sessions.RefusedReport(message.at_ms, no.target, no.reason, no.client_address, no.requester_id)
        case _:
            return _decisions(message.decisions)


def _decisions(batch: pb.DecisionBatch) -> sessions.DecisionsReport:
    return sessions.DecisionsReport(
        session_id=batch.session_id,
        first_operation=batch.first_operation,
        last_operation=batch.last_operation,
        count=batch.count,
        allowed=batch.allowed,
        held=batch.held,
        denied=batch.denied,
        entries=batch.entries,
    )


def _opened(at_ms: int, said: pb.SessionOpened) -> sessions.OpenedReport:
    return sessions.OpenedReport(
        session_id=said.session_id,
        at_ms=at_ms,
        target=said.target,
        protocol=said.protocol,
        requester_id=said.requester_id,
        credential_id=said.credential_id,
        client_address=said.client_address,
        application_name=said.application_name,
        snapshot_version=said.snapshot_version,
        boot_id=said.boot_id,
    )


def _requested(at_ms: int, said: pb.ApprovalRequested) -> approvals.RequestedReport:
    return approvals.RequestedReport(
        approval_id=said.approval_id,
        at_ms=at_ms,
        operation=_operation(said.operation),
        policy=said.policy,
        rule=said.rule,
        chain=said.chain,
        policy_version=said.policy_version,
        wait_until_ms=said.wait_until_ms,
        ticket=said.ticket,
        in_transaction=said.in_transaction,
        requester_id=said.requester_id,
        credential_id=said.credential_id,
        impact_json=said.impact_json,
        shape=said.shape,
        shape_text=said.shape_text,
        reason=said.reason,
    )


def _operation(said: pb.Operation) -> approvals.ReportedOperation:
    return approvals.ReportedOperation(
        id=said.operation_id,
        session_id=said.session_id,
        protocol=said.protocol,
        target=said.target,
        action=said.action,
        verbs=tuple(said.verbs),
        resources=tuple(approvals.Resource(one.kind, one.name, tuple(one.access)) for one in said.resources),
        text=said.text,
        digest=said.digest,
        raw=said.raw,
        parameters=tuple(
            approvals.Parameter(one.name, one.type, one.value, one.decoded, one.null) for one in said.parameters
        ),
        facts_json=said.facts_json,
        session_state=tuple((one.name, one.value) for one in said.session_state),
    )


# ---------------------------------------------------------------- what it is told


def welcome(
    agent_id: str, lease_seconds: int, heartbeat_seconds: int, reports_through: int, keys: Iterable[PublicKey]
) -> pb.ControlMessage:
    said = pb.Welcome(
        agent_id=agent_id,
        lease_seconds=lease_seconds,
        heartbeat_seconds=heartbeat_seconds,
        reports_through=reports_through,
        signing_keys=signing_keys(keys),
    )
    return pb.ControlMessage(welcome=said)


def lease_renewed(number: int) -> pb.ControlMessage:
    return pb.ControlMessage(lease_renewed=pb.LeaseRenewed(number=number))


def snapshot(signed: domain.SignedSnapshot) -> pb.ControlMessage:
    sent = pb.Snapshot(payload=signed.payload, signature=signed.signature, key_id=signed.key_id)
    return pb.ControlMessage(snapshot=sent)


def acknowledged(through: int) -> pb.ControlMessage:
    return pb.ControlMessage(reports_acknowledged=pb.ReportsAcknowledged(through=through))


def answer(told: approvals.Answer) -> pb.ControlMessage:
    match told:
        case approvals.PendingAnswer(approval_id, short_code, url, reviewers, left_ms):
            pending = pb.ApprovalPending(approval_id=approval_id, short_code=short_code, url=url, reviewers=reviewers)
            pending.left_ms = left_ms
            return pb.ControlMessage(approval_pending=pending)
        case approvals.DecidedAnswer(approval_id, outcome, reason, grant):
            decided = pb.ApprovalDecided(approval_id=approval_id, outcome=_OUTCOMES[outcome], reason=reason)
            if grant is not None:
                signed = pb.Grant(payload=grant.payload, signature=grant.signature, key_id=grant.key_id)
                decided.grant.CopyFrom(signed)
            return pb.ControlMessage(approval_decided=decided)


def terminate(session_id: str, reason: str) -> pb.ControlMessage:
    return pb.ControlMessage(session_terminate=pb.SessionTerminate(session_id=session_id, reason=reason))


def drain(seconds: int) -> pb.ControlMessage:
    return pb.ControlMessage(drain=pb.Drain(seconds=seconds))


def errand(one: domain.Errand) -> pb.ControlMessage:
    sent = pb.Errand(errand_id=one.id, kind=one.kind, target=one.target, arguments_json=one.arguments)
    return pb.ControlMessage(errand=sent)


def secret_changed(one: Current) -> pb.ControlMessage:
    return pb.ControlMessage(secret_changed=pb.SecretChanged(target=one.target, version=one.version))


def signing_keys(keys: Iterable[PublicKey]) -> list[pb.SigningKey]:
    return [pb.SigningKey(key_id=key.key_id, public_key=key.raw) for key in keys]


# ---------------------------------------------------------------- enrolment


def enrolled(done: domain.Enrolled, keys: Iterable[PublicKey], deployment: str) -> pb.EnrolResponse:
    return pb.EnrolResponse(
        client_certificate=done.certificates.client,
        listener_certificate=done.certificates.listener,
        ca_certificates=done.certificates.ca,
        signing_keys=signing_keys(keys),
        deployment=deployment,
        agent_id=done.agent_id,
    )


def renewed(done: domain.Certificates) -> pb.RenewResponse:
    return pb.RenewResponse(client_certificate=done.client, listener_certificate=done.listener, ca_certificates=done.ca)


# ---------------------------------------------------------------- signed contents


class Encoder:
    """Implements `approvals.ports.GrantEncoder` and `snapshots.SnapshotEncoder`."""

    def encode_grant(self, contents: GrantContents) -> bytes:
        payload = pb.GrantPayload(
            deployment=contents.deployment,
            agent_instance=contents.agent_instance,
            session_id=contents.session_id,
            credential_id=contents.credential_id,
            requester_id=contents.requester_id,
            target=contents.target,
            policy_version=contents.policy_version,
            digest=contents.digest,
            approval_id=contents.approval_id,
            nonce=contents.nonce,
            not_before_ms=contents.not_before_ms,
            execute_by_ms=contents.execute_by_ms,
            scope=contents.scope,
            approvals=[
                pb.Approver(identity_id=vote.identity_id, name=vote.name, at_ms=vote.at_ms, channel=vote.channel)
                for vote in contents.approvals
            ],
        )
        if contents.most_rows is not None:
            payload.row_guard.CopyFrom(pb.RowGuard(most_rows=contents.most_rows))
        if contents.window is not None:
            one = contents.window
            payload.window.CopyFrom(pb.Window(shape=one.shape, until_ms=one.until_ms, uses=one.uses))
        return payload.SerializeToString(deterministic=True)

    def encode_snapshot(self, contents: SnapshotContents) -> bytes:
        payload = pb.SnapshotPayload(
            deployment=contents.deployment,
            version=contents.version,
            issued_at_ms=contents.issued_at_ms,
            agent_name=contents.agent_name,
            required_features=contents.required_features,
            targets=[_target(one) for one in contents.targets],
            policies=_documents(contents.policies),
            masks=_documents(contents.masks),
            chains=_documents(contents.chains),
            identities=[_identity(one) for one in contents.identities.identities],
            revoked_credentials=contents.identities.revoked_credentials,
            signing_keys=signing_keys(contents.signing_keys),
        )
        return payload.SerializeToString(deterministic=True)


def _documents(found: Iterable[model.Policy | model.Mask | model.ApprovalChain]) -> list[pb.Document]:
    return [pb.Document(name=one.metadata.name, json=documents.encode(one)) for one in found]


def _target(one: model.Target) -> pb.TargetSpec:
    return pb.TargetSpec(
        name=one.metadata.name,
        protocol=one.spec.protocol,
        environment=one.spec.environment,
        labels=one.metadata.labels,
        address=one.spec.address,
        json=documents.encode(one.spec),
    )


def _identity(one: Identity) -> pb.Identity:
    return pb.Identity(
        id=one.id,
        name=one.name,
        kind=one.kind,
        groups=one.groups,
        owner_id=one.owner_id or "",
        disabled=not one.able,
    )
