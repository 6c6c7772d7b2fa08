"""The only place of the data plane where link.proto's generated types meet the project's own values, both ways.

What cannot be decoded raises ValueError; an unknown message is `Unknown` and ignored, an unknown outcome is REFUSED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec
from assentry.v1 import link_pb2 as pb
from google.protobuf.message import DecodeError

from data_plane.gate.grants import Approver, GrantContents, Window
from data_plane.gate.interface import FactValue, Operation, Resource, SessionFacts, Subject
from data_plane.gate.ports import Answer, Answered, SignedGrant
from data_plane.identifiers import ApprovalId, IdentityId, SessionId
from data_plane.link import messages
from data_plane.link.texts import encodable
from data_plane.policy.snapshot import NamedJson, RawTarget, SignedSnapshot, SnapshotContents, SnapshotIdentity
from data_plane.recording.interface import Decisions

T = TypeVar("T")

_ANSWERS = {
    pb.ApprovalDecided.APPROVED: Answer.APPROVED,
    pb.ApprovalDecided.DENIED: Answer.DENIED,
    pb.ApprovalDecided.EXPIRED: Answer.EXPIRED,
    pb.ApprovalDecided.CANCELLED: Answer.CANCELLED,
    pb.ApprovalDecided.REFUSED: Answer.REFUSED,
}

# ---------------------------------------------------------------- reports


def report(number: int, at_ms: int, value: messages.Report, boot_id: str) -> bytes:
    """A serialized Report, as the journal keeps it. What a target or a client said may hold what cannot be encoded:
    that is replaced, since a report that is not made would be lost."""
    try:
        return _report(number, at_ms, value, boot_id)
    except UnicodeEncodeError:
        return _report(number, at_ms, encodable(value), boot_id)


def _report(number: int, at_ms: int, value: messages.Report, boot_id: str) -> bytes:
    message = pb.Report(number=number, at_ms=at_ms)
    match value:
        case messages.SessionOpened():
            message.session_opened.CopyFrom(_opened(value, boot_id))
        case messages.SessionClosed():
            message.session_closed.CopyFrom(pb.SessionClosed(**msgspec.structs.asdict(value)))
        case messages.SessionRefused():
            message.session_refused.CopyFrom(pb.SessionRefused(**msgspec.structs.asdict(value)))
        case Decisions():
            message.decisions.CopyFrom(pb.DecisionBatch(**msgspec.structs.asdict(value)))
        case messages.Requested():
            message.approval_requested.CopyFrom(_requested(value))
        case messages.AccountLeased():
            message.account_leased.CopyFrom(pb.AccountLeased(**msgspec.structs.asdict(value)))
        case messages.AccountEnded():
            message.account_ended.CopyFrom(pb.AccountEnded(**msgspec.structs.asdict(value)))
        case _:
            _approval_report(message, value)
    return message.SerializeToString()


def _approval_report(
    message: pb.Report, value: messages.Cancelled | messages.Consumed | messages.Finished | messages.Notice
) -> None:
    match value:
        case messages.Cancelled(approval_id, reason):
            message.approval_cancelled.CopyFrom(pb.ApprovalCancelled(approval_id=approval_id, reason=reason))
        case messages.Consumed(approval_id, nonce, use, digest):
            message.grant_consumed.CopyFrom(
                pb.GrantConsumed(approval_id=approval_id, nonce=nonce, use=use, digest=digest)
            )
        case messages.Finished(approval_id, outcome, detail, use):
            message.operation_finished.CopyFrom(
                pb.OperationFinished(approval_id=approval_id, outcome=outcome, detail=detail, use=use)
            )
        case messages.Notice(kind, text):
            message.notice.CopyFrom(pb.AgentNotice(kind=kind, text=text))


def _opened(value: messages.SessionOpened, boot_id: str) -> pb.SessionOpened:
    session = value.session
    return pb.SessionOpened(
        session_id=session.id,
        target=session.target.name,
        protocol=session.target.protocol,
        requester_id=session.requester.id,
        credential_id=session.credential_id,
        client_address=session.client_address,
        application_name=session.application_name,
        snapshot_version=value.snapshot_version,
        boot_id=boot_id,
    )


def _requested(value: messages.Requested) -> pb.ApprovalRequested:
    request = value.request
    policy, _, rule = (request.decision.rules[0] if request.decision.rules else "").partition("/")
    return pb.ApprovalRequested(
        approval_id=request.id,
        operation=_operation(request.operation, request.session),
        policy=policy,
        rule=rule,
        chain=request.decision.chain,
        policy_version=request.policy_version,
        wait_until_ms=value.wait_until_ms,
        ticket=request.decision.ticket,
        in_transaction=request.operation.in_transaction,
        requester_id=request.session.requester.id,
        credential_id=request.session.credential_id,
        impact_json=request.impact,
        shape=request.operation.shape,
        shape_text=request.operation.shape_text,
        reason=request.operation.reason,
    )


def _operation(operation: Operation, session: SessionFacts) -> pb.Operation:
    subjects = operation.subjects
    return pb.Operation(
        operation_id=operation.id,
        session_id=session.id,
        protocol=operation.protocol,
        target=operation.target,
        action=_gravest(operation),
        verbs=_unique(verb for subject in subjects for verb in subject.verbs),
        resources=[_resource(item) for item in _unique(item for subject in subjects for item in subject.resources)],
        text=operation.text,
        raw=operation.parts[-1] if operation.parts else b"",
        parameters=[
            pb.Parameter(name=item.name, type=item.type, value=item.value, decoded=item.decoded, null=item.null)
            for item in operation.parameters
        ],
        facts_json=msgspec.json.encode([_facts(subject) for subject in subjects], order="sorted").decode(),
        session_state=[pb.StateEntry(name=name, value=state) for name, state in operation.state],
        digest=operation.digest,
    )


def _facts(subject: Subject) -> dict[str, FactValue]:
    """Without the names as they are written: the resources say what they mean."""
    return {name: value for name, value in subject.facts.items() if name not in ("tables", "functions")}


_GRAVITY = ("session", "connect", "read", "exec", "write", "ddl", "admin", "unknown")


def _gravest(operation: Operation) -> str:
    """One word for a batch: the action that a reviewer should worry about most."""
    return max((subject.action.value for subject in operation.subjects), key=_GRAVITY.index, default="unknown")


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))


def _resource(resource: Resource) -> pb.Resource:
    return pb.Resource(kind=resource.kind, name=" or ".join(resource.candidates), access=list(resource.access))


def report_batch(reports: Iterable[bytes]) -> pb.AgentMessage:
    return pb.AgentMessage(reports=pb.ReportBatch(reports=[pb.Report.FromString(item) for item in reports]))


# ---------------------------------------------------------------- the rest of what the agent says


def hello(value: messages.Hello) -> pb.AgentMessage:
    return pb.AgentMessage(
        hello=pb.Hello(
            agent_name=value.agent_name,
            instance_id=value.instance_id,
            boot_id=value.boot_id,
            version=value.version,
            features=value.features,
            snapshot_version=value.snapshot_version,
            first_report=value.first_report,
            open_sessions=value.open_sessions,
            pending_approvals=value.pending_approvals,
            public_recording_keys=value.recording_keys,
        )
    )


def heartbeat(number: int, load: messages.Load) -> pb.AgentMessage:
    return pb.AgentMessage(
        heartbeat=pb.Heartbeat(
            number=number,
            open_sessions=load.open_sessions,
            held_operations=load.held_operations,
            spool_bytes=load.spool_bytes,
        )
    )


def snapshot_ack(version: int) -> pb.AgentMessage:
    return pb.AgentMessage(snapshot_ack=pb.SnapshotAck(version=version))


def snapshot_nack(version: int, reason: str) -> pb.AgentMessage:
    return pb.AgentMessage(snapshot_nack=pb.SnapshotNack(version=version, reason=reason))


def errand_done(done: messages.ErrandDone) -> pb.AgentMessage:
    told = pb.ErrandDone(errand_id=done.errand_id, result_json=done.result, problem=done.problem)
    return pb.AgentMessage(errand_done=told)


# ---------------------------------------------------------------- what the control plane says


def received(message: pb.ControlMessage) -> messages.FromControlPlane:
    read = _READERS.get(message.WhichOneof("message") or "")
    return read(message) if read else messages.Unknown()


def _welcome(message: pb.ControlMessage) -> messages.Welcome:
    said = message.welcome
    return messages.Welcome(said.agent_id, said.lease_seconds, said.heartbeat_seconds, said.reports_through)


def _snapshot(message: pb.ControlMessage) -> SignedSnapshot:
    sent = message.snapshot
    return SignedSnapshot(payload=sent.payload, signature=sent.signature, key_id=sent.key_id)


def _pending(message: pb.ControlMessage) -> messages.ApprovalPending:
    asked = message.approval_pending
    approval, left = ApprovalId(asked.approval_id), asked.left_ms / 1000
    return messages.ApprovalPending(approval, asked.short_code, asked.url, asked.reviewers, left)


def _decided(message: pb.ControlMessage) -> messages.ApprovalDecided:
    decided = message.approval_decided
    return messages.ApprovalDecided(ApprovalId(decided.approval_id), _answered(decided))


def _terminate(message: pb.ControlMessage) -> messages.SessionTerminate:
    return messages.SessionTerminate(SessionId(message.session_terminate.session_id), message.session_terminate.reason)


def _errand(asked: pb.Errand) -> messages.Errand:
    return messages.Errand(asked.errand_id, asked.kind, asked.target, asked.arguments_json)


def _secret_changed(message: pb.ControlMessage) -> messages.SecretChanged:
    return messages.SecretChanged(message.secret_changed.target, message.secret_changed.version)


_READERS: Mapping[str, Callable[[pb.ControlMessage], messages.FromControlPlane]] = {
    "welcome": _welcome,
    "lease_renewed": lambda message: messages.LeaseRenewed(message.lease_renewed.number),
    "snapshot": _snapshot,
    "reports_acknowledged": lambda message: messages.ReportsAcknowledged(message.reports_acknowledged.through),
    "approval_pending": _pending,
    "approval_decided": _decided,
    "session_terminate": _terminate,
    "drain": lambda message: messages.Drain(message.drain.seconds),
    "secret_changed": _secret_changed,
    "errand": lambda message: _errand(message.errand),
}


def _answered(decided: pb.ApprovalDecided) -> Answered:
    answer = _ANSWERS.get(decided.outcome, Answer.REFUSED)
    if answer is not Answer.APPROVED:
        return Answered(answer, decided.reason)
    grant = decided.grant
    return Answered(answer, decided.reason, SignedGrant(grant.payload, grant.signature, grant.key_id))


def snapshot_contents(payload: bytes) -> SnapshotContents:
    """Raises ValueError for what is not a SnapshotPayload. Nothing is checked but the shape."""
    try:
        message = pb.SnapshotPayload.FromString(payload)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return SnapshotContents(
        deployment=message.deployment,
        version=message.version,
        issued_at_ms=message.issued_at_ms,
        agent_name=message.agent_name,
        required_features=tuple(message.required_features),
        targets=tuple(RawTarget(item.name, dict(item.labels), item.json) for item in message.targets),
        policies=_named(message.policies),
        masks=_named(message.masks),
        chains=_named(message.chains),
        identities=tuple(_identity(item) for item in message.identities),
        revoked_credentials=tuple(message.revoked_credentials),
        signing_keys=_keys(message.signing_keys),
    )


def grant_contents(payload: bytes) -> GrantContents:
    """Raises ValueError for what is not a GrantPayload. Nothing is checked but the shape."""
    try:
        message = pb.GrantPayload.FromString(payload)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return GrantContents(
        deployment=message.deployment,
        agent_instance=message.agent_instance,
        session_id=message.session_id,
        credential_id=message.credential_id,
        requester_id=message.requester_id,
        target=message.target,
        policy_version=message.policy_version,
        digest=message.digest,
        approval_id=message.approval_id,
        nonce=message.nonce,
        not_before_ms=message.not_before_ms,
        execute_by_ms=message.execute_by_ms,
        scope=message.scope,
        approvals=tuple(Approver(one.identity_id, one.name, one.at_ms, one.channel) for one in message.approvals),
        most_rows=message.row_guard.most_rows if message.HasField("row_guard") else None,
        window=_window(message.window) if message.HasField("window") else None,
    )


def _window(message: pb.Window) -> Window:
    return Window(message.shape, message.until_ms, message.uses)


def _named(documents: Iterable[pb.Document]) -> tuple[NamedJson, ...]:
    return tuple(NamedJson(item.name, item.json) for item in documents)


def _identity(message: pb.Identity) -> SnapshotIdentity:
    return SnapshotIdentity(
        id=IdentityId(message.id),
        name=message.name,
        kind=message.kind,
        groups=tuple(message.groups),
        owner_id=IdentityId(message.owner_id) if message.owner_id else None,
        disabled=message.disabled,
    )


def _keys(keys: Iterable[pb.SigningKey]) -> Mapping[str, bytes]:
    return {key.key_id: key.public_key for key in keys}


# ---------------------------------------------------------------- enrolment


def enrol_request(token: str, agent_name: str, client_csr: bytes, listener_csr: bytes, version: str) -> pb.EnrolRequest:
    return pb.EnrolRequest(
        join_token=token, agent_name=agent_name, client_csr=client_csr, listener_csr=listener_csr, version=version
    )


def enrolled(message: pb.EnrolResponse) -> messages.Enrolled:
    return messages.Enrolled(
        client_certificate=message.client_certificate,
        listener_certificate=message.listener_certificate,
        ca_certificates=message.ca_certificates,
        signing_keys=_keys(message.signing_keys),
        deployment=message.deployment,
        agent_id=message.agent_id,
    )


def renew_request(client_csr: bytes, listener_csr: bytes) -> pb.RenewRequest:
    return pb.RenewRequest(client_csr=client_csr, listener_csr=listener_csr)


def renewed(message: pb.RenewResponse) -> messages.Renewed:
    return messages.Renewed(message.client_certificate, message.listener_certificate, message.ca_certificates)


# ---------------------------------------------------------------- recordings


def recording_begin(session_id: str, instance_id: str) -> pb.RecordingUpload:
    return pb.RecordingUpload(begin=pb.RecordingBegin(session_id=session_id, instance_id=instance_id))


def recording_segment(index: int, sealed: bytes) -> pb.RecordingUpload:
    return pb.RecordingUpload(segment=pb.RecordingSegment(index=index, bytes=sealed))


def recording_end(segments: int, chain_hash: bytes, signature: bytes, *, complete: bool) -> pb.RecordingUpload:
    end = pb.RecordingEnd(segments=segments, chain_hash=chain_hash, signature=signature, complete=complete)
    return pb.RecordingUpload(end=end)


def upload_ack(message: pb.RecordingAck) -> messages.UploadAck:
    return messages.UploadAck(message.next_segment, message.stored)
